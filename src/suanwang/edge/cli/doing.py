"""What a command is made of: its options, and a function that does it with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from suanwang.edge.cli.commands import Command
from suanwang.edge.cli.parsing import Args, Options, Parser, Run
from suanwang.edge.cli.words import say

if TYPE_CHECKING:
    from suanwang.edge.client.client import Client

Doing = Callable[[Command, Sequence[str]], int]


def doing(options: Options, run: Run) -> Doing:
    """Parse, then run; the answer is the exit code."""

    def do(command: Command, words: Sequence[str]) -> int:
        return run(parser_of(command, options).parse_args(words))

    do.options = options  # type: ignore[attr-defined]  # completion asks for them
    return do


def parser_of(command: Command, options: Options) -> Parser:
    parser = Parser(f"suan {command.name}", say(command.summary))
    options(parser)
    return parser


def client_of(args: Args) -> Client:
    """The SDK's client for the current login or the named server."""
    from suanwang.edge.client.client import Client

    return Client(server=getattr(args, "server", None))
