"""A few seconds of memory for who a credential is, forgotten at once when access changes.

Other processes notice a revocation when their entry runs out, `TTL_MS` later at most. Within
this process every change of access empties the cache after its commit, and a look-up that began
before the change cannot put its answer back.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from suanwang.platform.database import Tx

V = TypeVar("V")
TTL_MS = 5_000
_LIMIT = 20_000


class PrincipalCache(Generic[V]):
    """Keys are digests of credentials, never the credentials."""

    __slots__ = ("__weakref__", "_entries", "generation")

    def __init__(self) -> None:
        self._entries: dict[Hashable, tuple[int, V]] = {}
        self.generation = 0
        _caches.add(self)

    def get(self, key: Hashable, now_ms: int) -> V | None:
        entry = self._entries.get(key)
        if entry is None or entry[0] <= now_ms:
            return None
        return entry[1]

    def put(self, key: Hashable, value: V, now_ms: int, until_ms: int, generation: int) -> None:
        """Keep until the TTL or `until_ms`; not when access changed since `generation`."""
        if generation != self.generation:
            return
        if len(self._entries) >= _LIMIT:
            self._entries.clear()
        self._entries[key] = (min(until_ms, now_ms + TTL_MS), value)

    def forget_all(self) -> None:
        self.generation += 1
        self._entries.clear()


_caches: WeakSet[PrincipalCache[Any]] = WeakSet()


def _forget_all() -> None:
    for cache in list(_caches):
        cache.forget_all()


def access_changes(tx: Tx) -> None:
    """Every use case that takes access away or gives it says so."""
    tx.after_commit(_forget_all)
