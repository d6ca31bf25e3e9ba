"""An agent fetches inputs and sends outputs over real HTTP, with bad lines and bad programs."""

from __future__ import annotations

import asyncio
import os
import random as stdlib_random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from components.blob_server import BlobServer, blob_server
from components.cutting_relay import cutting_relay
from suanwang.agent import blob_http
from suanwang.agent.cache import SiteCache
from suanwang.agent.transfer import (
    LeaseHttp,
    collect_outputs,
    fetch_inputs,
    report_copies,
)
from suanwang.edge.client.download import download_tree
from suanwang.edge.client.transfer import Uploaded, upload_file, upload_folder
from suanwang.edge.client.transport import HttpTransport
from suanwang.grid.data import service
from suanwang.kernel.errors import PermanentError, Unavailable
from suanwang.platform.blobs import digest_of
from suanwang.protocol.messages import InputFile, OutputFile

MIB = 1 << 20
SITE, LEASE = "site_1", "lease_1"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BlobServer]:
    folder = tmp_path / "server"
    folder.mkdir()
    with blob_server(folder) as found:
        found.leases.owners[(SITE, LEASE)] = "org_1"
        yield found


@pytest.fixture
def cache(tmp_path: Path) -> SiteCache:
    return SiteCache(tmp_path / "cache", 256 * MIB, lambda: time.time_ns() // 1_000_000)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    noise = stdlib_random.Random(11)
    for n in range(80):
        file = root / f"d{n % 4}" / f"f{n}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(noise.randbytes(n * 61))
    (root / "model").write_bytes(noise.randbytes(18 * MIB + 1))
    (root / "copy").write_bytes((root / "model").read_bytes())
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "out").mkdir()
    (root / "latest").symlink_to("d1/f1")
    return root


@asynccontextmanager
async def lease(url: str, lease_id: str = LEASE, site: str = SITE) -> AsyncIterator[LeaseHttp]:
    headers = {"Authorization": f"Bearer site-{site}"}
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        yield LeaseHttp(client, lease_id, lambda: time.monotonic_ns() // 1_000_000)


def uploaded(server: BlobServer, folder: Path, *, named: bool = True) -> Uploaded:
    with HttpTransport(server.url, token="user-org_1") as user:
        sent = upload_folder(user, folder)
    if named:
        server.leases.named.setdefault(SITE, set()).add(sent.digest)
    return sent


def tree_input(sent: Uploaded, path: str = ".") -> InputFile:
    return InputFile(path, sent.digest, sent.total_bytes, tree=True)


def same(one: Path, two: Path) -> bool:
    def listing(root: Path) -> dict[str, object]:
        return {
            str(path.relative_to(root)): os.readlink(path)
            if path.is_symlink()
            else (path.stat().st_mode & 0o111, path.read_bytes())
            if path.is_file()
            else None
            for path in root.rglob("*")
        }

    return listing(one) == listing(two)


async def test_a_tree_is_unpacked_and_kept_at_the_site(
    server: BlobServer, folder: Path, work: Path, cache: SiteCache
) -> None:
    sent = uploaded(server, folder)
    async with lease(server.url) as http:
        await fetch_inputs(http, [tree_input(sent)], work, cache)
        assert same(folder, work)
        await report_copies(http, cache)
        facts = await server.database.read(lambda conn: service.facts(conn, "org_1", [sent.digest]))
        assert facts[sent.digest].at_sites == (SITE,)
        links = await server.database.read(service.stated_links)
        assert [(link.from_site, link.to_site) for link in links] == [("", SITE)]
    # the second run costs no transfer, not even a line to the server
    again = work / "again"
    again.mkdir()
    async with lease("http://127.0.0.1:1") as http:
        await fetch_inputs(http, [tree_input(sent)], again, cache)
    assert same(folder, again)


async def test_what_a_run_writes_does_not_reach_the_cache(
    server: BlobServer, folder: Path, work: Path, cache: SiteCache
) -> None:
    sent = uploaded(server, folder)
    async with lease(server.url) as http:
        await fetch_inputs(http, [tree_input(sent)], work, cache)
        for path in work.rglob("*"):
            if path.is_file():
                with path.open("r+b") as file:
                    file.write(b"changed by the run")
        await fetch_inputs(http, [tree_input(sent, "second")], work, cache)
    assert same(folder, work / "second")


async def test_a_file_beside_a_tree(
    server: BlobServer, folder: Path, work: Path, cache: SiteCache
) -> None:
    sent = uploaded(server, folder)
    with HttpTransport(server.url, token="user-org_1") as user:
        file = upload_file(user, folder / "model")
    server.leases.named[SITE].add(file.digest)
    inputs = [
        tree_input(sent),
        InputFile("data/weights", file.digest, file.total_bytes, mode=0o4600),
    ]
    async with lease(server.url) as http:
        await fetch_inputs(http, inputs, work, cache)
        await fetch_inputs(http, inputs, work, cache)
    assert (work / "data/weights").read_bytes() == (folder / "model").read_bytes()
    assert (work / "data/weights").stat().st_mode & 0o7777 == 0o600


async def test_a_blob_too_large_for_the_cache_passes_it_by(
    server: BlobServer, folder: Path, work: Path, tmp_path: Path
) -> None:
    sent = uploaded(server, folder)
    small = SiteCache(tmp_path / "small", 8 * MIB, lambda: time.time_ns() // 1_000_000)
    async with lease(server.url) as http:
        await fetch_inputs(http, [tree_input(sent)], work, small)
        assert small.take_copies().kept == []
    assert same(folder, work)
    assert small.total_bytes < MIB
    assert list(small.partial.iterdir()) == []


async def test_runs_that_start_together_fetch_once(
    server: BlobServer, folder: Path, work: Path, cache: SiteCache
) -> None:
    sent = uploaded(server, folder)
    with cutting_relay(server.url, []) as relay:
        async with lease(f"http://127.0.0.1:{relay.port}") as http:
            runs = [work / str(n) for n in range(3)]
            for run in runs:
                run.mkdir()
            fetches = [fetch_inputs(http, [tree_input(sent)], run, cache) for run in runs]
            await asyncio.gather(*fetches)
        assert relay.carried < 22 * MIB
    assert all(same(folder, run) for run in runs)


async def test_a_line_that_breaks_costs_little(
    server: BlobServer, folder: Path, work: Path, cache: SiteCache
) -> None:
    sent = uploaded(server, folder)
    cuts = [40_000, 3 * MIB, 100_000, 5 * MIB, 2 * MIB, 1, 900_000]
    with cutting_relay(server.url, cuts) as relay:
        async with lease(f"http://127.0.0.1:{relay.port}") as http:
            await fetch_inputs(http, [tree_input(sent)], work, cache)
        assert relay.made > 4
    assert same(folder, work)


async def test_a_fetch_that_failed_goes_on_where_it_stopped(
    server: BlobServer,
    folder: Path,
    work: Path,
    cache: SiteCache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = uploaded(server, folder)
    monkeypatch.setattr(blob_http, "TRIES", 1)
    with cutting_relay(server.url, [13 * MIB, 0, 0, 0, 0, 0, 0, 0]) as relay:
        async with lease(f"http://127.0.0.1:{relay.port}") as http:
            with pytest.raises(Unavailable):
                await fetch_inputs(http, [tree_input(sent)], work, cache)
    kept = sum(path.stat().st_size for path in cache.partial.iterdir())
    assert kept > 0
    with cutting_relay(server.url, []) as relay:
        async with lease(f"http://127.0.0.1:{relay.port}") as http:
            await fetch_inputs(http, [tree_input(sent)], work, cache)
        assert relay.carried < 19 * MIB - kept
    assert same(folder, work)


async def test_no_server_is_a_transient_trouble(work: Path, cache: SiteCache) -> None:
    async with lease("http://127.0.0.1:1") as http:
        with pytest.raises(Unavailable) as refusal:
            await fetch_inputs(http, [InputFile("x", digest_of(b"x"), 1)], work, cache)
        assert refusal.value.reason == "ServerUnreachable"
        (work / "out").write_text("x")
        with pytest.raises(Unavailable):
            await collect_outputs(http, [OutputFile("o", "out")], work)


async def test_a_site_reads_only_what_its_leases_name(
    server: BlobServer, folder: Path, work: Path, cache: SiteCache
) -> None:
    sent = uploaded(server, folder, named=False)
    secret = digest_of((folder / "model").read_bytes())

    async def refusal(http: LeaseHttp, item: InputFile) -> str:
        with pytest.raises(PermanentError) as error:
            await fetch_inputs(http, [item], work, cache)
        return error.value.reason

    async with lease(server.url) as http:
        assert await refusal(http, tree_input(sent)) == "BlobNotLeased"
        assert await refusal(http, InputFile("x", secret, 18 * MIB + 1)) == "BlobNotLeased"
        reply = await http.client.get(
            f"/agent/v1/blobs/{secret}?tree={sent.digest}", headers={"suanwang-lease": LEASE}
        )
        assert reply.status_code == 403
    server.leases.named[SITE] = {sent.digest}
    async with lease(server.url, lease_id="lease_9") as http:
        assert await refusal(http, tree_input(sent)) == "LeaseUnknown"
    async with lease(server.url, site="site_2") as http:
        assert await refusal(http, tree_input(sent)) == "LeaseUnknown"
    # a lease of another organisation names the same tree, which that one never registered
    server.leases.owners[(SITE, "lease_2")] = "org_2"
    async with lease(server.url, lease_id="lease_2") as http:
        assert await refusal(http, tree_input(sent)) == "BlobNotFound"
        reply = await http.client.get(
            f"/agent/v1/blobs/{secret}?tree={sent.digest}", headers={"suanwang-lease": "lease_2"}
        )
        assert reply.status_code == 403
    async with lease(server.url) as http:
        other = digest_of(b"not in the tree")
        reply = await http.client.get(
            f"/agent/v1/blobs/{other}?tree={sent.digest}", headers={"suanwang-lease": LEASE}
        )
        assert reply.status_code == 403


async def test_an_order_that_leads_out_of_the_folder_is_refused(
    server: BlobServer, folder: Path, work: Path, cache: SiteCache
) -> None:
    sent = uploaded(server, folder)
    async with lease(server.url) as http:
        for path in ("../x", "/etc/x", "a/../../x"):
            with pytest.raises(PermanentError) as refusal:
                await fetch_inputs(http, [tree_input(sent, path)], work, cache)
            assert refusal.value.reason == "TreePathUnsafe"
        (work / "away").symlink_to("..")
        with pytest.raises(PermanentError) as refusal:
            await fetch_inputs(http, [tree_input(sent, "away/x")], work, cache)
        assert refusal.value.reason == "InputConflict"


async def test_a_hostile_manifest_is_refused_by_the_agent_itself(
    server: BlobServer, work: Path, cache: SiteCache
) -> None:
    row = f'["../x",420,"{digest_of(b"")}",0]'
    body = f'{{"files":[{row}],"folders":[],"links":[],"total_bytes":0,"tree":1}}'.encode()
    headers = {"Authorization": "Bearer user-org_1"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as user:
        sent = await user.put(f"/v1/blobs/{digest_of(body)}", content=body)
        sent.raise_for_status()
    server.leases.named[SITE] = {digest_of(body)}
    async with lease(server.url) as http:
        with pytest.raises(PermanentError) as refusal:
            await fetch_inputs(http, [InputFile(".", digest_of(body), 0, tree=True)], work, cache)
    assert refusal.value.reason == "TreePathUnsafe"


async def test_damaged_content_is_refused(
    server: BlobServer, folder: Path, work: Path, cache: SiteCache
) -> None:
    with HttpTransport(server.url, token="user-org_1") as user:
        file = upload_file(user, folder / "model")
    server.leases.named[SITE] = {file.digest}
    stored = server.depot.blobs.path_of(file.digest)  # type: ignore[attr-defined]
    stored.chmod(0o600)
    with stored.open("r+b") as opened:
        opened.seek(5 * MIB)
        opened.write(b"damage")
    async with lease(server.url) as http:
        with pytest.raises(PermanentError) as refusal:
            await fetch_inputs(http, [InputFile("m", file.digest, file.total_bytes)], work, cache)
    assert refusal.value.reason == "DigestMismatch"
    assert list(work.iterdir()) == []
    assert list(cache.partial.iterdir()) == []


async def test_outputs_are_kept_as_files_and_trees(
    server: BlobServer, folder: Path, tmp_path: Path
) -> None:
    outputs = [
        OutputFile("everything", "."),
        OutputFile("model", "model"),
        OutputFile("linked", "latest"),
        OutputFile("log", "nowhere/log", required=False),
        OutputFile("needed", "nowhere"),
    ]
    with cutting_relay(server.url, [3 * MIB, 100_000, 6 * MIB]) as relay:
        async with lease(f"http://127.0.0.1:{relay.port}") as http:
            done = await collect_outputs(http, outputs, folder)
    assert done.missing == ["needed"]
    found = {record.name: record for record in done.records}
    assert sorted(found) == ["everything", "linked", "model"]
    assert found["model"].digest == digest_of((folder / "model").read_bytes())
    assert found["linked"].digest == digest_of((folder / "d1/f1").read_bytes())
    with HttpTransport(server.url, token="user-org_1") as user:
        download_tree(user, found["everything"].digest, tmp_path / "back")
        assert same(folder, tmp_path / "back")
        assert upload_folder(user, folder).sent_bytes == 0


async def test_a_program_cannot_have_other_files_sent(
    server: BlobServer, work: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("the agent's own")
    (work / "direct").symlink_to("/etc/passwd")
    (work / "climb").symlink_to("../secret")
    (work / "folder").symlink_to("..")
    (work / "tree").mkdir()
    (work / "tree" / "in").write_text("mine")
    (work / "tree" / "out").symlink_to(tmp_path / "secret")
    (work / "tree" / "up").symlink_to("../../secret")
    (work / "tree" / "bad\\name").write_text("x")
    os.mkfifo(work / "tree" / "pipe")
    os.mkfifo(work / "pipe")
    names = ("direct", "climb", "folder", "folder/secret", "pipe")
    outputs = [OutputFile(name, name) for name in (*names, "tree")]
    async with lease(server.url) as http:
        done = await collect_outputs(http, outputs, work)
    assert done.missing == list(names)
    assert [record.name for record in done.records] == ["tree"]
    assert done.records[0].size_bytes == len("mine")
    notes = "\n".join(done.notes)
    for reason in ("LinkLeavesTree", "SpecialFile", "bad", "pipe", "'out'", "'up'"):
        assert reason in notes
    kept = await server.database.read(
        lambda conn: service.missing(conn, "org_1", [digest_of(b"the agent's own")])
    )
    assert kept == [digest_of(b"the agent's own")]


async def test_an_output_that_still_changes_is_refused(server: BlobServer, work: Path) -> None:
    (work / "out").write_bytes(bytes(2 * MIB))

    async with lease(server.url) as http:
        asked = http.client.build_request

        def change_then(method: str, url: str, **more: object) -> httpx.Request:
            if method == "PATCH":
                with (work / "out").open("r+b") as file:
                    file.write(b"later")
            return asked(method, url, **more)  # type: ignore[arg-type]

        http.client.build_request = change_then  # type: ignore[method-assign,assignment]
        done = await collect_outputs(http, [OutputFile("o", "out")], work)
    assert done.missing == ["o"]
    assert "DigestMismatch" in done.notes[0]
