"""Random folders survive the round trip; random garbage never gets out of its folder."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.agent.beneath import Beneath
from suanwang.edge.client.transfer import hashed, scan
from suanwang.kernel import frames, trees
from suanwang.kernel.errors import InvalidInput
from suanwang.platform.blobs import digest_of

NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"),
    min_size=1,
    max_size=12,
).filter(lambda name: name not in (".", "..") and not name.startswith(".") and "__" not in name)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
CONTENTS = st.binary(max_size=40)


def folder_like(paths: dict[str, bytes]) -> dict[str, bytes]:
    """Without paths that lie beneath other paths."""
    return {
        path: data
        for path, data in paths.items()
        if not any(other != path and path.startswith(f"{other}/") for other in paths)
    }


FOLDERS = st.dictionaries(PATHS, CONTENTS, max_size=8).map(folder_like)


def build(root: Path, folder: dict[str, bytes], executable: bool) -> None:
    for path, data in folder.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o755 if executable else 0o600)


def tree_of(root: Path) -> trees.Tree:
    files, links, empty = scan(root)
    kept, _ = trees.usable_links([*files, *empty], links)
    return trees.make([hashed(root, path) for path in files], kept, empty)


@settings(max_examples=60, deadline=None)
@given(folder=FOLDERS, executable=st.booleans())
def test_a_folder_survives_packing_and_unpacking(
    folder: dict[str, bytes], executable: bool
) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        build(Path(one), folder, executable)
        tree = tree_of(Path(one))
        manifest = trees.encode(tree)
        assert trees.parse(manifest) == tree
        contents = {file.digest: (Path(one) / file.path).read_bytes() for file in tree.files}
        with Beneath(Path(two)) as root:
            for file in tree.files:
                with root.create(file.path, file.mode) as handle:
                    os.write(handle, contents[file.digest])
        assert trees.encode(tree_of(Path(two))) == manifest


WILD_PATHS = st.one_of(
    PATHS,
    st.lists(st.sampled_from(["..", ".", "", "a", "b", "l"]), max_size=5).map("/".join),
    st.text(max_size=6),
)
ROWS = st.tuples(
    WILD_PATHS, st.sampled_from([0o644, 0o755, 0o777]), st.just(digest_of(b"x")), st.just(1)
)


@settings(max_examples=300, deadline=None)
@given(
    files=st.lists(ROWS, max_size=4),
    links=st.lists(st.tuples(WILD_PATHS, WILD_PATHS), max_size=4),
    folders=st.lists(WILD_PATHS, max_size=2),
)
def test_whatever_parse_lets_through_stays_inside_when_unpacked(
    files: list[tuple[str, int, str, int]],
    links: list[tuple[str, str]],
    folders: list[str],
) -> None:
    body = {
        "files": sorted(map(list, files)),
        "folders": sorted(folders),
        "links": sorted(map(list, links)),
        "total_bytes": len(files),
        "tree": 1,
    }
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    try:
        tree = trees.parse(text.encode("utf-8", "surrogatepass"))
    except InvalidInput:
        return
    with tempfile.TemporaryDirectory() as outer:
        inside = Path(outer).resolve() / "inside"
        inside.mkdir()
        with Beneath(inside) as root:
            for file in tree.files:
                with root.create(file.path, file.mode) as handle:
                    os.write(handle, b"x")
            for folder in tree.folders:
                os.close(root.make_folder(folder))
            for link in tree.links:
                root.link(link.path, link.target)
        assert os.listdir(outer) == ["inside"]
        for link in tree.links:
            real = os.path.realpath(inside / link.path)
            assert real == str(inside) or real.startswith(f"{inside}/")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_refused_in_an_orderly_way(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="manifest"):
        trees.parse(body)


@settings(max_examples=100, deadline=None)
@given(blobs=st.lists(CONTENTS, max_size=8), cut=st.integers(1, 40))
def test_frames_survive_any_cutting(blobs: list[bytes], cut: int) -> None:
    sent = [(digest_of(data), data) for data in blobs]
    body = frames.pack(sent)
    reader = frames.FrameReader()
    got = [b for at in range(0, len(body), cut) for b in reader.feed(body[at : at + cut])]
    reader.close()
    assert got == sent
    assert frames.unpack(body) == sent
