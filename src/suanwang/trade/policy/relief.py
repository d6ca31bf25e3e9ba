"""Pure: which grants lower which charges by how much, to the micro-yuan.

Order of deduction: the programme's own place first, then the earliest expiry, the smaller balance,
the id. Vouchers come before the account's money because what is left is what the account pays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from suanwang.kernel.money import allot, scale
from suanwang.trade.policy.model import Base, Card, Programme

NEVER_MS = 1 << 62


@dataclass(frozen=True, slots=True)
class Purse:
    """A grant as a charge sees it."""

    grant_id: str
    programme: Programme
    project_id: str
    left_micro_yuan: int
    percent_domestic: int
    percent_other: int
    from_ms: int
    expires_at_ms: int | None = None
    base: Base = Base.METERED
    refused_providers: frozenset[str] = frozenset()
    """Organisations whose compute this grant does not pay for."""
    budget: str = ""
    """Key of the budget that an instant deduction is taken from; '' if it was committed before."""


@dataclass(frozen=True, slots=True, order=True)
class ChargeFacts:
    at_ms: int
    source: str
    usage_id: str
    project_id: str
    provider_organisation_id: str
    amount_micro_yuan: int
    card: Card = Card.OTHER

    @property
    def key(self) -> tuple[str, str]:
        return self.source, self.usage_id


@dataclass(frozen=True, slots=True)
class Part:
    """What one grant pays of one charge, split among those who fund the programme."""

    grant_id: str
    programme_id: str
    amount_micro_yuan: int
    by_funder: tuple[tuple[str, int], ...]


def split(programme: Programme, amount: int) -> tuple[tuple[str, int], ...]:
    """(funder, micro-yuan), summing exactly to the amount."""
    parts = allot(amount, [one.share for one in programme.funders])
    return tuple((one.id, part) for one, part in zip(programme.funders, parts, strict=True) if part)


def relieve(
    purses: Sequence[Purse], charges: Sequence[ChargeFacts], budgets: Mapping[str, int]
) -> dict[tuple[str, str], tuple[Part, ...]]:
    """Charge → what programmes pay of it. The order of the arguments does not matter.

    `budgets`: what is left of each that instant deductions are taken from.
    """
    left = {one.grant_id: one.left_micro_yuan for one in purses}
    pools = dict(budgets)
    of_project: dict[str, list[Purse]] = {}
    for purse in purses:
        of_project.setdefault(purse.project_id, []).append(purse)
    found: dict[tuple[str, str], tuple[Part, ...]] = {}
    for charge in sorted(charges):
        usable = [one for one in of_project.get(charge.project_id, ()) if _usable(one, charge)]
        usable.sort(key=lambda one: _turn(one, left[one.grant_id]))
        parts = _of_one(usable, charge, left, pools)
        if parts:
            found[charge.key] = parts
    return found


def _usable(purse: Purse, charge: ChargeFacts) -> bool:
    return (
        purse.from_ms <= charge.at_ms
        and (purse.expires_at_ms is None or charge.at_ms < purse.expires_at_ms)
        and charge.provider_organisation_id not in purse.refused_providers
    )


def _turn(purse: Purse, left: int) -> tuple[int, int, int, str]:
    expires = NEVER_MS if purse.expires_at_ms is None else purse.expires_at_ms
    return purse.programme.stacking.order, expires, left, purse.grant_id


def _of_one(
    usable: Sequence[Purse], charge: ChargeFacts, left: dict[str, int], pools: dict[str, int]
) -> tuple[Part, ...]:
    """Takes from `left` and `pools` what it gives."""
    parts: list[Part] = []
    taken = 0
    ceiling = 100
    groups: set[str] = set()
    alone = False
    by_programme: dict[str, int] = {}
    for purse in usable:
        programme, stacking = purse.programme, purse.programme.stacking
        exclusive = {one.group for one in programme.exclusive}
        others = any(one != programme.id for one in by_programme)
        if others and (alone or not stacking.with_others or groups & exclusive):
            continue
        domestic = charge.card is Card.DOMESTIC
        percent = purse.percent_domestic if domestic else purse.percent_other
        mine = by_programme.get(programme.id, 0)
        of_what = charge.amount_micro_yuan
        if purse.base is Base.PAID:
            of_what -= taken - mine
        combined = min(ceiling, stacking.combined_percent)
        amount = min(
            scale(of_what, percent, 100) - mine,
            # never rounded up, so never above the share that all may take together
            charge.amount_micro_yuan * combined // 100 - taken,
            left[purse.grant_id],
            pools[purse.budget] if purse.budget else charge.amount_micro_yuan,
        )
        if amount <= 0:
            continue
        left[purse.grant_id] -= amount
        if purse.budget:
            pools[purse.budget] -= amount
        taken += amount
        ceiling = combined
        by_programme[programme.id] = mine + amount
        alone = alone or not stacking.with_others
        groups |= exclusive
        parts.append(Part(purse.grant_id, programme.id, amount, split(programme, amount)))
    return tuple(parts)
