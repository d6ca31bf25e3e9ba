"""Parsing of one command's words, with complaints of one line that say what to do."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from suanwang.edge.cli.words import say
from suanwang.kernel.errors import InvalidInput

Args = argparse.Namespace
Options = Callable[["Parser"], None]
Run = Callable[[Args], int]


# what the standard library's parser says, and how we say it
COMPLAINTS = (
    (r"the following arguments are required: (?P<names>.+)", "Missing: {names}."),
    (r"unrecognized arguments: (?P<words>.+)", "Not understood: {words}."),
    (r"argument (?P<name>.+): expected (?:one|at least one) argument", "{name} needs a value."),
    (
        r"argument (?P<name>.+): invalid (?:int|float) value: '(?P<value>.*)'",
        "{name} takes a number, not {value}.",
    ),
    (
        r"argument (?P<name>.+): invalid choice: '(?P<value>.*)' \(choose from (?P<choices>.+)\)",
        "{name} does not know {value}; it knows {choices}.",
    ),
)


class Parser(argparse.ArgumentParser):
    """A parser that raises instead of printing a page of usage."""

    def __init__(self, prog: str, description: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=_Formatter,
            allow_abbrev=False,
            add_help=False,
        )
        self._positionals.title = say("arguments")
        self._optionals.title = say("options")
        self.add_argument("-h", "--help", action="help", help=say("Show this and end"))

    def error(self, message: str) -> NoReturn:
        guess = self._guess(message)
        hint = guess or say("See `{prog} --help`.", prog=self.prog)
        raise InvalidInput("UsageWrong", plainly(message), hint=hint)

    def _guess(self, message: str) -> str:
        found = re.match(r"unrecognized arguments: (--[\w-]+)", message)
        if found is None:
            return ""
        import difflib

        known = [option for action in self._actions for option in action.option_strings]
        near = difflib.get_close_matches(found.group(1), known, n=1)
        return say("Did you mean {name}?", name=near[0]) if near else ""

    def flag(self, *names: str, help: str) -> None:
        self.add_argument(*names, action="store_true", help=say(help))

    def option(self, *names: str, help: str, **more: Any) -> None:
        self.add_argument(*names, help=say(help), **more)

    def common(self) -> None:
        """What every command that asks the server has."""
        self.flag("--json", help="Print JSON and nothing else")
        self.option("--server", help="Another server than the current one", metavar="URL")


def plainly(message: str) -> str:
    """argparse's complaint in our words, or as it is."""
    for form, text in COMPLAINTS:
        if found := re.fullmatch(form, message):
            return say(text, **found.groupdict())
    return f"{message}."


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=98)

    def add_usage(
        self, usage: str | None, actions: Any, groups: Any, prefix: str | None = None
    ) -> None:
        super().add_usage(usage, actions, groups, say("Usage: ") if prefix is None else prefix)


def key_values(pairs: Sequence[str] | None, option: str) -> dict[str, str]:
    """['A=1'] → {'A': '1'}. Raises InvalidInput."""
    found = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidInput(
                "UsageWrong", f"{option} {pair}: write NAME=VALUE.", hint="", field=option
            )
        found[name] = value
    return found
