"""Whatever links lie in a run's folder, nothing outside is read or written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from suanwang.agent.beneath import Beneath, walk
from suanwang.kernel.errors import PermanentError


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "away").mkdir()
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "d").mkdir()
    (folder / "d" / "f").write_text("inside")
    return folder


def read(root: Beneath, path: str) -> str:
    with os.fdopen(root.open(path)) as file:
        return file.read()


@pytest.mark.parametrize(
    ("link", "target"),
    [("l", "d/f"), ("d/l", "f"), ("d/l", "../d/f"), ("l", "./d/../d/f"), ("d/l", "../d/.././d/f")],
)
def test_links_inside_are_followed(work: Path, link: str, target: str) -> None:
    (work / link).symlink_to(target)
    (work / "chain").symlink_to(link)
    with Beneath(work) as root:
        assert read(root, link) == "inside"
        assert read(root, "chain") == "inside"


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "d/../../secret", "d/up/secret"])
def test_links_out_are_refused(work: Path, target: str) -> None:
    (work / "l").symlink_to(target)
    (work / "d" / "up").symlink_to("../..")
    (work / "folder").symlink_to("../away")
    with Beneath(work) as root:
        for path in ("l", "folder/x", "../secret", "d/up/secret"):
            with pytest.raises(PermanentError) as refusal:
                root.open(path)
            assert refusal.value.reason == "LinkLeavesTree"


def test_a_ring_of_links_ends(work: Path) -> None:
    (work / "a").symlink_to("b")
    (work / "b").symlink_to("a")
    with Beneath(work) as root, pytest.raises(PermanentError):
        root.open("a")


@pytest.mark.parametrize("path", ["nothing", "d/nothing", "d/f/deeper", "d/f/"])
def test_what_is_not_there_is_said_so(work: Path, path: str) -> None:
    with Beneath(work) as root:
        if path == "d/f/":
            assert read(root, path) == "inside"
            return
        with pytest.raises(FileNotFoundError):
            root.open(path)


def test_nothing_is_written_through_a_link(work: Path, tmp_path: Path) -> None:
    (work / "out").symlink_to("../away")
    (work / "file").symlink_to("../secret")
    (work / "in").symlink_to("d")
    with Beneath(work) as root:
        for path in ("out/x", "in/x", "d/f/x"):
            with pytest.raises(PermanentError) as refusal, root.create(path, 0o644):
                pass
            assert refusal.value.reason == "InputConflict"
        with root.create("file", 0o644) as handle:
            os.write(handle, b"new")
        with pytest.raises(PermanentError), root.create("d", 0o644):
            pass
    assert (tmp_path / "secret").read_text() == "secret"
    assert not (work / "file").is_symlink()
    assert list((tmp_path / "away").iterdir()) == []
    assert sorted(p.name for p in (work / "d").iterdir()) == ["f"]


def test_created_files_replace_what_was_there(work: Path) -> None:
    with Beneath(work) as root:
        for text in (b"longer than the next", b"short"):
            with root.create("new/deep/f", 0o755) as handle:
                os.write(handle, text)
    assert (work / "new/deep/f").read_bytes() == b"short"
    assert (work / "new/deep/f").stat().st_mode & 0o777 == 0o755


def test_a_walk_shows_everything_and_follows_nothing(work: Path) -> None:
    (work / "d" / "l").symlink_to("/etc")
    (work / "e").mkdir()
    os.mkfifo(work / "pipe")
    with Beneath(work) as root:
        handle = root.open("")
        found = [(path, file is not None, target) for path, file, target in walk(handle)]
        os.close(handle)
    assert found == [
        ("d/f", True, None),
        ("d/l", False, "/etc"),
        ("e/", False, None),
        ("pipe", False, None),
    ]


def test_no_handle_is_left_open(work: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    test_links_out_are_refused(work, "/etc/passwd")
    test_what_is_not_there_is_said_so(work, "d/f/deeper")
    assert len(os.listdir("/proc/self/fd")) == before
