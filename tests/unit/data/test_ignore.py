"""`.suanignore` against what gitignore(5) says of the same patterns."""

from __future__ import annotations

import pytest

from suanwang.edge.client.ignore import Ignore


@pytest.mark.parametrize(
    ("lines", "path", "is_folder", "out"),
    [
        (["*.o"], "a.o", False, True),
        (["*.o"], "d/a.o", False, True),
        (["*.o"], "a.out", False, False),
        (["/a"], "a", False, True),
        (["/a"], "d/a", False, False),
        (["d/a"], "x/d/a", False, False),
        (["d/"], "d", True, True),
        (["d/"], "d", False, False),
        (["d/"], "x/d", True, True),
        (["**/logs"], "x/y/logs", True, True),
        (["a/**/b"], "a/b", False, True),
        (["a/**/b"], "a/x/y/b", False, True),
        (["a/**"], "a/x/y", False, True),
        (["a/*"], "a/x/y", False, False),
        (["?.txt"], "a.txt", False, True),
        (["?.txt"], "ab.txt", False, False),
        (["f[0-9]"], "f7", False, True),
        (["f[!0-9]"], "f7", False, False),
        (["f[!0-9]"], "fx", False, True),
        (["*.o", "!keep.o"], "keep.o", False, False),
        (["!keep.o", "*.o"], "keep.o", False, True),
        (["# a", "", "   "], "# a", False, False),
        (["\\#a"], "#a", False, True),
        (["\\!a"], "!a", False, True),
        (["a.b"], "axb", False, False),
        (["(x"], "(x", False, True),
        ([], ".git", True, True),
        ([], "sub/__pycache__", True, True),
        (["!.git/"], ".git", True, False),
    ],
)
def test_patterns(lines: list[str], path: str, is_folder: bool, out: bool) -> None:
    assert Ignore(lines).leaves_out(path, is_folder=is_folder) is out
