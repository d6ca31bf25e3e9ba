"""Client and server over real HTTP: round trips, resumption, isolation, refusals."""

from __future__ import annotations

import os
import random as stdlib_random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from components.blob_server import BlobServer, blob_server
from components.cutting_relay import CuttingRelay, cutting_relay
from suanwang.edge.client.download import PARTIAL, download_blob, download_tree
from suanwang.edge.client.transfer import upload_file, upload_folder
from suanwang.edge.client.transport import HttpTransport, call_json
from suanwang.grid.data.model import Limits
from suanwang.kernel import frames, trees
from suanwang.kernel.errors import InvalidInput, LimitExceeded, NotFound
from suanwang.platform.blobs import digest_of

MIB = 1 << 20
QUOTA = 64 * MIB


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BlobServer]:
    folder = tmp_path / "server"
    folder.mkdir()
    with blob_server(folder, limits=Limits(organisation_bytes=QUOTA, blob_bytes=32 * MIB)) as found:
        yield found


@pytest.fixture
def mine(server: BlobServer) -> Iterator[HttpTransport]:
    with HttpTransport(server.url, token="user-org_1") as opened:
        yield opened


@pytest.fixture
def theirs(server: BlobServer) -> Iterator[HttpTransport]:
    with HttpTransport(server.url, token="user-org_2") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    noise = stdlib_random.Random(7)
    for n in range(60):
        file = root / f"d{n % 5}" / f"f{n}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(noise.randbytes(n * 97))
    (root / "big").write_bytes(noise.randbytes(9 * MIB + 3))
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "empty").mkdir()
    (root / "latest").symlink_to("d1/f1")
    (root / "d1" / "same").write_bytes((root / "big").read_bytes())
    return root


def listing(root: Path) -> dict[str, tuple[str, bytes]]:
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = ("link", os.readlink(path).encode())
        elif path.is_dir():
            found[name] = ("folder", b"")
        else:
            kind = "program" if path.stat().st_mode & 0o100 else "file"
            found[name] = (kind, path.read_bytes())
    return found


def test_a_folder_comes_back_as_it_went(mine: HttpTransport, folder: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    first = upload_folder(mine, folder, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] == first.sent_bytes
    assert upload_folder(mine, folder).sent_bytes == 0
    told.clear()
    download_tree(
        mine,
        first.digest,
        tmp_path / "back",
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (first.total_bytes, first.total_bytes)
    assert listing(tmp_path / "back") == listing(folder)
    (folder / "new").write_text("one more")
    assert upload_folder(mine, folder).sent_bytes == len("one more")


def test_what_is_ignored_stays_at_home(mine: HttpTransport, folder: Path, tmp_path: Path) -> None:
    (folder / ".suanignore").write_text("# data\nbig\nd[0-3]/\n!d1/\n/latest\nsame\n")
    sent = upload_folder(mine, folder)
    download_tree(mine, sent.digest, tmp_path / "back")
    names = set(listing(tmp_path / "back"))
    assert {"d1", "d1/f1", "d4/f4", "run.sh", "empty"} <= names
    assert not names & {"big", "d0", "d2", "latest", "d1/same", ".suanignore"}


def test_a_link_out_of_the_folder_is_refused_by_name(mine: HttpTransport, folder: Path) -> None:
    (folder / "out").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInput) as refusal:
        upload_folder(mine, folder)
    assert refusal.value.reason == "LinkLeavesTree"
    assert "out" in refusal.value.message


@contextmanager
def over(relay: CuttingRelay) -> Iterator[HttpTransport]:
    with HttpTransport(f"http://127.0.0.1:{relay.port}", token="user-org_1") as opened:
        yield opened


def test_an_upload_survives_a_line_that_breaks(
    server: BlobServer, mine: HttpTransport, folder: Path, tmp_path: Path
) -> None:
    cuts = [700_000, 3 * MIB, 30_000, 5 * MIB]
    with cutting_relay(server.url, cuts) as relay, over(relay) as broken:
        sent = upload_folder(broken, folder, parallel=1)
        assert relay.made > len(cuts)
    cuts = [700_000, 3 * MIB, 30_000, 2 * MIB, 100_000]
    with cutting_relay(server.url, cuts) as relay, over(relay) as broken:
        download_tree(broken, sent.digest, tmp_path / "back")
    assert listing(tmp_path / "back") == listing(folder)
    assert upload_folder(mine, folder).sent_bytes == 0


def test_a_killed_upload_goes_on_where_it_stopped(
    server: BlobServer, mine: HttpTransport, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(stdlib_random.Random(3).randbytes(20 * MIB))
    program = (
        "import os, sys, pathlib\n"
        "from suanwang.edge.client.transport import HttpTransport\n"
        "from suanwang.edge.client.transfer import upload_file\n"
        "def tell(done, total):\n"
        f"    if done > {8 * MIB}: os.kill(os.getpid(), 9)\n"
        "upload_file(HttpTransport(sys.argv[1], token='user-org_1'), pathlib.Path(sys.argv[2]),"
        " progress=tell)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, server.url, str(file)], check=False)
    assert killed.returncode == -9
    starts: list[int] = []
    upload_file(mine, file, progress=lambda done, total: starts.append(done))
    assert starts[1] >= 4 * MIB  # [0] counts what other blobs had
    back = tmp_path / "back"
    download_blob(mine, digest_of(file.read_bytes()), back)
    assert back.read_bytes() == file.read_bytes()


def test_a_download_goes_on_where_it_stopped(
    server: BlobServer, mine: HttpTransport, folder: Path, tmp_path: Path
) -> None:
    sent = upload_folder(mine, folder)
    back = tmp_path / "back"
    big = (folder / "big").read_bytes()
    (back / PARTIAL).mkdir(parents=True)
    (back / PARTIAL / digest_of(big)[7:]).write_bytes(big[: 9 * MIB])
    (back / "d1").mkdir()
    (back / "d1" / "f6").write_bytes((folder / "d1" / "f6").read_bytes())
    with cutting_relay(server.url, []) as relay, over(relay) as through:
        download_tree(through, sent.digest, back)
        assert relay.carried < 2 * MIB
    assert listing(back) == listing(folder)


def test_nothing_is_written_through_a_link_in_the_way(
    mine: HttpTransport, folder: Path, tmp_path: Path
) -> None:
    sent = upload_folder(mine, folder)
    back = tmp_path / "back"
    back.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (back / "d1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput) as refusal:
        download_tree(mine, sent.digest, back)
    assert refusal.value.reason == "LinkInTheWay"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_another_organisation_neither_sees_nor_gets_it(
    mine: HttpTransport, theirs: HttpTransport, folder: Path, tmp_path: Path
) -> None:
    sent = upload_folder(mine, folder)
    big = digest_of((folder / "big").read_bytes())
    with pytest.raises(NotFound):
        download_tree(theirs, sent.digest, tmp_path / "x")
    with pytest.raises(NotFound):
        download_blob(theirs, big, tmp_path / "y")
    assert call_json(theirs, "POST", "/v1/blobs/missing", {"digests": [big]})["missing"] == [big]
    assert call_json(theirs, "GET", f"/v1/blobs/{big}/upload")["offset"] == 0
    with pytest.raises(NotFound):
        call_json(theirs, "POST", f"/v1/trees/{sent.digest}")
    # sending the very bytes is what gives them to it
    again = upload_folder(theirs, folder)
    assert again.sent_bytes > 9 * MIB
    assert again.digest == sent.digest
    download_tree(theirs, sent.digest, tmp_path / "z")


def test_knowing_a_manifest_grants_none_of_its_files(
    mine: HttpTransport, theirs: HttpTransport, folder: Path, server: BlobServer
) -> None:
    sent = upload_folder(mine, folder)
    manifest = httpx.get(
        f"{server.url}/v1/blobs/{sent.digest}", headers={"Authorization": "Bearer user-org_1"}
    ).content
    put = httpx.put(
        f"{server.url}/v1/blobs/{sent.digest}",
        content=manifest,
        headers={"Authorization": "Bearer user-org_2"},
    )
    assert put.status_code == 201
    refused = httpx.post(
        f"{server.url}/v1/trees/{sent.digest}", headers={"Authorization": "Bearer user-org_2"}
    )
    assert (refused.status_code, refused.json()["reason"]) == (409, "TreeIncomplete")


def test_a_hostile_manifest_is_refused_at_registration(server: BlobServer) -> None:
    body = b'{"files":[["../x",420,"%s",0]],"folders":[],"links":[],"total_bytes":0,"tree":1}' % (
        digest_of(b"").encode()
    )
    with httpx.Client(base_url=server.url, headers={"Authorization": "Bearer user-org_1"}) as http:
        for data in (b"", body):
            assert http.put(f"/v1/blobs/{digest_of(data)}", content=data).status_code == 201
        refused = http.post(f"/v1/trees/{digest_of(body)}")
    assert (refused.status_code, refused.json()["reason"]) == (422, "TreePathUnsafe")


def test_refusals_are_named(server: BlobServer, tmp_path: Path) -> None:
    digest = digest_of(b"right")
    with httpx.Client(base_url=server.url, headers={"Authorization": "Bearer user-org_1"}) as http:
        wrong = http.put(f"/v1/blobs/{digest}", content=b"wrong")
        assert (wrong.status_code, wrong.json()["reason"]) == (422, "DigestMismatch")
        assert http.get(f"/v1/blobs/{digest}").status_code == 404
        chunked = http.put(f"/v1/blobs/{digest}", content=iter([b"right"]))
        assert chunked.json()["reason"] == "LengthRequired"
        bad = http.put("/v1/blobs/sha256:zz", content=b"x")
        assert bad.json()["reason"] == "InvalidDigest"
        headers = {"Upload-Offset": "3", "Upload-Length": "5"}
        offset = http.patch(f"/v1/blobs/{digest}/upload", content=b"ht", headers=headers)
        assert (offset.status_code, offset.headers["upload-offset"]) == (409, "0")
        batch = http.post("/v1/blobs/batch", content=frames.pack([(digest, b"wrong")]))
        assert batch.json()["reason"] == "DigestMismatch"
        cut = http.post("/v1/blobs/batch", content=frames.pack([(digest, b"right")])[:-1])
        assert cut.json()["reason"] == "BatchTruncated"
        large = http.post("/v1/blobs/batch", content=bytes(9 * MIB))
        assert large.status_code in (422, 429)
        length = {"Upload-Offset": "0", "Upload-Length": str(33 * MIB)}
        over = http.patch(f"/v1/blobs/{digest}/upload", content=b"x", headers=length)
        assert over.json()["reason"] == "BlobTooLarge"
        assert http.get(f"/v1/blobs/{digest}").status_code == 404
    assert httpx.get(f"{server.url}/v1/blobs/{digest}").status_code == 401


def test_ranges_follow_the_standard(server: BlobServer) -> None:
    data = bytes(range(256)) * 8
    url = f"/v1/blobs/{digest_of(data)}"
    with httpx.Client(base_url=server.url, headers={"Authorization": "Bearer user-org_1"}) as http:
        http.put(url, content=data).raise_for_status()
        for text, part in (
            ("bytes=0-0", data[:1]),
            ("bytes=5-99", data[5:100]),
            ("bytes=2000-", data[2000:]),
            ("bytes=-7", data[-7:]),
            ("bytes=2000-999999", data[2000:]),
        ):
            got = http.get(url, headers={"Range": text})
            assert (got.status_code, got.content) == (206, part)
        assert http.get(url, headers={"Range": "bytes=2048-"}).status_code == 416
        assert http.get(url, headers={"Range": "lines=1-2"}).content == data
        head = http.head(url)
        assert (head.headers["content-length"], head.content) == ("2048", b"")


def test_the_quota_is_kept(mine: HttpTransport, tmp_path: Path) -> None:
    for n in range(2):
        path = tmp_path / str(n)
        path.write_bytes(stdlib_random.Random(n).randbytes(30 * MIB))
        upload_file(mine, path)
    path.write_bytes(os.urandom(5 * MIB))
    with pytest.raises(LimitExceeded) as refusal:
        upload_file(mine, path)
    assert refusal.value.reason == "StorageQuotaExceeded"
    used = call_json(mine, "GET", "/v1/blobs")
    assert used == {"blobs": 2, "size_bytes": 60 * MIB, "quota_bytes": QUOTA}


def test_the_client_loads_little() -> None:
    program = (
        "import sys\nimport suanwang.edge.client.transfer, suanwang.edge.client.download\n"
        "print([m for m in ('httpx', 'msgspec', 'sqlalchemy', 'fastapi') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_manifest_is_what_the_folder_is(folder: Path, mine: HttpTransport) -> None:
    sent = upload_folder(mine, folder)
    (folder / "d4" / "f4").touch()
    assert upload_folder(mine, folder).digest == sent.digest
    (folder / "d4" / "f4").chmod(0o755)
    assert upload_folder(mine, folder).digest != sent.digest
    assert trees.MODES == (0o644, 0o755)
