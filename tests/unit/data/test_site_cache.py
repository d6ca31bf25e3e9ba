"""A site's cache: bounded, least recently used first out, safe from the runs' own writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from suanwang.agent.cache import UNFLUSHED_MS, SiteCache, copy_into
from suanwang.platform.blobs import digest_of


class Ticks:
    """Each look is a millisecond later."""

    def __init__(self) -> None:
        self.now_ms = 1_767_225_600_000

    def __call__(self) -> int:
        self.now_ms += 1
        return self.now_ms


@pytest.fixture
def cache(tmp_path: Path) -> SiteCache:
    return SiteCache(tmp_path / "cache", 1_000, Ticks())


def put(cache: SiteCache, text: str, size: int = 200) -> str:
    data = text.encode().ljust(size, b".")
    cache.put(digest_of(data), data)
    return digest_of(data)


def test_the_least_recently_used_goes_first(cache: SiteCache) -> None:
    digests = [put(cache, str(n)) for n in range(5)]
    assert cache.total_bytes == 1_000
    assert cache.find(digests[0]) is not None
    put(cache, "new")
    assert cache.total_bytes <= 1_000
    assert cache.find(digests[0]) is not None
    assert cache.find(digests[1]) is None
    assert not cache.path_of(digests[1]).exists()


async def test_what_is_pinned_stays(cache: SiteCache) -> None:
    digests = [put(cache, str(n)) for n in range(5)]
    async with cache.pinned([digests[0]]):
        put(cache, "new")
        assert cache.find(digests[0]) is not None
    for n in range(9):
        put(cache, f"more {n}")
    assert cache.find(digests[0]) is None


def test_a_file_that_was_written_to_is_dropped(cache: SiteCache) -> None:
    digest = put(cache, "x")
    path = cache.path_of(digest)
    assert path.stat().st_mode & 0o777 == 0o444
    path.chmod(0o644)
    path.write_bytes(b"y" * 200)
    assert cache.find(digest) is None
    assert cache.total_bytes == 0


def test_copies_are_files_of_their_own(cache: SiteCache, tmp_path: Path) -> None:
    digest = put(cache, "x")
    copy = tmp_path / "copy"
    handle = os.open(copy, os.O_WRONLY | os.O_CREAT)
    copy_into(cache.path_of(digest), handle)
    os.close(handle)
    assert copy.stat().st_ino != cache.path_of(digest).stat().st_ino
    copy.write_bytes(b"overwritten")
    assert cache.path_of(digest).read_bytes().startswith(b"x.")


def test_a_restarted_agent_finds_its_cache(cache: SiteCache, tmp_path: Path) -> None:
    digests = [put(cache, str(n)) for n in range(3)]
    cache.find(digests[0])
    again = SiteCache(tmp_path / "cache", 600, Ticks())
    assert again.digests() == sorted(digests)
    assert again.total_bytes == 600
    put(again, "new")
    assert again.find(digests[1]) is None
    assert again.find(digests[0]) is not None


def test_after_a_power_cut_the_newest_files_are_fetched_anew(tmp_path: Path) -> None:
    """They have their names and times, but perhaps not their bytes: nothing was flushed."""
    clock = [0]

    def opened(boot_id: str) -> SiteCache:
        return SiteCache(tmp_path / "cache", 1_000, lambda: clock[0], boot_id=boot_id)

    cache = opened("first boot")
    old, new = (f"sha256:{letter * 64}" for letter in "ab")
    clock[0] = 1_000_000
    cache.put(old, b"old")
    clock[0] += UNFLUSHED_MS + 1_000
    cache.put(new, b"new")
    assert opened("first boot").digests() == [old, new], "the agent alone was restarted"
    again = opened("second boot")
    assert again.digests() == [old]
    assert again.total_bytes == 3
    assert not again.path_of(new).exists()
    assert opened("second boot").digests() == [old]


def test_what_came_and_went_is_told_once(cache: SiteCache) -> None:
    digests = [put(cache, str(n)) for n in range(4)]
    cache.keep("tree", digests[:2])
    cache.keep("other", digests[2:])
    first = cache.take_copies()
    assert (first.kept, first.dropped, first.forget_others) == (["tree", "other"], [], True)
    cache.put_back(first)
    cache.drop(digests[1])
    told = cache.take_copies()
    assert (told.kept, told.dropped, told.forget_others) == (["other"], ["tree"], True)
    nothing = cache.take_copies()
    assert (nothing.kept, nothing.dropped, nothing.forget_others) == ([], [], False)
