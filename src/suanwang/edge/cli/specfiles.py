"""Specifications from YAML: one, several documents, or a list; and from the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from suanwang.edge.cli.parsing import Args, key_values
from suanwang.edge.cli.words import say
from suanwang.kernel.errors import InvalidInput


def load(name: str) -> tuple[list[dict[str, Any]], Path]:
    """(specifications, the folder that their paths are relative to); '-' is stdin."""
    if name == "-":
        return parse(sys.stdin.read(), "stdin"), Path()
    path = Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InvalidInput(
            "FileMissing",
            say("There is no file {name}.", name=name),
            hint=say("To run a command, put -- before it: suan run -- {name} …", name=name),
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(
            "FileUnreadable",
            say("{name} is no text in UTF-8.", name=name),
            hint=say("Name a YAML file. To run a command: suan run -- {name} …", name=name),
        ) from error
    except OSError as error:
        raise InvalidInput(
            "FileUnreadable",
            f"{name}: {error.strerror}.",
            hint=say("Name a YAML file that you may read."),
        ) from error
    return parse(text, name), path.parent


def parse(text: str, name: str) -> list[dict[str, Any]]:
    import yaml

    from suanwang.edge.spec_yaml import SpecLoader

    try:
        documents = list(yaml.load_all(text, Loader=SpecLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error)
        raise InvalidInput(
            "YamlInvalid", f"{where}: {problem}.", hint=say("Mend the YAML there.")
        ) from error
    specs: list[dict[str, Any]] = []
    for document in documents:
        for item in document if isinstance(document, list) else [document]:
            if item is None:
                continue
            if not isinstance(item, dict):
                raise InvalidInput(
                    "SpecInvalid",
                    say("{name}: a specification is a mapping of fields.", name=name),
                    hint=say("See `suan schema` and the user guide."),
                )
            specs.append(item)
    if not specs:
        raise InvalidInput(
            "SpecEmpty",
            say("{name} holds no specification.", name=name),
            hint=say("A command is enough: `command: echo hello`."),
        )
    return specs


def overridden(spec: dict[str, Any], args: Args) -> dict[str, Any]:
    """With what the command line says instead."""
    changed = dict(spec)
    for field in ("name", "project", "array", "max_price", "max_runtime", "priority", "workdir"):
        value = getattr(args, field)
        if value is not None:
            changed[field] = value
    sizes = {"cpus": args.cpus, "memory": args.memory, "accelerators": args.gpus}
    given = {name: value for name, value in sizes.items() if value is not None}
    if given:
        changed["resources"] = {**(spec.get("resources") or {}), **given}
    if args.env:
        changed["env"] = {**(spec.get("env") or {}), **key_values(args.env, "--env")}
    if args.output:
        outputs = key_values([o if "=" in o else f"{Path(o).name}={o}" for o in args.output], "")
        changed["outputs"] = {**(spec.get("outputs") or {}), **outputs}
    if args.site:
        changed["constraints"] = {**(spec.get("constraints") or {}), "sites": args.site}
    return changed
