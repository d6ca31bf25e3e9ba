"""Relief, whatever the grants and charges: bounded by charge, rate, grant and pool; exact; blind
to the order of its arguments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_world import document
from suanwang.kernel.money import scale
from suanwang.trade.policy.model import (
    Base,
    Card,
    Exclusion,
    Funder,
    Per,
    Programme,
    Stacking,
    Words,
)
from suanwang.trade.policy.relief import ChargeFacts, Purse, relieve, split

AMOUNTS = st.integers(0, 10**15) | st.integers(0, 50)
PERCENTS = st.integers(0, 100)
NAME = Words("甲", "A")


@st.composite
def programmes(draw: Any) -> list[Programme]:
    found = []
    for number in range(draw(st.integers(1, 4))):
        shares = draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
        groups = draw(st.sets(st.sampled_from("xy"), max_size=2))
        found.append(
            msgspec.structs.replace(
                document("henan"),
                id=f"programme-{number}",
                funders=tuple(Funder(f"f{i}", NAME, share) for i, share in enumerate(shares)),
                stacking=Stacking(
                    draw(st.integers(0, 2)), draw(st.booleans()), draw(st.integers(0, 100))
                ),
                exclusive=tuple(Exclusion(group, Per.CONTRACT) for group in sorted(groups)),
            )
        )
    return found


@st.composite
def scenes(draw: Any) -> tuple[list[Purse], list[ChargeFacts], dict[str, int]]:
    rules = draw(programmes())
    purses = []
    for number in range(draw(st.integers(0, 6))):
        rule = draw(st.sampled_from(rules))
        purses.append(
            Purse(
                f"gra_{number}",
                rule,
                draw(st.sampled_from(["a", "b"])),
                draw(AMOUNTS),
                draw(PERCENTS),
                draw(PERCENTS),
                draw(st.integers(0, 3)),
                draw(st.none() | st.integers(1, 6)),
                draw(st.sampled_from(list(Base))),
                frozenset(draw(st.sets(st.sampled_from("pq")))),
                draw(st.sampled_from(["", rule.id])),
            )
        )
    charges = [
        ChargeFacts(
            draw(st.integers(0, 6)),
            "site",
            str(number),
            draw(st.sampled_from(["a", "b"])),
            draw(st.sampled_from("pq")),
            draw(AMOUNTS),
            draw(st.sampled_from(list(Card))),
        )
        for number in range(draw(st.integers(0, 8)))
    ]
    return purses, charges, {rule.id: draw(AMOUNTS) for rule in rules}


@settings(max_examples=300, deadline=None)
@given(scenes())
def test_never_more_than_any_bound(
    scene: tuple[list[Purse], list[ChargeFacts], dict[str, int]],
) -> None:
    purses, charges, budgets = scene
    by_id = {one.grant_id: one for one in purses}
    by_key = {one.key: one for one in charges}
    from_grant: dict[str, int] = {}
    from_budget: dict[str, int] = {}
    for key, parts in relieve(purses, charges, budgets).items():
        charge = by_key[key]
        taken = sum(part.amount_micro_yuan for part in parts)
        assert 0 < taken <= charge.amount_micro_yuan
        of_programme: dict[str, int] = {}
        for part in parts:
            purse = by_id[part.grant_id]
            assert part.amount_micro_yuan > 0
            assert purse.project_id == charge.project_id
            assert charge.provider_organisation_id not in purse.refused_providers
            assert purse.from_ms <= charge.at_ms
            assert purse.expires_at_ms is None or charge.at_ms < purse.expires_at_ms
            assert sum(amount for _, amount in part.by_funder) == part.amount_micro_yuan
            of_programme[part.programme_id] = (
                of_programme.get(part.programme_id, 0) + part.amount_micro_yuan
            )
            from_grant[part.grant_id] = from_grant.get(part.grant_id, 0) + part.amount_micro_yuan
            if purse.budget:
                from_budget[purse.budget] = (
                    from_budget.get(purse.budget, 0) + part.amount_micro_yuan
                )
            combined = purse.programme.stacking.combined_percent
            assert taken <= charge.amount_micro_yuan * combined // 100
        _check_together(parts, by_id, of_programme, charge)
    assert all(amount <= by_id[one].left_micro_yuan for one, amount in from_grant.items())
    assert all(amount <= budgets[one] for one, amount in from_budget.items())


def _check_together(
    parts: Any, by_id: dict[str, Purse], of_programme: dict[str, int], charge: ChargeFacts
) -> None:
    rules = {part.programme_id: by_id[part.grant_id].programme for part in parts}
    for programme_id, amount in of_programme.items():
        most = max(
            one.percent_domestic if charge.card is Card.DOMESTIC else one.percent_other
            for one in by_id.values()
            if one.programme.id == programme_id
        )
        assert amount <= scale(charge.amount_micro_yuan, most, 100)
    if len(rules) > 1:
        assert all(one.stacking.with_others for one in rules.values())
        groups = [group.group for one in rules.values() for group in one.exclusive]
        assert len(groups) == len(set(groups))


@settings(max_examples=150, deadline=None)
@given(scenes(), st.randoms(use_true_random=False))
def test_the_order_of_the_arguments_does_not_matter(
    scene: tuple[list[Purse], list[ChargeFacts], dict[str, int]], shuffle: Any
) -> None:
    purses, charges, budgets = scene
    before = relieve(purses, charges, budgets)
    shuffle.shuffle(purses)
    shuffle.shuffle(charges)
    assert relieve(purses, charges, dict(reversed(budgets.items()))) == before


@settings(max_examples=100, deadline=None)
@given(scenes(), st.integers(0, 10**9))
def test_a_larger_voucher_never_leaves_the_project_worse_off(
    scene: tuple[list[Purse], list[ChargeFacts], dict[str, int]], more: int
) -> None:
    """For one grant alone; with several, who stands before whom may change with the balance."""
    purses, charges, budgets = scene
    if not purses:
        return
    alone = purses[0]

    def paid(purse: Purse) -> int:
        found = relieve([purse], charges, budgets)
        return sum(part.amount_micro_yuan for parts in found.values() for part in parts)

    larger = replace(alone, left_micro_yuan=alone.left_micro_yuan + more)
    assert paid(larger) >= paid(alone)


def purse(grant_id: str, **changes: Any) -> Purse:
    made = Purse(grant_id, document("henan"), "a", 100, 100, 100, 0)
    return replace(made, **changes)


def test_earliest_expiry_then_smaller_balance_then_id() -> None:
    """The whole charge is covered by whoever comes first."""
    charge = ChargeFacts(5, "s", "u", "a", "p", 50)
    late, soon = purse("g1", expires_at_ms=20), purse("g2", expires_at_ms=10)
    small, twin, never = (
        purse("g3", left_micro_yuan=60),
        purse("g0", left_micro_yuan=60),
        purse("g4"),
    )

    def first(*purses: Purse) -> str:
        (parts,) = relieve(purses, [charge], {}).values()
        return parts[0].grant_id

    assert first(never, late, soon) == "g2"
    assert first(never, late) == "g1"
    assert first(never, small) == "g3"
    assert first(small, twin) == "g0"


def test_a_split_gives_the_odd_micro_yuan_to_the_first() -> None:
    assert split(document("henan"), 3) == (("province", 2), ("city", 1))
    assert split(document("henan"), 1) == (("province", 1),)
