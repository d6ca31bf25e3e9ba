"""Opening files beneath a folder, whatever links lie in it.

A run's folder belongs to the user's program, which may leave any link anywhere in it. Each step
is taken from an open folder without following links (openat with O_NOFOLLOW); links are followed
by hand, and only while they stay beneath the root: what openat2's RESOLVE_BENEATH does.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from suanwang.kernel.errors import PermanentError
from suanwang.kernel.trees import MAX_DEPTH

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_LINKS = 40
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def _in_the_way(path: str) -> PermanentError:
    return PermanentError(
        "InputConflict",
        f"{path[:120]!r} is taken already, by a folder or beneath a link.",
        hint="Give each input a path of its own.",
    )


class Beneath:
    """An open folder. All paths are relative to it, with `/` between names; "" is itself."""

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._root)

    def __enter__(self) -> Beneath:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def make_folder(self, path: str) -> int:
        """A handle to the folder, made with its parents; raises PermanentError (InputConflict)."""
        at = os.dup(self._root)
        try:
            for name in path.split("/") if path else ():
                try:
                    os.mkdir(name, 0o755, dir_fd=at)
                except FileExistsError:
                    pass
                below = os.open(name, _FOLDER, dir_fd=at)
                os.close(at)
                at = below
        except OSError as error:
            os.close(at)
            if error.errno in _NOT_THERE:
                raise _in_the_way(path) from error
            raise
        return at

    @contextmanager
    def create(self, path: str, mode: int) -> Iterator[int]:
        """A new file, open for writing; what had the name before is replaced unless a folder."""
        parent, _, name = path.rpartition("/")
        at = self.make_folder(parent)
        try:
            self._clear(at, name, path)
            handle = os.open(name, _CREATE, 0o600, dir_fd=at)
            try:
                yield handle
                os.fchmod(handle, mode)
            finally:
                os.close(handle)
        finally:
            os.close(at)

    def adopt(self, path: str, source: Path, mode: int) -> bool:
        """Rename a file to here; False if it lies on another file system."""
        parent, _, name = path.rpartition("/")
        at = self.make_folder(parent)
        try:
            self._clear(at, name, path)
            source.chmod(mode)
            os.rename(source, name, dst_dir_fd=at)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return False
        finally:
            os.close(at)
        return True

    def link(self, path: str, target: str) -> None:
        parent, _, name = path.rpartition("/")
        at = self.make_folder(parent)
        try:
            self._clear(at, name, path)
            os.symlink(target, name, dir_fd=at)
        finally:
            os.close(at)

    @staticmethod
    def _clear(at: int, name: str, path: str) -> None:
        try:
            os.unlink(name, dir_fd=at)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in (errno.EISDIR, errno.EPERM):
                raise _in_the_way(path) from error
            raise

    def open(self, path: str) -> int:
        """A handle for reading a file or folder, through links that stay beneath the root.

        Raises FileNotFoundError if there is none, PermanentError (LinkLeavesTree) if it lies
        elsewhere.
        """
        stack = [os.dup(self._root)]
        names = list(reversed(path.split("/"))) if path else []
        followed = 0
        try:
            while names:
                name = names.pop()
                if name in ("", "."):
                    continue
                if name == "..":
                    if len(stack) == 1:
                        raise _leaves(path)
                    os.close(stack.pop())
                    continue
                try:
                    stack.append(os.open(name, _READ, dir_fd=stack[-1]))
                    continue
                except OSError as error:
                    if error.errno != errno.ELOOP:
                        raise _not_there(path, error) from error
                target = os.readlink(name, dir_fd=stack[-1])
                followed += 1
                if target.startswith("/") or followed > MAX_LINKS:
                    raise _leaves(path)
                names.extend(reversed(target.split("/")))
            return stack.pop()
        finally:
            for handle in stack:
                os.close(handle)


def _leaves(path: str) -> PermanentError:
    return PermanentError(
        "LinkLeavesTree",
        f"{path[:120]!r} is, or lies behind, a link out of the working directory.",
        hint="Copy the file into the working directory instead of linking to it.",
    )


def _not_there(path: str, error: OSError) -> OSError:
    if error.errno in (errno.ENOTDIR, errno.ENXIO):  # ENXIO: a socket or a pipe without a writer
        return FileNotFoundError(errno.ENOENT, "no such file", path)
    return error


def walk(root: int) -> Iterator[tuple[str, int | None, str | None]]:
    """Everything beneath an open folder, sorted: (path, file handle, link target).

    A file's handle is open until the next step; an empty folder and a special file have neither
    handle nor target, the former's path ends in "/". Folders too deep for a tree are passed over.
    """
    yield from _walk(root, "", 0)


def _walk(folder: int, prefix: str, depth: int) -> Iterator[tuple[str, int | None, str | None]]:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    if not names and prefix:
        yield prefix, None, None
    for name in names:
        path = prefix + name
        try:
            handle = os.open(name, _READ, dir_fd=folder)
        except OSError as error:
            if error.errno == errno.ELOOP:
                yield path, None, os.readlink(name, dir_fd=folder)
            elif error.errno != errno.ENOENT:
                yield path, None, None
            continue
        try:
            kind = os.fstat(handle).st_mode
            if stat.S_ISDIR(kind) and depth < MAX_DEPTH:
                yield from _walk(handle, f"{path}/", depth + 1)
            elif stat.S_ISREG(kind):
                yield path, handle, None
            else:
                yield path, None, None
        finally:
            os.close(handle)
