"""Members of a gang add up what each of them has, over sockets, and all write down the sum."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

PATIENCE_S = 30.0


def reach(host: str, port: int) -> socket.socket:
    """The others may not listen yet."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return socket.create_connection((host, port), timeout=PATIENCE_S)
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def lead(port: int, members: int, own: int) -> int:
    """Member 0: gathers the others' numbers, tells all of them the sum."""
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(PATIENCE_S)
        lines = [server.accept()[0] for _ in range(members - 1)]
        total = own + sum(int(line.recv(64)) for line in lines)
        for line in lines:
            line.sendall(str(total).encode())
            line.close()
    return total


def follow(host: str, port: int, own: int) -> int:
    with reach(host, port) as line:
        line.sendall(str(own).encode())
        return int(line.recv(64))


if __name__ == "__main__":
    member, members = int(os.environ["SUAN_MEMBER"]), int(os.environ["SUAN_MEMBERS"])
    host, _, port = os.environ["SUAN_PEERS"].split(",")[0].partition(":")
    own = sum(range(member, 1_000_000, members))
    total = lead(int(port), members, own) if member == 0 else follow(host, int(port), own)
    Path(f"sum-{member}.json").write_text(json.dumps({"own": own, "sum": total}))
    print(f"member {member} of {members}: {own}, together {total}")
