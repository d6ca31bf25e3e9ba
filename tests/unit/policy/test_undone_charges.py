"""Charges that programmes paid a part of, and that are undone: by the operator, by a dispute, in
whole or in part. Funders, buyer, seller and the voucher each get back what was theirs."""

from __future__ import annotations

from typing import Any

import pytest

from billing_world import HOUR_0, PROJECT, PROVIDER, YUAN
from manual_clock import ManualClock
from policy_world import USER, PolicyWorld, document, profile_of, request_of
from suanwang.kernel.errors import Conflict
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.database import InlineDatabase, Tx
from suanwang.tenancy import store as tenancy_store
from suanwang.tenancy.model import (
    Organisation,
    OrganisationState,
    Project,
    ProjectState,
    ScoreWeights,
)
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import (
    issued_key,
    project_key,
    revenue_key,
    subsidy_key,
    vouchers_key,
)
from suanwang.trade.policy import redemption
from suanwang.trade.policy.life import Finding, Grant, GrantState
from suanwang.trade.policy.model import Expiry, Figures, Ground
from suanwang.trade.settlement import corrections, disputes
from suanwang.trade.settlement.model import Dispute, DisputeReason, Subject, SubjectKind

HENAN = "voucher:henan"
MINE, HIS = project_key(PROJECT), revenue_key(PROVIDER)
PROVINCE, CITY = subsidy_key("henan", "province"), subsidy_key("henan", "city")
HELD, ISSUED = vouchers_key(PROJECT, HENAN), issued_key("henan", HENAN)


@pytest.fixture
def world(inline_database: InlineDatabase, clock: ManualClock) -> PolicyWorld:
    clock.at_ms = HOUR_0
    made = PolicyWorld(inline_database)

    def owner(tx: Tx) -> None:
        buyer = Organisation(
            USER, "lab", "Lab", (), 1, ScoreWeights(), OrganisationState.ACTIVE, tx.now_ms
        )
        tenancy_store.insert_organisation(tx.conn, buyer)
        project = Project(PROJECT, USER, "work", "Work", 1, None, 0, ProjectState.ACTIVE, tx.now_ms)
        tenancy_store.insert_project(tx.conn, project)

    made.write(owner)
    return made


def charged(world: PolicyWorld, lease: str = "lea_1", seconds: int = 1_000) -> str:
    """A charge's entry; a thousand seconds are a yuan."""
    (record,) = world.usage(lease, seconds)
    world.charge([record])
    key = f"charge:{record.source}/{record.id}"
    found = world.database.read_now(lambda conn: ledger.entry_of_key(conn, key))
    assert found is not None
    return found


def undone(world: PolicyWorld, entry: str) -> None:
    world.write(lambda tx: corrections.reverse(tx, entry, reason="wrong"))


def voucher(world: PolicyWorld, yuan: int = 100_000, **changes: Any) -> Grant:
    world.publish(document("henan", **changes))
    return world.granted("henan", request_of(yuan))


def test_a_reversed_charge_gives_the_voucher_back(world: PolicyWorld) -> None:
    grant = voucher(world)
    entry = charged(world)
    for _ in range(2):
        undone(world, entry)
    assert [world.balance(key) for key in (MINE, HIS, PROVINCE, CITY)] == [0, 0, 0, 0]
    now = world.grant_now(grant.id)
    assert (now.state, now.redeemed_micro_yuan) == (GrantState.ACTIVE, 0)
    assert world.balance(HELD) == now.left_micro_yuan == 20_000 * YUAN
    assert world.budget("henan") == (20_000 * YUAN, 0)
    charged(world, "lea_2")
    assert world.balance(MINE) == -800_000
    assert world.sound()


def test_a_spent_voucher_may_be_used_again_for_what_was_undone(world: PolicyWorld) -> None:
    grant = voucher(world, 1)  # worth 0.2 yuan
    entry = charged(world)
    assert world.grant_now(grant.id).state is GrantState.SPENT
    undone(world, entry)
    assert world.grant_now(grant.id).state is GrantState.ACTIVE
    charged(world, "lea_2")
    assert world.balance(MINE) == -800_000
    assert world.grant_now(grant.id).state is GrantState.SPENT
    assert world.sound()


def test_what_an_expired_voucher_paid_goes_back_to_the_budget(
    world: PolicyWorld, clock: ManualClock
) -> None:
    grant = voucher(world, expiry=Expiry(days=30))
    entry = charged(world)
    clock.at_ms += 40 * MS_PER_DAY
    world.write(redemption.expire)
    undone(world, entry)
    assert world.grant_now(grant.id).state is GrantState.EXPIRED
    assert world.budget("henan") == (0, 0)
    assert [world.balance(key) for key in (MINE, PROVINCE, CITY, HELD, ISSUED)] == [0] * 5
    cap = world.granted("henan", request_of(5_000_000)).amount_micro_yuan
    assert cap == 1_000_000 * YUAN  # nothing of the year's cap is used
    assert world.sound()


def test_an_instant_deduction_goes_back_to_the_budget(world: PolicyWorld) -> None:
    world.publish(document("beijing-etown"), pool_yuan=1)
    world.known(profile_of(region="beijing/etown"))
    grant = world.granted("beijing-etown", figures=Figures(percent=65))
    entry = charged(world)
    undone(world, entry)
    assert world.budget("beijing-etown") == (0, 0)
    assert world.grant_now(grant.id).redeemed_micro_yuan == 0
    charged(world, "lea_2")
    assert world.balance(MINE) == -350_000
    assert world.sound()


def test_what_was_clawed_back_before_is_not_taken_twice(world: PolicyWorld) -> None:
    """The buyer paid the relief back to the funders; then the charge itself is undone, and they
    get it again: the first is returned to him."""
    grant = voucher(world)
    entry = charged(world)
    world.write(lambda tx: redemption.audit_grant(tx, grant.id, Finding.BREACH, "forged"))
    world.write(lambda tx: redemption.claw_back(tx, grant.id, Ground.FALSE_EVIDENCE, None, "x"))
    assert world.balance(MINE) == -1_000_000
    undone(world, entry)
    assert [world.balance(key) for key in (MINE, HIS, PROVINCE, CITY)] == [0] * 4
    assert [world.balance(key) for key in (HELD, ISSUED)] == [0, 0]
    assert world.grant_now(grant.id).reclaimed_micro_yuan == 0
    assert world.sound()


def opened(world: PolicyWorld, entry: str, amount: int | None = None) -> Dispute:
    finders = {SubjectKind.ENTRY: disputes.entry_subject}

    def use_case(tx: Tx) -> Dispute:
        subject = disputes.subject_of(tx.conn, SubjectKind.ENTRY, entry, finders)
        return disputes.open_dispute(
            tx, subject, reason=DisputeReason.FAULTY, claimed=amount, text="x", by="usr_1"
        )

    made = world.write(use_case)
    world.write(lambda tx: disputes.answer(tx, made.id, text="yes", by="usr_p"))
    return made


def upheld(world: PolicyWorld, dispute: Dispute, amount: int | None = None) -> Dispute:
    return world.write(
        lambda tx: disputes.uphold(tx, dispute.id, amount=amount, text="x", by="usr_o")
    )


def test_half_of_a_relieved_charge_is_half_of_everybodys(world: PolicyWorld) -> None:
    """One yuan, 0.8 by the buyer, 0.2 by programmes; half of what he paid is awarded."""
    grant = voucher(world)
    entry = charged(world)
    dispute = opened(world, entry)
    assert dispute.claimed_micro_yuan == 800_000
    moved = upheld(world, dispute, 400_000)
    assert moved.credited_micro_yuan == 400_000
    assert [world.balance(key) for key in (MINE, HIS)] == [-400_000, 500_000]
    assert [world.balance(key) for key in (PROVINCE, CITY)] == [-50_000, -50_000]
    now = world.grant_now(grant.id)
    assert now.redeemed_micro_yuan == 100_000
    assert world.balance(HELD) == now.left_micro_yuan
    assert world.budget("henan") == (20_000 * YUAN, 100_000)
    assert world.sound()


def test_a_whole_award_undoes_the_relief_too(world: PolicyWorld) -> None:
    grant = voucher(world)
    dispute = opened(world, charged(world))
    upheld(world, dispute)
    assert [world.balance(key) for key in (MINE, HIS, PROVINCE, CITY)] == [0] * 4
    assert world.balance(HELD) == world.grant_now(grant.id).left_micro_yuan == 20_000 * YUAN
    assert world.sound()


def test_what_a_dispute_gave_back_is_not_given_back_again(world: PolicyWorld) -> None:
    entry = charged(world)
    upheld(world, opened(world, entry), 300_000)
    with pytest.raises(Conflict) as refused:
        undone(world, entry)
    assert refused.value.reason == "PartGivenBack"
    assert world.balance(MINE) == -700_000


def test_entries_that_stand_for_a_state_are_not_undone_by_hand(world: PolicyWorld) -> None:
    """A payout, a grant, a clawback: their own way back exists, and keeps state and books as
    one."""
    grant = voucher(world)
    issue = world.database.read_now(lambda c: ledger.entry_of_key(c, f"issue:{grant.id}"))
    assert issue is not None
    with pytest.raises(Conflict) as refused:
        undone(world, issue)
    assert (refused.value.reason, "voucher" in refused.value.hint) == ("EntryHasItsOwnWay", True)


def test_a_contract_gives_back_what_its_buyer_paid_and_not_what_programmes_did(
    world: PolicyWorld,
) -> None:
    """Two hours of a yuan each, a fifth of them paid by one voucher, which they spend."""
    grant = voucher(world, 2)
    keys = []
    for lease in ("lea_1", "lea_2"):
        (record,) = world.usage(lease, 1_000)
        world.charge([record])
        keys.append(f"charge:{record.source}/{record.id}")
    assert world.grant_now(grant.id).state is GrantState.SPENT

    def contract(conn: Any, identity: str) -> Subject:
        return disputes.subject_of_entries(
            conn, SubjectKind.CONTRACT, identity, PROJECT, PROVIDER, keys
        )

    subject = world.database.read_now(lambda conn: contract(conn, "con_1"))
    assert subject.amount_micro_yuan == 1_600_000
    made = world.write(
        lambda tx: disputes.open_dispute(
            tx, subject, reason=DisputeReason.FAULTY, claimed=None, text="x", by="usr_1"
        )
    )
    world.write(lambda tx: disputes.answer(tx, made.id, text="yes", by="usr_p"))
    world.write(
        lambda tx: disputes.uphold(
            tx,
            made.id,
            amount=None,
            text="x",
            by="usr_o",
            finders={SubjectKind.CONTRACT: contract},
        )
    )
    assert [world.balance(key) for key in (MINE, HIS, PROVINCE, CITY)] == [0] * 4
    now = world.grant_now(grant.id)
    assert (now.state, now.left_micro_yuan) == (GrantState.ACTIVE, 400_000)
    assert world.balance(HELD) == 400_000
    assert world.sound()
