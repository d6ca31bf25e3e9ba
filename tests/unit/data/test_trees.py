"""Manifests that could leave their folder are refused, with a name for each reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from suanwang.kernel import trees
from suanwang.kernel.errors import InvalidInput

D = "sha256:" + "0" * 64
E = "sha256:" + "1" * 64


def manifest(
    files: list[Any] | None = None, links: list[Any] | None = None, folders: list[Any] | None = None
) -> bytes:
    rows = files or []
    body = {
        "files": rows,
        "folders": folders or [],
        "links": links or [],
        "total_bytes": sum(size for row in rows for size in row[3:4] if type(size) is int),
        "tree": 1,
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode(
        "utf-8", "surrogatepass"
    )


def file(path: Any, mode: Any = 0o644, digest: Any = D, size: Any = 1) -> list[Any]:
    return [path, mode, digest, size]


GOOD = manifest([file("a"), file("b/c", 0o755)], [["b/up", "../a"], ["l", "b/c"]], ["empty/x"])


def test_a_good_manifest_is_its_own_encoding() -> None:
    tree = trees.parse(GOOD)
    assert trees.encode(tree) == GOOD
    assert tree.total_bytes == 2
    assert tree.blobs() == {D: 1}


HOSTILE = [
    ("TreePathUnsafe", manifest([file("/etc/passwd")])),
    ("TreePathUnsafe", manifest([file("../x")])),
    ("TreePathUnsafe", manifest([file("a/../../x")])),
    ("TreePathUnsafe", manifest([file("a/./x")])),
    ("TreePathUnsafe", manifest([file("a//x")])),
    ("TreePathUnsafe", manifest([file("a/")])),
    ("TreePathUnsafe", manifest([file("")])),
    ("TreePathUnsafe", manifest([file(".")])),
    ("TreePathUnsafe", manifest([file("..\\x")])),
    ("TreePathUnsafe", manifest([file("a\0b")])),
    ("TreePathUnsafe", manifest([file("a\nb")])),
    ("TreePathUnsafe", manifest([], folders=["../x"])),
    ("TreePathUnsafe", manifest([file("a")], [["../l", "a"]])),
    ("TreePathTooLong", manifest([file("x" * 256)])),
    ("TreePathTooLong", manifest([file("/".join(["x"] * 65))])),
    ("TreePathTooLong", manifest([file("/".join(["x" * 200] * 6))])),
    ("TreePathConflict", manifest([file("a"), file("a", digest=E)])),
    ("TreePathConflict", manifest([file("a"), file("a/b")])),
    ("TreePathConflict", manifest([file("a"), file("a-b"), file("a/b")])),
    ("TreePathConflict", manifest([file("a/b")], folders=["a"])),
    ("TreePathConflict", manifest([file("d/x"), file("l/x")], [["l", "d"]])),
    ("TreePathConflict", manifest([file("a")], [["a", "a"]])),
    ("LinkLeavesTree", manifest([file("a")], [["l", "/etc/passwd"]])),
    ("LinkLeavesTree", manifest([file("a")], [["l", "../a"]])),
    ("LinkLeavesTree", manifest([file("d/a")], [["d/l", "../../a"]])),
    ("LinkLeavesTree", manifest([file("a")], [["l", ""]])),
    ("LinkLeavesTree", manifest([file("a")], [["l", "./a"]])),
    # physically, `up` is in the root's place: what looks harmless would climb out through it
    ("LinkLeavesTree", manifest([file("a"), file("p/q/x")], [["l", "p/q/up/../.."]])),
    ("LinkDangles", manifest([file("a")], [["l", "b"]])),
    ("LinkDangles", manifest([file("d/a")], [["k", "d"], ["l", "k/a"]])),
    ("TreeModeUnsafe", manifest([file("a", 0o4755)])),
    ("TreeModeUnsafe", manifest([file("a", 0o666)])),
    ("TreeMalformed", manifest([file("a", digest="md5:1")])),
    ("TreeMalformed", manifest([file("a", digest=D.upper())])),
    ("TreeMalformed", manifest([file("a", size=-1)])),
    ("TreeMalformed", manifest([file("a", size=1.5)])),
    ("TreeMalformed", manifest([file("a", size=True)])),
    ("TreeMalformed", manifest([file("a", size=1), file("b", size=2)])),
    ("TreeMalformed", manifest([file(7)])),
    ("TreeMalformed", manifest([["a", 0o644, D]])),
    ("TreeMalformed", b"[]"),
    ("TreeMalformed", b"\xff\xfe"),
    ("TreeMalformed", b"[" * 100_000),
    ("TreeMalformed", GOOD.replace(b'"tree":1', b'"tree":2')),
    ("TreeNotCanonical", GOOD + b" "),
    ("TreeNotCanonical", GOOD.replace(b'"tree":1', b'"more":1,"tree":1')),
    ("TreeNotCanonical", GOOD.replace(b'"total_bytes":2', b'"total_bytes":3')),
    ("TreeNotCanonical", manifest([file("b"), file("a")])),
    ("TreeTooLarge", manifest([file("a", size=1 << 50)])),
    ("TreeTooLarge", b" " * (trees.MAX_MANIFEST_BYTES + 1)),
    ("TreeTooManyEntries", manifest([], folders=[f"{n:06}" for n in range(100_001)])),
]


@pytest.mark.parametrize(("reason", "body"), HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_manifests_are_refused_by_name(reason: str, body: bytes) -> None:
    with pytest.raises(InvalidInput) as refusal:
        trees.parse(body)
    assert refusal.value.reason == reason
    assert refusal.value.hint


def test_surrogates_are_refused() -> None:
    with pytest.raises(InvalidInput):
        trees.parse(manifest([file("a\udc80")]))
    with pytest.raises(InvalidInput) as refusal:
        trees.make([trees.TreeFile("a\udc80", 0o644, D, 1)])
    assert refusal.value.reason == "TreePathUnsafe"


def test_links_that_a_tree_may_not_have_are_sorted_out() -> None:
    links = [
        trees.TreeLink("ok", "d/f"),
        trees.TreeLink("root", "d"),
        trees.TreeLink("d/up", ".."),
        trees.TreeLink("chain", "ok"),
        trees.TreeLink("out", "/usr"),
        trees.TreeLink("after", "out"),
        trees.TreeLink("gone", "x"),
    ]
    kept, dropped = trees.usable_links(["d/f"], links)
    assert [link.path for link in kept] == ["chain", "d/up", "ok", "root"]
    assert {link.path: why for link, why in dropped} == {
        "out": "LinkLeavesTree",
        "gone": "LinkDangles",
        "after": "LinkDangles",
    }
    trees.make([trees.TreeFile("d/f", 0o644, D, 1)], kept)


def test_equal_folders_have_equal_digests_in_whatever_order() -> None:
    files = [trees.TreeFile(path, 0o644, D, 1) for path in ("b", "a", "é/ü", "a.b")]
    one = trees.encode(trees.make(files))
    assert one == trees.encode(trees.make(reversed(files)))
    assert trees.parse(one).files[0].path == "a"
