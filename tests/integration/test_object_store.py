"""The whole platform with its blobs in an object store: agents, clients, and a backup."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from components.blob_server import BlobServer, blob_server
from components.cutting_relay import cutting_relay
from rig import LiveGrid, telling
from suanwang import backup
from suanwang.agent.cache import SiteCache
from suanwang.agent.transfer import LeaseHttp, collect_outputs, fetch_inputs
from suanwang.edge.client.download import download_tree
from suanwang.edge.client.transfer import upload_folder
from suanwang.edge.client.transport import HttpTransport
from suanwang.kernel.errors import Conflict
from suanwang.platform.blob_stores import open_blob_store
from suanwang.platform.settings import Settings
from suanwang.protocol.messages import InputFile, OutputFile

MIB = 1 << 20


@asynccontextmanager
async def lease(port: int) -> AsyncIterator[LeaseHttp]:
    headers = {"Authorization": "Bearer site-site_1"}
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        yield LeaseHttp(client, "lease_1", lambda: time.monotonic_ns() // 1_000_000)


@pytest.fixture
def server(tmp_path: Path, s3_url: str) -> Iterator[BlobServer]:
    (tmp_path / "server").mkdir()
    store = open_blob_store(s3_url)
    with blob_server(tmp_path / "server", blobs=store) as found:
        found.leases.owners[("site_1", "lease_1")] = "org_1"
        yield found
    store.close()


async def test_a_folder_goes_out_and_comes_home_over_a_bad_line(
    tmp_path: Path, server: BlobServer
) -> None:
    """User → S3 → agent → S3 → user; the large file is fetched in pieces that break off."""
    folder, work, home = (tmp_path / name for name in ("folder", "work", "home"))
    for path in (folder, work):
        path.mkdir()
    (folder / "weights").write_bytes(os.urandom(11 * MIB + 3))
    for number in range(30):
        (folder / f"f{number}").write_text(f"{number}\n" * number)
    with HttpTransport(server.url, token="user-org_1") as user:
        sent = upload_folder(user, folder)
    server.leases.named["site_1"] = {sent.digest}
    cache = SiteCache(tmp_path / "cache", 256 * MIB, lambda: time.time_ns() // 1_000_000)
    tree = InputFile(".", sent.digest, sent.total_bytes, tree=True)
    with cutting_relay(server.url, [5 * MIB, 40_000, 3 * MIB, 900_000]) as relay:
        async with lease(relay.port) as http:
            await fetch_inputs(http, [tree], work, cache)
        assert relay.made > 4
    assert (work / "weights").read_bytes() == (folder / "weights").read_bytes()
    (work / "weights").write_bytes(os.urandom(9 * MIB))
    with cutting_relay(server.url, [4 * MIB, 2 * MIB]) as relay:
        async with lease(relay.port) as http:
            done = await collect_outputs(http, [OutputFile("all", ".")], work)
        assert relay.made > 2
    [record] = done.records
    with HttpTransport(server.url, token="user-org_1") as user:
        download_tree(user, record.digest, home)
    for path in work.iterdir():
        assert (home / path.name).read_bytes() == path.read_bytes()


@pytest.mark.xdist_group("backup")
def test_a_backup_names_the_bucket_and_a_restore_looks_into_it(tmp_path: Path, s3_url: str) -> None:
    file = tmp_path / "monday.backup"
    with LiveGrid(tmp_path / "old", blobs=s3_url) as grid:
        grid.site("near")
        script = f"{telling(tmp_path / 'seen')}\necho result > result.txt"
        done = grid.submit(script, outputs={"result": "result.txt"})
        assert grid.until_state(done) == "succeeded"
        [output] = grid.leases(done)[0]["outputs"]
        settings = tmp_path / "suanwang.yaml"
        settings.write_text(f"state: {grid.settings.state}\nblobs: {s3_url}\n")
        argv = [sys.executable, "-m", "suanwang.backup", "make", str(file)]
        said = subprocess.run(
            [*argv, "--settings", str(settings)], check=True, capture_output=True, text=True
        ).stdout
    assert f"The blobs are in {s3_url.partition('?')[0]} and not in this file" in said
    restored = backup.restore(Settings(state=str(tmp_path / "new"), blobs=s3_url), file)
    assert (restored.blobs, restored.blobs_checked) == (1, 1)
    _lose(s3_url, output["digest"])
    with pytest.raises(Conflict) as refusal:
        backup.restore(Settings(state=str(tmp_path / "newer"), blobs=s3_url), file)
    assert refusal.value.reason == "BackupDamaged"
    assert output["digest"] in str(refusal.value)


def _lose(url: str, digest: str) -> None:
    store = open_blob_store(url)
    asyncio.run(store.delete([digest]))
    store.close()
