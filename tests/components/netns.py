"""A network namespace joined to this machine by one cable that the test may pull out."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from components.lacking import lacking


def need_namespaces() -> None:
    """Skip with the reason where they cannot be had; in CI that is a failure."""
    reason = ""
    if os.geteuid() != 0:
        reason = "network namespaces need root"
    elif shutil.which("ip") is None:
        reason = "no `ip`: apt-get install iproute2"
    elif subprocess.run(["ip", "netns", "list"], capture_output=True, check=False).returncode:
        reason = "this kernel or container has no network namespaces"
    if reason:
        lacking(reason)


class Cable:
    """`here` is the address on our side, `prefix` runs a command on the other."""

    def __init__(self) -> None:
        dice = random.SystemRandom()
        name = f"sw{dice.getrandbits(24):06x}"
        net = f"10.{dice.randrange(64, 250)}.{dice.randrange(256)}"
        self.name = name
        self.here, self.there = f"{net}.1", f"{net}.2"
        self.prefix = ["ip", "netns", "exec", name]
        _ip("netns", "add", name)
        try:
            _ip("link", "add", f"{name}h", "type", "veth", "peer", "name", "far", "netns", name)
            _ip("addr", "add", f"{self.here}/30", "dev", f"{name}h")
            _ip("link", "set", f"{name}h", "up")
            _ip("-n", name, "addr", "add", f"{self.there}/30", "dev", "far")
            _ip("-n", name, "link", "set", "far", "up")
            _ip("-n", name, "link", "set", "lo", "up")
        except subprocess.CalledProcessError:
            self.close()
            raise

    def cut(self) -> None:
        _ip("-n", self.name, "link", "set", "far", "down")

    def join(self) -> None:
        _ip("-n", self.name, "link", "set", "far", "up")

    def close(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def cable() -> Iterator[Cable]:
    need_namespaces()
    made = Cable()
    try:
        yield made
    finally:
        made.close()
