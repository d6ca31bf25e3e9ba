"""Primes below a limit, or in one slice of it when run as an element of an array."""

from __future__ import annotations

import json
import os
from pathlib import Path


def sieve(limit: int) -> bytearray:
    """One byte for each number below `limit`: 1 if it is prime."""
    flags = bytearray([1]) * limit
    flags[:2] = b"\0\0"
    for number in range(2, int(limit**0.5) + 1):
        if flags[number]:
            flags[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return flags


if __name__ == "__main__":
    limit = int(os.environ["LIMIT"])
    index = int(os.environ.get("SUAN_ARRAY_INDEX", "0"))
    count = int(os.environ.get("SUAN_ARRAY_COUNT", "1"))
    first, last = limit * index // count, limit * (index + 1) // count
    primes = sum(sieve(limit)[first:last])
    Path("result.json").write_text(json.dumps({"from": first, "until": last, "primes": primes}))
    print(f"{primes} primes in [{first}, {last})")
