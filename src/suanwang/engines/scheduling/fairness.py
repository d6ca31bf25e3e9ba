"""Whose turn is it? Weighted fair shares down the tree organisation, project, user.

At each level the child with the least dominant usage per weight goes next (dominant resource
fairness: of a child's four resource usages, as parts of the grid, the largest counts). Between
the users of one project priority comes first, because a project is one budget and one team;
between projects and organisations priority counts for nothing. Within a user: priority, then age.
See docs/mechanisms/fair-share.md.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from suanwang.engines.scheduling.model import QueueGroup, Running, Share
from suanwang.kernel.resources import Resources
from suanwang.kernel.time import MS_PER_SECOND

Kinds = tuple[int, int, int, int]

_FINE = 1_000_000
"""Usage inside a round is kept in 1e-9 share-seconds: a card-minute of a big grid still counts."""
_KEY_SCALE = 1 << 20


def share_seconds(need: Resources, seconds: int, totals: Resources, *, unit: int = 1_000) -> Kinds:
    """`need` held for so long as a part of the grid, by resource, in 1/unit share-seconds."""
    pairs = (
        (need.cpu_milli, totals.cpu_milli),
        (need.memory_mib, totals.memory_mib),
        (need.disk_mib, totals.disk_mib),
        (need.accelerator_milli, totals.accelerator_milli),
    )
    a, b, c, d = (part * seconds * unit // max(1, whole) for part, whole in pairs)
    return (a, b, c, d)


def decayed(usage: int, elapsed_ms: int, half_life_s: int) -> int:
    """Usage after a time without use; halves every half-life, linear within one, integer.

    The straight line between two halvings lies at most 6 % above the exact curve.
    """
    halvings, rest_ms = divmod(max(0, elapsed_ms), half_life_s * MS_PER_SECOND)
    if halvings > 62:
        return 0
    at_start = usage >> halvings
    return at_start - at_start * rest_ms // (2 * half_life_s * MS_PER_SECOND)


@dataclass(slots=True)
class ShareNode:
    """A child of the tree with what it has used. Leaves (users) hold groups in their own order."""

    share_id: str
    weight: int
    tie: int
    used: list[int]
    parent: ShareNode | None = None
    children: dict[str, ShareNode] = field(default_factory=dict)
    groups: list[QueueGroup] = field(default_factory=list)
    """Waiting groups of a user, the next one last."""
    heap: list[tuple[int, int, int, str, ShareNode]] = field(default_factory=list)

    def load(self) -> int:
        """Dominant usage per weight, scaled; less goes first."""
        return max(self.used) * _KEY_SCALE // self.weight

    def waits(self) -> bool:
        return bool(self.groups or self.heap)

    def key(self) -> tuple[int, int, int, str, ShareNode]:
        # users of one project are compared by the priority of their next group first
        priority = -self.groups[-1].priority if self.groups else 0
        return (priority, self.load(), self.tie, self.share_id, self)


class ShareTree:
    """Answers `next()` and learns by `charge()` and `retire()`, all for the group it last named."""

    def __init__(self, groups: Sequence[QueueGroup], shares: Iterable[Share], seed: int) -> None:
        self._known = {(s.parent_id, s.share_id): s for s in shares}
        self._seed = seed
        self._root = ShareNode("", 1, 0, [0, 0, 0, 0])
        self._leaves: dict[tuple[str, str, str], ShareNode] = {}
        self._open = False
        for group in groups:
            self._leaf(group).groups.append(group)
        for leaf in self._leaves.values():
            leaf.groups.sort(key=_turn_order, reverse=True)

    def _leaf(self, group: QueueGroup | Running) -> ShareNode:
        key = (group.organisation_id, group.project_id, group.user_id)
        found = self._leaves.get(key)
        if found is None:
            organisation = self._child(self._root, None, group.organisation_id)
            project = self._child(organisation, group.organisation_id, group.project_id)
            found = self._child(project, group.project_id, group.user_id)
            self._leaves[key] = found
        return found

    def _child(self, parent: ShareNode, parent_id: str | None, share_id: str) -> ShareNode:
        node = parent.children.get(share_id)
        if node is None:
            share = self._known.get((parent_id, share_id)) or Share(share_id, parent_id, 1)
            used = [(share.usage + kind) * _FINE for kind in share.usage_by_kind]
            tie = zlib.crc32(f"{self._seed}:{share_id}".encode()) if self._seed else 0
            node = ShareNode(share_id, share.weight, tie, used, parent)
            parent.children[share_id] = node
        return node

    def path(self, group: QueueGroup | Running) -> tuple[ShareNode, ShareNode, ShareNode]:
        """(organisation, project, user)."""
        user = self._leaf(group)
        project = user.parent
        organisation = project.parent if project else None
        if project is None or organisation is None:
            raise LookupError(group.user_id)
        return organisation, project, user

    def next(self) -> QueueGroup | None:
        if not self._open:
            self._heapify(self._root)
            self._open = True
        node = self._root
        while node.heap:
            node = node.heap[0][-1]
        return node.groups[-1] if node.groups else None

    def charge(self, group: QueueGroup | Running, amount: Kinds, times: int) -> None:
        """`amount` per task in 1e-9 share-seconds. After `settle`, the order knows it."""
        for node in self.path(group):
            for kind in range(4):
                node.used[kind] += amount[kind] * times

    def settle(self, group: QueueGroup, *, retire: bool) -> None:
        """Re-order the path of the group that `next` named; drop the group if it is done for."""
        node: ShareNode | None = self._leaf(group)
        if node is not None and retire:
            node.groups.pop()
        while node is not None and node.parent is not None:
            if node.waits():
                heapq.heapreplace(node.parent.heap, node.key())
            else:
                heapq.heappop(node.parent.heap)
            node = node.parent

    def drop(self, group: QueueGroup) -> None:
        """Remove a group before the first `next`."""
        self._leaf(group).groups.remove(group)

    def _heapify(self, node: ShareNode) -> None:
        for child in node.children.values():
            self._heapify(child)
        node.heap = [child.key() for child in node.children.values() if child.waits()]
        heapq.heapify(node.heap)


def _turn_order(group: QueueGroup) -> tuple[int, int, str]:
    return (-group.priority, group.oldest_submitted_at_ms, group.class_id)


def turn_size(need: Resources, totals: Resources, turn_share_ppm: int) -> int:
    """Tasks of one turn: as many as make `turn_share_ppm` of the grid, at least one."""
    pairs = (
        (need.cpu_milli, totals.cpu_milli),
        (need.memory_mib, totals.memory_mib),
        (need.disk_mib, totals.disk_mib),
        (need.accelerator_milli, totals.accelerator_milli),
    )
    sizes = [turn_share_ppm * whole // (1_000_000 * part) for part, whole in pairs if part > 0]
    return max(1, min(sizes)) if sizes else 1
