"""What only a folder can show: full disks, restarts, files on disk."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from components.small_disk import small_disk
from suanwang.kernel.errors import Unavailable
from suanwang.platform.blobs import digest_of
from suanwang.platform.blobs_folder import FolderBlobs

MIB = 1 << 20
DATA = os.urandom(6 * MIB)
DIGEST = digest_of(DATA)


async def pieces(data: bytes, size: int = 64 << 10) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def files_of(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def _fails_cleanly(root: Path) -> None:
    store = FolderBlobs(root)
    try:
        with pytest.raises(Unavailable) as refusal:
            await store.write(DIGEST, pieces(DATA), len(DATA))
        assert refusal.value.reason == "DiskFull"
        assert files_of(root) == []
        with pytest.raises(Unavailable) as refusal:
            await store.append("me", DIGEST, 0, pieces(DATA), len(DATA))
        assert refusal.value.reason == "DiskFull"
        assert files_of(root) == []
        assert await store.offset("me", DIGEST) == 0
        small = DATA[:MIB]
        assert await store.write(digest_of(small), pieces(small), MIB) == MIB
    finally:
        store.close()


async def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", mib=4) as disk:
        await _fails_cleanly(disk.folder)


async def test_a_file_size_limit_counts_as_a_full_disk(tmp_path: Path) -> None:
    with file_size_limit(4 * MIB):
        await _fails_cleanly(tmp_path / "store")


async def test_a_batch_on_a_full_disk_fails_and_can_be_sent_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", mib=4) as disk:
        store = FolderBlobs(disk.folder)
        parts = [DATA[n * MIB : (n + 1) * MIB] for n in range(6)]
        with pytest.raises(Unavailable):
            await store.write_small([(digest_of(part), part) for part in parts])
        assert not any((disk.folder / "incoming").iterdir())
        store.close()


async def test_another_process_takes_an_upload_over(tmp_path: Path) -> None:
    first = FolderBlobs(tmp_path)
    await first.append("me", DIGEST, 0, pieces(DATA[: 3 * MIB + 7]), len(DATA))
    first.close()
    second = FolderBlobs(tmp_path)
    assert await second.offset("me", DIGEST) == 3 * MIB + 7
    await second.append("me", DIGEST, 3 * MIB + 7, pieces(DATA[3 * MIB + 7 :]), len(DATA))
    assert await second.finish("me", DIGEST) == len(DATA)
    second.close()


async def test_a_finished_upload_of_an_earlier_process_is_verified_from_disk(
    tmp_path: Path,
) -> None:
    first = FolderBlobs(tmp_path)
    await first.append("me", DIGEST, 0, pieces(DATA), len(DATA))
    first.close()
    second = FolderBlobs(tmp_path)
    assert await second.finish("me", DIGEST) == len(DATA)
    assert second.path_of(DIGEST).read_bytes() == DATA
    second.close()


async def test_blobs_are_read_only_files_and_leave_no_others(tmp_path: Path) -> None:
    store = FolderBlobs(tmp_path)
    await asyncio.gather(*(store.write(DIGEST, pieces(DATA), len(DATA)) for _ in range(3)))
    assert files_of(tmp_path) == [store.path_of(DIGEST)]
    assert store.path_of(DIGEST).stat().st_mode & 0o777 == 0o444
    store.close()


async def test_a_sender_who_leaves_in_the_middle_leaves_no_file(tmp_path: Path) -> None:
    store = FolderBlobs(tmp_path)
    begun = asyncio.Event()

    async def silent() -> AsyncIterator[bytes]:
        yield DATA[: 2 * MIB]
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.write(DIGEST, silent(), len(DATA)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files_of(tmp_path) == []
    store.close()
