"""The client's and the agent's end of the transfer bench, each a process of its own.

python bench/transfer_ends.py serve FOLDER                      prints its port
python bench/transfer_ends.py upload URL FOLDER                 prints the tree's digest
python bench/transfer_ends.py download URL DIGEST FOLDER
python bench/transfer_ends.py fetch URL DIGEST FOLDER           as an agent does
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

URL_TOKEN = "bench"


def upload(url: str, folder: Path) -> None:
    from suanwang.edge.client.transfer import upload_folder
    from suanwang.edge.client.transport import HttpTransport

    print(upload_folder(HttpTransport(url, token=URL_TOKEN), folder).digest)


def download(url: str, digest: str, folder: Path) -> None:
    from suanwang.edge.client.download import download_tree
    from suanwang.edge.client.transport import HttpTransport

    download_tree(HttpTransport(url, token=URL_TOKEN), digest, folder)


async def fetch(url: str, digest: str, folder: Path) -> None:
    import httpx

    from suanwang.agent.cache import SiteCache
    from suanwang.agent.transfer import LeaseHttp, fetch_inputs
    from suanwang.protocol.messages import InputFile

    (folder / "work").mkdir(parents=True)
    cache = SiteCache(folder / "cache", 8 << 30, lambda: time.time_ns() // 1_000_000)
    async with httpx.AsyncClient(base_url=url) as client:
        http = LeaseHttp(client, "lease", lambda: time.monotonic_ns() // 1_000_000)
        await fetch_inputs(http, [InputFile(".", digest, 0, tree=True)], folder / "work", cache)


def main(words: list[str]) -> None:
    if words[0] == "upload":
        upload(words[1], Path(words[2]))
    elif words[0] == "download":
        download(words[1], words[2], Path(words[3]))
    else:
        asyncio.run(fetch(words[1], words[2], Path(words[3])))


if __name__ == "__main__":
    main(sys.argv[1:])
