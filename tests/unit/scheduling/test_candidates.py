"""The table of candidates: startable first, then busy with a wait, then refused with a reason."""

from __future__ import annotations

from dataclasses import replace

from suanwang.engines.scheduling.candidates import candidates
from suanwang.engines.scheduling.model import RefusalReason
from unit.scheduling.world import NOW_MS, YUAN, demand, lease, node, pool, world


def test_startable_then_busy_then_refused() -> None:
    busy = lease("r", "busy", "n", 8, ends_in_s=7_200)
    snapshot = world(
        [
            pool("dear", [node("n")], yuan=9),
            pool("cheap", [node("n")], yuan=3),
            pool("busy", [node("n", free=0)], yuan=1),
            replace(pool("far", [node("n")]), region="gansu"),
        ],
        [],
        leases=[busy],
    )
    wanted = replace(demand("c", 2), regions=("henan",))
    table = candidates(snapshot, wanted, "org", NOW_MS)
    assert [(v.pool_id, v.reason) for v in table] == [
        ("cheap", None),
        ("dear", None),
        ("busy", RefusalReason.NO_FREE_CAPACITY),
        ("far", RefusalReason.REGION_NOT_ALLOWED),
    ]
    waiting = table[2]
    assert waiting.score is not None
    assert waiting.score.expected_wait_s == 3_600
    assert waiting.score.total == 2 * YUAN + YUAN
    assert waiting.detail == "busy; room is expected in about 60 min"


def test_every_alternative_is_a_row() -> None:
    wanted = demand("c", 1)
    both = replace(wanted, alternatives=(*wanted.alternatives, *demand("d", 2).alternatives))
    table = candidates(world([pool("p", [node("n")])], []), both, "org", NOW_MS)
    assert [(v.pool_id, v.alternative) for v in table] == [("p", 0), ("p", 1)]


def test_without_pools_the_table_is_empty() -> None:
    assert candidates(world([], []), demand("c"), "org", NOW_MS) == ()
