"""What a programme would have cost, by hand; and that having none costs one query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from billing_world import HOUR_0, PROVIDER, YUAN
from manual_clock import ManualClock
from policy_world import USER, PolicyWorld, document, profile_of, provider_of
from suanwang.kernel.errors import Conflict, InvalidInput
from suanwang.platform.database import InlineDatabase
from suanwang.trade.billing.model import PastCharge
from suanwang.trade.policy.model import Card
from suanwang.trade.policy.what_if import Assumption, simulate

DAY_0 = 20_454
"""2026-01-01 in Shanghai."""
PROFILES = {
    USER: profile_of(),
    "org_far": profile_of("org_far", region="gansu"),
    PROVIDER: provider_of(),
}


def past(day: int, yuan: int, who: str = USER, pool: str = "pol_1") -> PastCharge:
    return PastCharge(DAY_0 + day, who, f"prj_{who}", PROVIDER, pool, 3, yuan * YUAN)


def test_caps_and_pool_run_out_as_they_would_have() -> None:
    """20 % of 4, 2 and 1 million: 0.8, then the 0.2 that the cap leaves, then nothing."""
    charges = [past(0, 4_000_000), past(1, 2_000_000), past(2, 1_000_000)]
    found = simulate(document("henan"), charges, PROFILES, {}, Assumption())
    assert [paid // YUAN for _, _, paid in found.by_day] == [800_000, 200_000, 0]
    assert found.cost_micro_yuan == 1_000_000 * YUAN
    assert dict(found.by_funder) == {"province": 500_000 * YUAN, "city": 500_000 * YUAN}
    assert found.exhausted_on is None
    less = Assumption(pool_micro_yuan=900_000 * YUAN)
    found = simulate(document("henan"), charges, PROFILES, {}, less)
    assert found.cost_micro_yuan == 900_000 * YUAN
    assert found.exhausted_on == "2026-01-02"


def test_a_new_year_brings_a_new_cap() -> None:
    charges = [past(0, 6_000_000), past(365, 6_000_000)]
    found = simulate(document("henan"), charges, PROFILES, {}, Assumption())
    assert found.cost_micro_yuan == 2_000_000 * YUAN


def test_who_is_left_out_is_counted_by_reason() -> None:
    charges = [past(0, 10), past(0, 20, "org_far"), past(1, 30, "org_unknown")]
    found = simulate(document("henan"), charges, PROFILES, {}, Assumption())
    assert [
        (one.reason, one.organisations, one.charged_micro_yuan // YUAN) for one in found.left_out
    ] == [
        ("ProfileMissing", 1, 30),
        ("WrongRegion", 1, 20),
    ]
    first = found.by_organisation[0]
    assert (first.organisation_id, first.gained_micro_yuan) == (USER, 2 * YUAN)
    assert found.charged_micro_yuan == 60 * YUAN


def test_an_upper_bound_is_taken_and_told_unless_a_rate_is_assumed() -> None:
    profiles = {**PROFILES, USER: profile_of(region="zhejiang/hangzhou")}
    charges = [past(0, 100), past(0, 100, pool="pol_dcu")]
    cards = {"pol_dcu": Card.DOMESTIC}
    found = simulate(document("hangzhou"), charges, profiles, cards, Assumption())
    assert (found.cost_micro_yuan, found.is_ceiling) == (50 * YUAN, True)
    found = simulate(document("hangzhou"), charges, profiles, cards, Assumption(percent=10))
    assert (found.cost_micro_yuan, found.is_ceiling) == (20 * YUAN, False)


def test_what_cannot_be_worked_out_is_said() -> None:
    with pytest.raises(InvalidInput) as unknown:
        simulate(document("guizhou"), [past(0, 1)], PROFILES, {}, Assumption())
    assert (unknown.value.reason, unknown.value.field) == ("FigureNeeded", "percent")
    with pytest.raises(Conflict) as other:
        simulate(document("zhengzhou-researchers"), [], PROFILES, {}, Assumption())
    assert other.value.reason == "NotMetered"


def test_the_order_of_charges_does_not_matter() -> None:
    charges = [past(d, 1_000_000 * (d % 3 + 1)) for d in range(7)]
    first = simulate(document("henan"), charges, PROFILES, {}, Assumption())
    assert simulate(document("henan"), charges[::-1], PROFILES, {}, Assumption()) == first


@pytest.fixture
def world(inline_database: InlineDatabase, clock: ManualClock) -> PolicyWorld:
    clock.at_ms = HOUR_0
    return PolicyWorld(inline_database)


def counted(world: PolicyWorld, work: Callable[[], Any]) -> int:
    """Statements that SQLite ran, those past SQLAlchemy too."""
    found: list[str] = []
    with world.database.engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        raw.set_trace_callback(found.append)
        work()
        raw.set_trace_callback(None)
    return len(found)


def test_without_a_grant_charging_takes_one_query_more_and_no_other(world: PolicyWorld) -> None:
    from suanwang.trade.billing import service as billing
    from suanwang.trade.billing.model import UsageRecorded
    from suanwang.trade.policy import redemption

    world.charge(world.usage("lea_0", 10))  # opens accounts
    costs = []
    for name, port in (("a", billing.no_relief), ("b", redemption.relieve)):
        facts = [
            UsageRecorded(record)
            for n in range(40)
            for record in world.usage(f"lea_{name}_{n}", 10)
        ]
        work = lambda facts=facts, port=port: world.write(  # noqa: E731
            lambda tx: billing.charge(tx, facts, relieve=port)
        )
        costs.append(counted(world, work))
    assert costs[0] > 3, "the trace counts"
    assert costs[1] - costs[0] == 1
    assert isinstance(world.database.engine, sa.Engine)
