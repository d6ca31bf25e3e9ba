"""Specifications as people write them, made ready to send: files and folders named in them are
uploaded and replaced by their digests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from suanwang.kernel.errors import InvalidInput

DIGEST_PREFIX = "sha256:"
Upload = Callable[[Path], tuple[str, bool]]
"""Sends a file or folder; (digest, whether it is a folder)."""


def local_paths(spec: Mapping[str, Any], base: Path) -> list[Path]:
    """What would be uploaded. Raises InvalidInput for what is not there."""
    return [path for path, _ in _named(spec, base)]


def with_digests(spec: Mapping[str, Any], base: Path, upload: Upload) -> dict[str, Any]:
    """A copy without local paths; `base` is what relative ones are relative to."""
    ready = {**spec}
    if isinstance(spec.get("inputs"), Mapping):
        ready["inputs"] = {
            name: {**item} if isinstance(item, Mapping) else item
            for name, item in spec["inputs"].items()
        }
    for path, place in _named(spec, base):
        digest, tree = upload(path)
        if place is None:
            ready["workdir"] = digest
        else:
            given = ready["inputs"][place]
            del given["file"]
            given["digest"] = digest
            given["tree"] = tree
    return ready


def _named(spec: Mapping[str, Any], base: Path) -> Iterator[tuple[Path, str | None]]:
    """(path, name of the input or None for the working directory)."""
    workdir = spec.get("workdir")
    if isinstance(workdir, str) and not workdir.startswith(DIGEST_PREFIX):
        path = base / Path(workdir).expanduser()
        if not path.is_dir():
            raise _absent("workdir", path, "a folder")
        yield path, None
    inputs = spec.get("inputs")
    for name, item in inputs.items() if isinstance(inputs, Mapping) else ():
        if isinstance(item, Mapping) and isinstance(item.get("file"), str):
            if "digest" in item:
                raise InvalidInput(
                    "InputTwice",
                    f"inputs.{name} gives both file and digest.",
                    hint="Give one of them.",
                    field=f"inputs.{name}",
                )
            path = base / Path(item["file"]).expanduser()
            if not path.exists():
                raise _absent(f"inputs.{name}.file", path, "a file or folder")
            yield path, str(name)


def _absent(field: str, path: Path, what: str) -> InvalidInput:
    return InvalidInput(
        "PathMissing",
        f"{field}: {path} is not {what}.",
        hint="Relative paths start at the folder of the specification.",
        field=field,
    )
