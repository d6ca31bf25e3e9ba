"""Transfers over a long link, beside rclone and curl over the same link.

    python bench/transfer.py [--mbit 200] [--rtt-ms 52] [--window-mib 4] [--large-mib 256]

A relay in this process stands for the link (see transfer_relay: delay, shared rate, window per
connection; no loss). `limit` is what plain TCP carries over it on four connections, measured in
the same run. Ours verifies SHA-256 at both ends and synchronises to disk; rclone (WebDAV) and curl
verify nothing. Every figure is the wall time of a whole process, start-up included. Prints one
JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from transfer_relay import LinkSettings, Relay

ENDS = str(Path(__file__).with_name("transfer_ends.py"))
SERVER = str(Path(__file__).with_name("transfer_server.py"))
MIB = 1 << 20
SMALL_COUNT, SMALL_BYTES = 2_000, 10_000


async def timed(*command: str) -> tuple[float, str]:
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{err.decode()[-2_000:]}")
    return time.perf_counter() - began, out.decode().strip()


def ours(*words: str) -> tuple[str, ...]:
    return (sys.executable, ENDS, *words)


@asynccontextmanager
async def our_server(folder: Path) -> AsyncIterator[tuple[str, int]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, SERVER, str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    try:
        yield "127.0.0.1", port
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def rclone_server(folder: Path, port: int) -> AsyncIterator[tuple[str, int]]:
    folder.mkdir()
    address = f"127.0.0.1:{port}"
    process = await asyncio.create_subprocess_exec(
        "rclone",
        *("serve", "webdav", str(folder), "--addr", address, "--vfs-cache-mode", "off"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            break
        except OSError:
            await asyncio.sleep(0.05)
    try:
        yield "127.0.0.1", port
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def linked(target: tuple[str, int], settings: LinkSettings) -> AsyncIterator[Relay]:
    relay = Relay(target, settings)
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()


async def free_port() -> int:
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def link_limit(settings: LinkSettings, size: int, connections: int) -> float:
    """MiB/s of plain TCP through the relay."""
    done = asyncio.Event()
    got = 0

    async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        while data := await reader.read(1 << 18):
            got += len(data)
            if got >= size:
                done.set()
        writer.close()

    server = await asyncio.start_server(sink, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with linked(("127.0.0.1", port), settings) as relay:
        began = time.perf_counter()

        async def send() -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            block = bytes(1 << 18)
            for _ in range(-(-size // connections // len(block))):
                writer.write(block)
                await writer.drain()
            await done.wait()
            writer.close()

        await asyncio.gather(*(send() for _ in range(connections)))
        taken = time.perf_counter() - began
    server.close()
    return size / MIB / taken


def make_data(root: Path, large_bytes: int) -> dict[str, tuple[Path, int]]:
    large, small = root / "large", root / "small"
    large.mkdir()
    with (large / "file").open("wb") as file:
        for _ in range(large_bytes // MIB):
            file.write(os.urandom(MIB))
    for n in range(SMALL_COUNT):
        path = small / f"d{n // 100}" / f"f{n}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(SMALL_BYTES))
    return {"large": (large, large_bytes), "small": (small, SMALL_COUNT * SMALL_BYTES)}


def same(one: Path, two: Path) -> None:
    names = [path.relative_to(one) for path in one.rglob("*") if path.is_file()]
    assert names, "nothing to compare"
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


async def measure_ours(
    root: Path, data: dict[str, tuple[Path, int]], settings: LinkSettings
) -> dict[str, float]:
    rates: dict[str, float] = {}
    async with our_server(root / "server") as target, linked(target, settings) as relay:
        url = f"http://127.0.0.1:{relay.port}"
        for name, (folder, size) in data.items():
            taken, digest = await timed(*ours("upload", url, str(folder)))
            rates[f"{name}_upload"] = size / MIB / taken
            for action in ("download", "fetch"):
                to = root / f"{action}-{name}"
                taken, _ = await timed(*ours(action, url, digest, str(to)))
                rates[f"{name}_{action}"] = size / MIB / taken
                same(folder, to / "work" if action == "fetch" else to)
                shutil.rmtree(to)
    return rates


async def measure_rclone(
    root: Path, data: dict[str, tuple[Path, int]], settings: LinkSettings, transfers: int
) -> dict[str, float]:
    rates: dict[str, float] = {}
    port = await free_port()
    remote = root / f"rclone-{transfers}"
    async with rclone_server(remote, port) as target, linked(target, settings) as relay:
        at = f":webdav,url='http://127.0.0.1:{relay.port}':"
        options = ("--transfers", str(transfers), "--config", os.devnull, "--retries", "1")
        for name, (folder, size) in data.items():
            taken, _ = await timed("rclone", "copy", *options, str(folder), f"{at}{name}")
            rates[f"{name}_upload"] = size / MIB / taken
            to = root / f"rclone-back-{name}"
            taken, _ = await timed("rclone", "copy", *options, f"{at}{name}", str(to))
            rates[f"{name}_download"] = size / MIB / taken
            same(folder, to)
            shutil.rmtree(to)
    shutil.rmtree(remote)
    return rates


async def measure_curl(
    root: Path, data: dict[str, tuple[Path, int]], settings: LinkSettings
) -> dict[str, float]:
    """One file, one stream, to and from rclone's server."""
    folder, size = data["large"]
    port = await free_port()
    remote = root / "curl"
    async with rclone_server(remote, port) as target, linked(target, settings) as relay:
        url = f"http://127.0.0.1:{relay.port}/file"
        up, _ = await timed("curl", "-sSf", "-T", str(folder / "file"), url)
        down, _ = await timed("curl", "-sSf", "-o", str(root / "curled"), url)
    shutil.rmtree(remote)
    return {"large_upload": size / MIB / up, "large_download": size / MIB / down}


async def killed_and_resumed(
    root: Path, data: dict[str, tuple[Path, int]], settings: LinkSettings
) -> dict[str, float]:
    """Kill at about 60 %, start again: what crossed the link beyond the content, in percent."""
    folder, size = data["large"]
    over: dict[str, float] = {}
    async with our_server(root / "server-2") as target, linked(target, settings) as relay:
        url = f"http://127.0.0.1:{relay.port}"
        await _kill_at(ours("upload", url, str(folder)), lambda: relay.up.carried, size * 6 // 10)
        _, digest = await timed(*ours("upload", url, str(folder)))
        over["upload_percent"] = 100 * (relay.up.carried / size - 1)
        to = root / "resumed"
        before = relay.down.carried
        await _kill_at(
            ours("download", url, digest, str(to)),
            lambda: relay.down.carried - before,
            size * 6 // 10,
        )
        await timed(*ours("download", url, digest, str(to)))
        over["download_percent"] = 100 * ((relay.down.carried - before) / size - 1)
        same(folder, to)
        shutil.rmtree(to)
    return over


async def _kill_at(command: tuple[str, ...], carried: Any, count: int) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    while carried() < count and process.returncode is None:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    assert process.returncode is None, "it ended before it was to be killed"
    process.kill()
    await process.wait()


async def bench(options: argparse.Namespace) -> dict[str, Any]:
    settings = LinkSettings(options.mbit, options.rtt_ms, int(options.window_mib * MIB))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root = Path(folder)
        data = make_data(root, options.large_mib * MIB)
        limit = await link_limit(settings, min(256, options.large_mib) * MIB, 4)
        result: dict[str, Any] = {
            "bench": "transfer",
            "link_mib_s": settings.bytes_per_s / MIB,
            "rtt_ms": options.rtt_ms,
            "window_mib": options.window_mib,
            "limit_mib_s": limit,
            "limit_one_stream_mib_s": await link_limit(settings, 64 * MIB, 1),
            "ours_mib_s": await measure_ours(root, data, settings),
        }
        result["ours_of_limit"] = {k: v / limit for k, v in result["ours_mib_s"].items()}
        if shutil.which("rclone"):
            for transfers in (4, 16):
                rates = await measure_rclone(root, data, settings, transfers)
                result[f"rclone_{transfers}_mib_s"] = rates
            result["curl_mib_s"] = await measure_curl(root, data, settings)
            best = {
                key: max(result["rclone_4_mib_s"][key], result["rclone_16_mib_s"][key])
                for key in rates
            }
            result["ours_over_best_rclone"] = {
                key: result["ours_mib_s"][key] / best[key] for key in best
            }
        result["resume_overhead"] = await killed_and_resumed(root, data, settings)
        result["load_average"] = os.getloadavg()[0]
        return result


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, 3) if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mbit", type=int, default=200)
    parser.add_argument("--rtt-ms", type=int, default=52)
    parser.add_argument("--window-mib", type=float, default=4)
    parser.add_argument("--large-mib", type=int, default=256)
    parser.add_argument("--folder", default=None, help="where the data lie; default: /tmp")
    print(json.dumps(rounded(uvloop.run(bench(parser.parse_args())))))


if __name__ == "__main__":
    main()
