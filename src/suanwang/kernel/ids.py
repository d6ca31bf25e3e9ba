"""Typed identifiers: a short prefix, ten characters of time, eight of randomness.

Ids sort by creation. Within one factory they strictly increase, so a batch created in one
millisecond keeps its order. The alphabet is Crockford's base 32 (no i, l, o, u).
"""

from __future__ import annotations

from typing import NewType

from suanwang.kernel.time import Clock, Random

OrganisationId = NewType("OrganisationId", str)
ProjectId = NewType("ProjectId", str)
UserId = NewType("UserId", str)
TokenId = NewType("TokenId", str)
SiteId = NewType("SiteId", str)
PoolId = NewType("PoolId", str)
NodeId = NewType("NodeId", str)
JobId = NewType("JobId", str)
TaskId = NewType("TaskId", str)
LeaseId = NewType("LeaseId", str)
UsageId = NewType("UsageId", str)
ChargeId = NewType("ChargeId", str)
AccountId = NewType("AccountId", str)
EntryId = NewType("EntryId", str)

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]
_RANDOM_BITS = 40
ID_CHARACTERS = 18


def base32(value: int, length: int) -> str:
    """Fixed-length base-32 text, most significant first; length must be even."""
    out = []
    for _ in range(length // 2):
        out.append(_PAIRS[value & 1023])
        value >>= 10
    out.reverse()
    return "".join(out)


def earliest_id(prefix: str, at_ms: int) -> str:
    """No id made at this instant or later is less; ids made before are."""
    return f"{prefix}_{base32(max(0, at_ms) << _RANDOM_BITS, 18)}"


def is_whole_id(text: str) -> bool:
    """Whether it has the length of an id; less may be the end of one."""
    return len(text.rpartition("_")[2]) >= ID_CHARACTERS and "_" in text


class IdFactory:
    """Makes ids that increase strictly, within a millisecond and when the clock steps back."""

    def __init__(self, clock: Clock, random: Random) -> None:
        self._clock = clock
        self._random = random
        self._last = 0

    def new(self, prefix: str) -> str:
        now_ms = self._clock.now_ms()
        if now_ms > self._last >> _RANDOM_BITS:
            self._last = now_ms << _RANDOM_BITS | self._random.getrandbits(_RANDOM_BITS)
        else:
            # a random step, so two processes rarely meet within a millisecond either
            self._last += 1 + self._random.getrandbits(_RANDOM_BITS - 16)
        return f"{prefix}_{base32(self._last, ID_CHARACTERS)}"
