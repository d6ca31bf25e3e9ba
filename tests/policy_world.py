"""What tests of policy start from: a programme with a budget, two organisations with profiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any, TypeVar

import msgspec

from billing_world import HOUR_0, POOL, PRICES, PROJECT, PROVIDER, YUAN, run_of, usage_of
from suanwang.platform.database import InlineDatabase, Tx
from suanwang.platform.outbox import Outbox
from suanwang.trade.billing import reports
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import UsageRecord, UsageRecorded
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import AccountKey
from suanwang.trade.policy import redemption, service
from suanwang.trade.policy.documents import shipped
from suanwang.trade.policy.life import Grant
from suanwang.trade.policy.model import (
    Card,
    EntityKind,
    Evidence,
    Facility,
    FacilityFacts,
    Figures,
    Item,
    Profile,
    Programme,
    Request,
    Size,
)

T = TypeVar("T")
USER = "org_user"
USCC = "91410100MA40ABCD5"
"""17 characters; `with_check` adds the last."""
PROVIDERS_USCC = "91410100MA40EFGH7"
YEAR = 2026
DOMESTIC_POOL = "pol_dcu"


def with_check(body: str) -> str:
    """The check character by the definition of GB 32100-2015, weights written out."""
    alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    weights = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
    total = sum(alphabet.index(c) * w for c, w in zip(body, weights, strict=True))
    return body + alphabet[(31 - total % 31) % 31]


def document(programme_id: str, **changes: Any) -> Programme:
    """A shipped one, changed."""
    found = next(one for one in shipped() if one.id == programme_id)
    return msgspec.structs.replace(found, **changes)


def profile_of(organisation_id: str = USER, **changes: Any) -> Profile:
    made = Profile(
        organisation_id=organisation_id,
        name=organisation_id,
        uscc=with_check(USCC),
        region="henan/zhengzhou",
        kind=EntityKind.ENTERPRISE,
        size=Size.SMALL,
        sector="software",
        founded=date(2020, 5, 1),
    )
    return msgspec.structs.replace(made, **changes)


def provider_of(organisation_id: str = PROVIDER, **changes: Any) -> Profile:
    facts = FacilityFacts(Facility.SUPERCOMPUTING, 200, 2_000, True)
    known = {"facility": facts, "size": Size.LARGE, "uscc": with_check(PROVIDERS_USCC)}
    return profile_of(organisation_id, **{**known, **changes})


def request_of(yuan: int = 100_000, **changes: Any) -> Request:
    made = Request(
        Item.COMPUTE,
        amount_micro_yuan=yuan * YUAN,
        provider_organisation_id=PROVIDER,
        contract="HT-2026-001",
        signed_on=date(2026, 1, 15),
        evidence=tuple((kind, "x-1") for kind in Evidence),
    )
    return msgspec.structs.replace(made, **changes)


@dataclass
class PolicyWorld:
    """A database on the test's own thread, with charges that programmes may lower."""

    database: InlineDatabase
    price_list_id: str = ""
    cards: dict[str, Card] = field(default_factory=lambda: {DOMESTIC_POOL: Card.DOMESTIC})

    def __post_init__(self) -> None:
        self.price_list_id = self.write(lambda tx: billing.publish_prices(tx, POOL, PRICES))
        self.known(profile_of())
        self.known(provider_of())

    def write(self, use_case: Callable[[Tx], T]) -> T:
        return self.database.write_now(use_case)

    def known(self, profile: Profile) -> None:
        """Stated, and verified by the operator."""
        self.write(lambda tx: service.put_profile(tx, profile, verified_by="usr_operator"))

    def publish(self, programme: Programme, pool_yuan: int | None = 1_000_000) -> Programme:
        self.write(lambda tx: service.publish(tx, programme, "usr_operator"))
        if pool_yuan is not None:
            pool = pool_yuan * YUAN
            self.write(lambda tx: service.open_budget(tx, programme.id, YEAR, pool))
        return programme

    def granted(
        self,
        programme_id: str,
        request: Request | None = None,
        figures: Figures = Figures(),  # noqa: B008
        project_id: str = PROJECT,
        organisation_id: str = USER,
    ) -> Grant:
        """Applied for and reviewed."""

        def use_case(tx: Tx) -> Grant:
            wanted = request or request_of()
            made = service.apply(tx, programme_id, organisation_id, project_id, "usr_1", wanted)
            return service.grant(tx, made.id, "usr_operator", figures)

        return self.write(use_case)

    def grant_now(self, grant_id: str) -> Grant:
        return self.database.read_now(lambda conn: redemption.find_grant(conn, grant_id))

    def usage(self, lease_id: str, seconds: int, **changes: Any) -> list[UsageRecord]:
        """Of one core, so a thousand micro-yuan a second."""
        run = run_of(self.price_list_id, lease_id=lease_id, **changes)
        return usage_of(run, HOUR_0, HOUR_0 + seconds * 1_000)

    def usage_at(self, lease_id: str, start_ms: int, seconds: int) -> list[UsageRecord]:
        """The same, begun at an instant."""
        run = run_of(self.price_list_id, lease_id=lease_id, granted_at_ms=start_ms)
        return usage_of(run, start_ms, start_ms + seconds * 1_000)

    def charge(self, records: Sequence[UsageRecord]) -> None:
        facts = [UsageRecorded(record) for record in records]
        relieve = partial(redemption.relieve, cards=lambda _conn, _pools: self.cards)
        self.write(lambda tx: billing.record_usage(tx, Outbox(), records))
        self.write(lambda tx: billing.charge(tx, facts, relieve=relieve))

    def balance(self, key: AccountKey) -> int:
        found = self.database.read_now(lambda conn: ledger.find_accounts(conn, [key]))
        return found[key].balance_micro_yuan if key in found else 0

    def budget(self, programme_id: str) -> tuple[int, int]:
        (found,) = self.database.read_now(lambda conn: service.budgets(conn, programme_id))
        return found.committed_micro_yuan, found.redeemed_micro_yuan

    def sound(self) -> bool:
        """Books agree, and every currency sums to zero."""
        sums: dict[str, int] = {}
        for line in self.database.read_now(ledger.trial_balance):
            sums[line.currency] = sums.get(line.currency, 0) + line.balance_micro_yuan
        return not any(sums.values()) and not self.database.read_now(reports.verify)
