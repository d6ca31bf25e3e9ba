"""A measured field: bytes that look random and can be made again by whoever knows the seed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def field(seed: str, size: int) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(size)


if __name__ == "__main__":
    data = field(os.environ["SEED"], int(os.environ["MIB"]) << 20)
    Path("field.bin").write_bytes(data)
    print(f"{len(data)} bytes")
