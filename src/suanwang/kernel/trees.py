"""A folder as one blob: the manifest of its files, safe by construction. Pure.

The manifest is canonical JSON (sorted, no spaces, UTF-8), so that equal folders have equal
digests wherever they were packed. `parse` refuses everything that could leave the folder it is
unpacked in; server, agent and client all go through it.

    {"files":[[path,mode,digest,size],…],"folders":[path,…],"links":[[path,target],…],
     "total_bytes":n,"tree":1}

`folders` lists empty ones only. A link's target is relative, climbs first and then only descends,
through real folders, to something in the same tree: so no chain of links leads out of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from suanwang.kernel.errors import InvalidInput

MAX_ENTRIES = 100_000
MAX_PATH_BYTES = 1_024
MAX_NAME_BYTES = 255
MAX_DEPTH = 64
MAX_TOTAL_BYTES = 1 << 44
"""16 TiB."""
MAX_MANIFEST_BYTES = 32 << 20
MODES = (0o644, 0o755)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")


@dataclass(frozen=True, slots=True, order=True)
class TreeFile:
    """`mode` is 0o644 or 0o755."""

    path: str
    mode: int
    digest: str
    size: int


@dataclass(frozen=True, slots=True, order=True)
class TreeLink:
    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Tree:
    """Sorted by path; made by `make` or `parse` only, which check everything."""

    files: tuple[TreeFile, ...]
    links: tuple[TreeLink, ...] = ()
    folders: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        return sum(file.size for file in self.files)

    def blobs(self) -> dict[str, int]:
        """Digest → size of every file's content, in order of digest."""
        return dict(sorted({(f.digest, f.size) for f in self.files}))


def refused(reason: str, message: str) -> InvalidInput:
    return InvalidInput(
        reason, message, hint="Leave this entry out of the folder, or rename it.", field="tree"
    )


def check_path(path: str) -> list[str]:
    """The names of a safe relative path; raises InvalidInput (TreePathUnsafe, TreePathTooLong)."""
    shown = repr(path[:120])
    if _CONTROL.search(path):
        raise refused(
            "TreePathUnsafe", f"{shown} has a backslash, a control character or is not UTF-8."
        )
    names = path.split("/")
    if any(name in ("", ".", "..") for name in names):
        raise refused("TreePathUnsafe", f"{shown} is not a plain path inside the folder.")
    if len(path.encode()) > MAX_PATH_BYTES or len(names) > MAX_DEPTH:
        raise refused("TreePathTooLong", f"{shown} is too long or too deep.")
    if any(len(name.encode()) > MAX_NAME_BYTES for name in names):
        raise refused("TreePathTooLong", f"{shown} has a name of more than 255 bytes.")
    return names


def link_destination(path: str, target: str) -> str:
    """Where a link leads inside the tree, "" for its root; raises InvalidInput (LinkLeavesTree)."""
    parent = path.split("/")[:-1]
    names = target.split("/")
    climbs = 0
    while climbs < len(names) and names[climbs] == "..":
        climbs += 1
    rest = names[climbs:]
    unsafe = climbs > len(parent) or any(name in ("", ".", "..") for name in rest)
    if unsafe or _CONTROL.search(target) or len(target.encode()) > MAX_PATH_BYTES:
        raise refused(
            "LinkLeavesTree",
            f"The link {path[:120]!r} to {target[:120]!r} does not stay in the folder.",
        )
    return "/".join([*parent[: len(parent) - climbs], *rest])


def make(
    files: Iterable[TreeFile], links: Iterable[TreeLink] = (), folders: Iterable[str] = ()
) -> Tree:
    """Sort and check; raises InvalidInput with a named reason."""
    tree = Tree(tuple(sorted(files)), tuple(sorted(links)), tuple(sorted(folders)))
    check(tree)
    return tree


def usable_links(
    paths: Iterable[str], links: Iterable[TreeLink]
) -> tuple[list[TreeLink], list[tuple[TreeLink, str]]]:
    """Links that a tree of these paths may have, and the others with the reason why not."""
    found = sorted(paths)
    kept = sorted(links)
    dropped: list[tuple[TreeLink, str]] = []
    while True:
        leaves = {*found, *(link.path for link in kept)}
        known = leaves | _inner_folders(leaves) | {""}
        bad = [(link, reason) for link in kept if (reason := _link_fault(link, known))]
        if not bad:
            return kept, dropped
        dropped += bad
        gone = {link for link, _ in bad}
        kept = [link for link in kept if link not in gone]


def _link_fault(link: TreeLink, known: set[str]) -> str:
    try:
        return "" if link_destination(link.path, link.target) in known else "LinkDangles"
    except InvalidInput as error:
        return error.reason


def check(tree: Tree) -> None:
    """Every rule of the module's text; the tree's parts must be sorted already."""
    if len(tree.files) + len(tree.links) + len(tree.folders) > MAX_ENTRIES:
        raise refused("TreeTooManyEntries", f"A tree has at most {MAX_ENTRIES:,} entries.")
    _check_files(tree.files)
    paths = [
        *(file.path for file in tree.files),
        *(link.path for link in tree.links),
        *tree.folders,
    ]
    inner = _inner_folders(paths)
    leaves = set(paths)
    if len(leaves) != len(paths):
        seen: set[str] = set()
        twice = next(path for path in paths if path in seen or seen.add(path))  # type: ignore[func-returns-value]
        raise refused("TreePathConflict", f"{twice[:120]!r} occurs twice.")
    for path in paths:
        if path in inner:
            raise refused("TreePathConflict", f"{path[:120]!r} has entries beneath it.")
    for link in tree.links:
        destination = link_destination(link.path, link.target)
        if destination and destination not in leaves and destination not in inner:
            raise refused("LinkDangles", f"The link {link.path[:120]!r} leads to nothing.")


def _check_files(files: Sequence[TreeFile]) -> None:
    total = 0
    sizes: dict[str, int] = {}
    for file in files:
        if not _DIGEST.fullmatch(file.digest):
            raise refused("TreeMalformed", f"{file.path[:120]!r} has no proper digest.")
        if file.mode not in MODES:
            raise refused("TreeModeUnsafe", f"{file.path[:120]!r} has the mode {file.mode:o}.")
        if file.size < 0 or sizes.setdefault(file.digest, file.size) != file.size:
            raise refused("TreeMalformed", f"{file.path[:120]!r} has an impossible size.")
        total += file.size
    if total > MAX_TOTAL_BYTES:
        raise refused("TreeTooLarge", f"A tree has at most {MAX_TOTAL_BYTES:,} bytes.")


def _inner_folders(paths: Iterable[str]) -> set[str]:
    """Every folder above a path; checks the paths on the way."""
    inner: set[str] = set()
    for path in paths:
        names = check_path(path)
        for depth in range(len(names) - 1, 0, -1):
            folder = "/".join(names[:depth])
            if folder in inner:
                break
            inner.add(folder)
    return inner


def encode(tree: Tree) -> bytes:
    """The manifest: equal trees give equal bytes."""
    body = {
        "files": [[f.path, f.mode, f.digest, f.size] for f in tree.files],
        "folders": list(tree.folders),
        "links": [[link.path, link.target] for link in tree.links],
        "total_bytes": tree.total_bytes,
        "tree": 1,
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def digest_of(manifest: bytes) -> str:
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


def parse(manifest: bytes) -> Tree:
    """Raises InvalidInput with a named reason on anything that `encode` would not have written."""
    if len(manifest) > MAX_MANIFEST_BYTES:
        raise refused("TreeTooLarge", f"A manifest has at most {MAX_MANIFEST_BYTES:,} bytes.")
    try:
        tree = _from_json(json.loads(manifest))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise refused("TreeMalformed", "This blob is not the manifest of a folder.") from error
    check(tree)
    if encode(tree) != manifest:
        raise refused("TreeNotCanonical", "The manifest is not written in its one canonical form.")
    return tree


def _from_json(body: Any) -> Tree:
    if type(body) is not dict or body["tree"] != 1:
        raise ValueError("not a tree")
    files = tuple(
        TreeFile(_text(p), _whole(m), _text(d), _whole(s)) for p, m, d, s in body["files"]
    )
    links = tuple(TreeLink(_text(path), _text(target)) for path, target in body["links"])
    return Tree(
        tuple(sorted(files)),
        tuple(sorted(links)),
        tuple(sorted(_text(path) for path in body["folders"])),
    )


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("not a text")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("not a whole number")
    return value
