"""What a command is made of: its options, and a function that does it with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from suanwang.edge.cli.commands import Command
from suanwang.edge.cli.parsing import Args, Options, Parser, Run
from suanwang.edge.cli.words import say

if TYPE_CHECKING:
    from suanwang.edge.client.client import Client


class Doing(NamedTuple):  # a dataclass would cost each command ten milliseconds of loading
    """`run` is given the parsed words and answers with the exit code."""

    options: Options
    run: Run
    takes_program: bool = False
    """What follows `--` is a program and its words: `args.program`."""

    def __call__(self, command: Command, words: Sequence[str]) -> int:
        ours, program = list(words), []
        if self.takes_program and "--" in ours:
            at = ours.index("--")
            ours, program = ours[:at], ours[at + 1 :]
        args = self.parser(command).parse_args(ours)
        if self.takes_program:
            args.program = program
        return self.run(args)

    def parser(self, command: Command) -> Parser:
        parser = Parser(f"suan {command.name}", say(command.summary))
        self.options(parser)
        return parser


def client_of(args: Args) -> Client:
    """The SDK's client for the current login or the named server."""
    from suanwang.edge.client.client import Client

    return Client(server=getattr(args, "server", None))
