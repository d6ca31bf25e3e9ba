"""The real machine behind the `Host` port: subprocesses, clocks and sleeping."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping, Sequence

from suanwang.agent.port import Completed

_NOT_FOUND = 127
_TIMED_OUT = 124
_LAST_WORDS_S = 1.0


class Machine:
    """This machine. Commands run in sessions of their own: a time-out ends the whole tree."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> Completed:
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=None if env is None else dict(env),
                start_new_session=True,
            )
        except FileNotFoundError:
            return Completed(_NOT_FOUND, "", f"{argv[0]}: no such program")
        except PermissionError:
            return Completed(126, "", f"{argv[0]}: not allowed to run it")
        talk = asyncio.ensure_future(process.communicate(stdin.encode() if stdin else None))
        try:
            out, err = await asyncio.wait_for(asyncio.shield(talk), timeout_s)
        except TimeoutError:
            _kill_session(process.pid)
            out, err = await _last_words(talk)
            note = f"{argv[0]}: no answer within {timeout_s:g} s"
            return Completed(_TIMED_OUT, _text(out), f"{_text(err)}{note}")
        except asyncio.CancelledError:
            _kill_session(process.pid)
            await _last_words(talk)
            raise
        code = process.returncode
        return Completed(code if code is not None else -1, _text(out), _text(err))

    def monotonic_ms(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _last_words(talk: asyncio.Future[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """What was said before the kill; nothing, if a daemon that got away holds on to the pipes."""
    try:
        return await asyncio.wait_for(talk, _LAST_WORDS_S)
    except TimeoutError:
        return b"", b""


def _kill_session(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
