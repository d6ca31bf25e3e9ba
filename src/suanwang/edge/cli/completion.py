"""`suan completion SHELL`, and what its scripts ask: `suan __complete WORDS…`.

Completion knows commands, options and their choices; it never asks the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from suanwang.edge.cli.commands import ALL, GROUPS, first_words, of_group
from suanwang.edge.cli.doing import Doing
from suanwang.edge.cli.parsing import Args, Parser

_SCRIPTS = {
    "bash": """\
_suan() {
  local IFS=$'\\n'
  COMPREPLY=($(suan __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _suan suan
""",
    "zsh": """\
#compdef suan
_suan() {
  local -a found
  found=(${(f)"$(suan __complete "${words[@]:1:$((CURRENT-1))}" 2>/dev/null)"})
  if (( $#found )); then compadd -- $found; else _files; fi
}
compdef _suan suan
""",
    "fish": """\
function __suan_complete
  suan __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null
end
complete -c suan -a '(__suan_complete)'
""",
}


def complete(words: Sequence[str]) -> int:
    """Print what may stand in the place of the last word."""
    *before, last = words or [""]
    for word in sorted(set(candidates(before))):
        if word.startswith(last):
            print(word)
    return 0


def candidates(before: Sequence[str]) -> list[str]:
    if not before:
        return first_words()
    if before[0] in GROUPS and len(before) == 1:
        return [command.name.partition(" ")[2] for command in of_group(before[0])]
    words = 2 if before[0] in GROUPS else 1
    command = ALL.get(" ".join(before[:words]))
    if command is None or "--" in before:
        return []
    module = import_module(f"suanwang.edge.cli.{command.module}")
    parser = module.COMMANDS[command.name].parser(command)
    options = {name: action for action in parser._actions for name in action.option_strings}
    last = options.get(before[-1])
    if last is not None and last.nargs != 0:
        return [str(choice) for choice in last.choices or ()]
    choices = [str(c) for a in parser._actions if not a.option_strings for c in a.choices or ()]
    return [*choices, *(name for name in options if name.startswith("--"))]


def _options(parser: Parser) -> None:
    parser.option("shell", help="For which shell", choices=tuple(_SCRIPTS))


def _completion(args: Args) -> int:
    print(_SCRIPTS[args.shell], end="")
    return 0


COMMANDS = {"completion": Doing(_options, _completion)}
