"""Starting the warden, and what is left when it dies.

`launch` makes two processes: the *keeper*, and the warden as its child. The keeper only waits. If
the warden is killed, its runs fall to the keeper, the next subreaper above, which kills them all:
work nobody can account for must not go on. The keeper also holds the lock on the state folder, so
a new warden cannot begin before the old one's runs are gone.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import time
import traceback

from suanwang.agent.drivers.process.warden import leftovers, main

_LOCK = "warden.lock"
_MARK = "warden.id"
LOG = "warden.log"
_LOCK_WAIT_S = 20.0
_LOG_LIMIT = 1 << 20


def launch(folder: str, linger_ms: int) -> int:
    """Start keeper and warden and wait until the warden answers; the exit code for the caller."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    os.chdir(folder)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    if os.fork() == 0:
        os.close(reader)
        _detach()
        try:
            _keep(linger_ms, writer)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(1)
    os.close(writer)
    if os.read(reader, 1):
        return 0
    sys.stderr.write(f"the warden did not start; its log is {folder}/{LOG}\n")
    return 1


def _detach() -> None:
    os.setsid()
    os.umask(0o022)
    null = os.open("/dev/null", os.O_RDONLY)
    full = os.path.exists(LOG) and os.path.getsize(LOG) > _LOG_LIMIT
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if full else os.O_APPEND)
    log = os.open(LOG, flags, 0o600)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(null)
    os.close(log)


def _keep(linger_ms: int, ready: int) -> None:
    lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _acquire(lock):
        os.write(ready, b"1")
        os._exit(0)
    main.become_subreaper()
    warden = os.fork()
    if warden == 0:
        main.run(mark(), linger_ms, ready)
        os._exit(0)
    os.close(ready)
    while (ended := os.waitpid(-1, 0))[0] != warden:
        pass
    leftovers.kill_own_descendants()
    if ended[1] != 0 and (left := main.control_groups(mark())) is not None:
        left.close()
    os._exit(0)


def _acquire(lock: int) -> bool:
    """False when another warden serves this folder, which is as good. Raises TimeoutError."""
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            pass
        if _served():
            return False
        if time.monotonic() > deadline:
            raise TimeoutError("another warden holds the folder's lock and does not answer")
        time.sleep(0.01)


def _served() -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(main.SOCKET)
        except OSError:
            return False
    return True


def mark() -> str:
    """Random, made once per folder: tells this agent's processes from another's."""
    try:
        with open(_MARK, encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        made = os.urandom(12).hex()
        with open(f"{_MARK}.new", "w", encoding="ascii") as file:
            file.write(made)
        os.rename(f"{_MARK}.new", _MARK)
        return made
