"""`suan`: finds the command, loads its module alone, runs it, and turns failures into one line."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from importlib import import_module

import suanwang
from suanwang.edge.cli import errors
from suanwang.edge.cli.commands import ALL, GROUPS, SECTIONS, Command, first_words, of_group
from suanwang.edge.cli.words import say
from suanwang.kernel.errors import InvalidInput, SuanwangError

OTHER_NAMES = {"list": "ls", "ps": "ls", "status": "show", "submit": "run", "why": "explain"}
"""What other launchers call it."""


def main(argv: Sequence[str] | None = None) -> None:
    """The program's door; ends the process with the command's exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words)
        sys.stdout.flush()
    except SuanwangError as error:
        errors.tell_failure(errors.one_line(error))
        code = errors.exit_code(error)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C finds us leaving already
        errors.tell("")
        code = errors.INTERRUPTED
    except BrokenPipeError:  # `suan ls | head`
        sys.stderr.close()
        code = 0
    raise SystemExit(code)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview(), end="")
        return 0
    if words[0] in ("--version", "-V"):
        print(suanwang.__version__)
        return 0
    if words[0] == "__complete":
        return int(import_module("suanwang.edge.cli.completion").complete(words[1:]))
    command, rest = find(words)
    if command is None:
        print(overview_of(words[0]), end="")
        return 0
    module = import_module(f"suanwang.edge.cli.{command.module}")
    return int(module.COMMANDS[command.name](command, rest))


def find(words: Sequence[str]) -> tuple[Command | None, list[str]]:
    """The command and what follows it; None for a group alone. Raises InvalidInput."""
    first = OTHER_NAMES.get(words[0], words[0])
    if first in GROUPS:
        if len(words) == 1 or words[1] in ("-h", "--help"):
            return None, []
        second = "ls" if words[1] == "list" else words[1]
        name = f"{first} {second}"
        if name not in ALL:
            raise _unknown(name, [command.name for command in of_group(first)])
        return ALL[name], list(words[2:])
    if first not in ALL:
        raise _unknown(first, first_words())
    return ALL[first], list(words[1:])


def _unknown(name: str, known: list[str]) -> InvalidInput:
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return InvalidInput(
        "CommandUnknown",
        say("There is no command `suan {name}`.", name=name),
        hint=say("Did you mean `suan {name}`?", name=near[0])
        if near
        else say("See `suan --help`."),
    )


def overview() -> str:
    lines = [
        say("Usage: ") + "suan COMMAND …",
        "",
        say("One market and one dispatch desk over everybody's computers."),
        "",
    ]
    for title, commands in SECTIONS:
        lines.append(f"{say(title)}:")
        shown = {command.name.partition(" ")[0]: command for command in reversed(commands)}
        for first in reversed(shown):
            lines.append(f"  {first:<12}{_summary(first, shown[first])}")
        lines.append("")
    lines.append(say("`suan COMMAND --help` tells more; `--json` prints JSON."))
    return "\n".join(lines) + "\n"


def _summary(first: str, command: Command) -> str:
    if first not in GROUPS:
        return say(command.summary)
    return ", ".join(found.name.partition(" ")[2] for found in of_group(first))


def overview_of(group: str) -> str:
    lines = [say("Usage: ") + f"suan {group} COMMAND …", ""]
    lines += [f"  {c.name:<18}{say(c.summary)}" for c in of_group(group)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
