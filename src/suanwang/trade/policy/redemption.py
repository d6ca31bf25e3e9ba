"""Use cases after the grant: 核销 at the charge, 兑付, 审计, 追回, expiry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Conflict, InvalidInput, LimitExceeded, StaleWrite
from suanwang.kernel.money import MAX_AMOUNT
from suanwang.kernel.time import MS_PER_DAY, MS_PER_HOUR
from suanwang.platform.database import Tx
from suanwang.tenancy.rules import not_found
from suanwang.trade.billing.model import Charge, Relief, UsageRecord
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import (
    CASH,
    AccountKey,
    EntryDraft,
    EntryKind,
    PostResult,
    issued_key,
    project_key,
    revenue_key,
    subsidy_key,
    vouchers_key,
)
from suanwang.trade.policy import checking, grant_store, relief, rules, service, store
from suanwang.trade.policy.life import Finding, Grant, GrantState, check_grant_move
from suanwang.trade.policy.model import (
    METERED_ITEMS,
    Base,
    Card,
    Ground,
    Item,
    Mode,
    Payee,
    Profile,
    Programme,
)
from suanwang.trade.policy.relief import ChargeFacts, Part, Purse

Cards = Callable[[Connection, Sequence[str]], Mapping[str, Card]]
"""Pool ids → whose cards they have; a pool that is not told of counts as other."""
UsageKey = tuple[str, str]
GRACE_MS = 2 * MS_PER_HOUR
"""A grant is ended so long after its day: the usage of its last hour is reported after that. What
was used later is not paid, whatever the state says."""


def works_at_charge(mode: Mode, item: Item) -> bool:
    return mode is not Mode.REFUND and item in METERED_ITEMS


def relieve(
    tx: Tx,
    charges: Sequence[Charge],
    records: Mapping[UsageKey, UsageRecord],
    *,
    cards: Cards = lambda _conn, _pools: {},
) -> dict[UsageKey, list[Relief]]:
    """Billing's port: what grants pay of new charges. One query where no project has a grant.

    Grants are locked, then budgets, both in order of id; what is taken is guarded besides.
    """
    projects = sorted({one.project_id for one in charges if one.amount_micro_yuan > 0})
    if not projects:
        return {}
    found = grant_store.active_grants(tx.conn, projects)
    usable = [one for one in found if works_at_charge(one.mode, one.item)]
    if not usable:
        return {}
    documents = store.find_programmes(
        tx.conn, sorted({(one.programme_id, one.programme_version) for one in usable})
    )
    instant = [one for one in usable if one.mode is Mode.INSTANT]
    pools = (
        grant_store.lock_budgets(tx.conn, [(g.programme_id, g.year) for g in instant])
        if instant
        else {}
    )
    of_pool = cards(tx.conn, sorted({one.pool_id for one in records.values()}))
    facts = [
        ChargeFacts(
            one.at_ms,
            one.source,
            one.usage_id,
            one.project_id,
            one.provider_organisation_id,
            one.amount_micro_yuan,
            of_pool.get(records[one.source, one.usage_id].pool_id, Card.OTHER),
        )
        for one in charges
        if one.amount_micro_yuan > 0
    ]
    purses = _purses(tx.conn, usable, documents, facts)
    left = {f"{programme}/{year}": amount for (programme, year), amount in pools.items()}
    parts = relief.relieve(purses, facts, left)
    if not parts:
        return {}
    grants = {one.id: one for one in usable}
    _redeem(tx, grants, parts)
    return {
        key: [_as_relief(grants[one.grant_id], documents, one) for one in some]
        for key, some in parts.items()
    }


def _purses(
    conn: Connection,
    grants: Sequence[Grant],
    documents: Mapping[tuple[str, int], Programme],
    facts: Sequence[ChargeFacts],
) -> list[Purse]:
    providers = sorted({one.provider_organisation_id for one in facts})
    organisations = sorted({*providers, *(one.organisation_id for one in grants)})
    profiles = store.profiles_of(conn, organisations)
    purses = []
    for one in grants:
        document = documents[one.programme_id, one.programme_version]
        applicant, _ = profiles.get(one.organisation_id, (None, None))
        benefit = document.benefit_for(one.item)
        is_open = document.window.retroactive
        refused = {
            provider
            for provider in providers
            if applicant is None or _refuses(document, applicant, profiles.get(provider), provider)
        }
        purses.append(
            Purse(
                one.id,
                document,
                one.project_id,
                one.left_micro_yuan,
                one.percent_domestic,
                one.percent_other,
                max(_begins(document), 0 if is_open else one.granted_at_ms),
                one.expires_at_ms,
                benefit.base or Base.METERED if benefit is not None else Base.METERED,
                frozenset(refused),
                f"{one.programme_id}/{one.year}" if one.mode is Mode.INSTANT else "",
            )
        )
    return purses


def _begins(document: Programme) -> int:
    """Of the span in which the work must lie."""
    first = document.window.use_from
    return 0 if first is None else checking.start_of(first)


def _refuses(
    document: Programme,
    applicant: Profile,
    provider: tuple[Profile, int | None] | None,
    provider_id: str,
) -> bool:
    """By its profile, of which what nobody has verified counts against it alone."""
    if provider is None:
        known = rules.unknown_provider(provider_id)
    else:
        known, verified_at_ms = provider
        if verified_at_ms is None and rules.asks_for_facts(document):
            return True
    return any(True for _ in rules.provider_refusals(document, applicant, known))


def _redeem(tx: Tx, grants: Mapping[str, Grant], parts: Mapping[UsageKey, Sequence[Part]]) -> None:
    taken: dict[str, int] = {}
    for some in parts.values():
        for one in some:
            taken[one.grant_id] = taken.get(one.grant_id, 0) + one.amount_micro_yuan
    stale = StaleWrite("GrantChanged", "A grant has just been changed.", hint="Try again.")
    if not grant_store.redeem(tx.conn, list(taken.items())):
        raise stale
    # what was committed when it was granted is not committed again
    drawn: dict[tuple[str, int], int] = {}
    for grant_id, amount in taken.items():
        grant = grants[grant_id]
        if grant.mode is Mode.INSTANT:
            key = grant.programme_id, grant.year
            drawn[key] = drawn.get(key, 0) + amount
    for (programme_id, year), amount in sorted(drawn.items()):
        if not grant_store.draw(tx.conn, programme_id, year, amount):
            raise stale


def _as_relief(grant: Grant, documents: Mapping[tuple[str, int], Programme], part: Part) -> Relief:
    document = documents[grant.programme_id, grant.programme_version]
    return Relief(
        part.programme_id,
        part.grant_id,
        part.amount_micro_yuan,
        postings(document, grant, part.amount_micro_yuan),
    )


def postings(document: Programme, grant: Grant, amount: int) -> tuple[tuple[AccountKey, int], ...]:
    """Each funder owes its part; vouchers go back to where they were issued."""
    owed = [
        (subsidy_key(document.id, funder), -part) for funder, part in relief.split(document, amount)
    ]
    if grant.mode is Mode.VOUCHER:
        owed.append((vouchers_key(grant.project_id, document.currency), -amount))
        owed.append((issued_key(document.id, document.currency), amount))
    return tuple(owed)


def locked(tx: Tx, grant_id: str) -> tuple[Grant, Programme]:
    found = grant_store.lock_grant(tx.conn, grant_id)
    if found is None:
        raise not_found("voucher", grant_id)
    return found, checking.programme(tx.conn, found.programme_id, found.programme_version)


def pay_out(tx: Tx, grant_id: str, amount: int | None, reference: str) -> PostResult:
    """兑付 of a grant that does not work at the charge: to the buyer's account, or the provider's
    revenue. `amount`: all that is left if None. A reference is booked once."""
    found, document = locked(tx, grant_id)
    if works_at_charge(found.mode, found.item) or service.is_line(document, found.item):
        raise Conflict(
            "NotPaidOut",
            "This grant is not paid out: it works at the charge, or a bank lends it.",
            hint="Look at the programme's mode and kind of benefit.",
        )
    key = f"payout:{grant_id}:{reference}"
    due = found.left_micro_yuan if amount is None else amount
    booked = ledger.booked(tx.conn, key)
    if booked is not None:
        return PostResult({}, {key: booked})
    if found.state is not GrantState.ACTIVE:
        check_grant_move(found.state, GrantState.SPENT)
    if found.expires_at_ms is not None and tx.now_ms >= found.expires_at_ms:
        check_grant_move(GrantState.EXPIRED, GrantState.SPENT)
    if not 0 < due <= found.left_micro_yuan:
        raise LimitExceeded(
            "AboveGrant",
            "A payout is more than nothing and no more than is left of the grant.",
            hint="Look at what is left; grant anew for more.",
            field="amount",
        )
    parts = [(_beneficiary(tx, found, document), due), *postings(document, found, due)]
    accounts = ledger.ensure_accounts(tx, [account for account, _ in parts])
    if not grant_store.redeem(tx.conn, [(grant_id, due)]):
        raise StaleWrite("GrantChanged", "A grant has just been changed.", hint="Try again.")
    draft = EntryDraft(
        key,
        EntryKind.PROGRAMME_PAYOUT,
        tx.now_ms,
        tuple((accounts[account].id, part) for account, part in parts),
        document.title.zh,
    )
    return ledger.post(tx, [draft])


def _beneficiary(tx: Tx, grant: Grant, document: Programme) -> AccountKey:
    if document.payee is Payee.BUYER:
        return project_key(grant.project_id)
    request = service.application(tx.conn, grant.application_id).request
    provider = request.provider_organisation_id
    if grant.item is Item.SUPPLY or provider is None:
        provider = grant.organisation_id
    return revenue_key(provider)


def book_funding(tx: Tx, programme_id: str, funder: str, amount: int, reference: str) -> PostResult:
    """A funder pays what it owes, or in advance. A reference is booked once."""
    document = checking.programme(tx.conn, programme_id)
    if funder not in {one.id for one in document.funders}:
        raise InvalidInput(
            "NoSuchFunder",
            f"{programme_id} has no funder {funder!r}.",
            hint=f"It has {', '.join(one.id for one in document.funders)}.",
            field="funder",
        )
    if not 0 < amount <= MAX_AMOUNT:
        raise InvalidInput(
            "InvalidAmount",
            "A payment is more than nothing.",
            hint="Give a positive amount.",
            field="amount",
        )
    theirs = subsidy_key(programme_id, funder)
    accounts = ledger.ensure_accounts(tx, [theirs, CASH])
    draft = EntryDraft(
        f"funding:{programme_id}/{funder}:{reference}",
        EntryKind.FUNDING,
        tx.now_ms,
        ((accounts[theirs].id, amount), (accounts[CASH].id, -amount)),
        document.title.zh,
    )
    return ledger.post(tx, [draft])


def owed(conn: Connection, document: Programme) -> dict[str, int]:
    """Funder → what it owes for redemptions and payouts; below zero, what it paid in advance."""
    keys = {one.id: subsidy_key(document.id, one.id) for one in document.funders}
    found = ledger.find_accounts(conn, list(keys.values()))
    return {
        funder: -found[key].balance_micro_yuan if key in found else 0
        for funder, key in keys.items()
    }


def audit_grant(tx: Tx, grant_id: str, finding: Finding, remark: str) -> None:
    """审计: looked at again after the fact. A breach opens the way to a clawback."""
    found, _ = locked(tx, grant_id)
    if found.state is GrantState.RECLAIMED:
        check_grant_move(found.state, GrantState.RECLAIMED)
    grant_store.note_audit(tx, grant_id, finding, remark)


def claw_back(
    tx: Tx, grant_id: str, ground: Ground, amount: int | None, remark: str
) -> PostResult | None:
    """追回: what was paid, or part of it, goes back to the funders; what is left is cancelled.

    Raises Conflict without an audit that found a breach, or on a ground or at a time that the
    programme does not know. None: nothing had been paid.
    """
    found, document = locked(tx, grant_id)
    check_grant_move(found.state, GrantState.RECLAIMED)
    if found.finding is not Finding.BREACH:
        raise Conflict(
            "NoBreachFound",
            "What was granted is claimed back only after an audit that found a breach.",
            hint="Audit the grant first: `suan voucher audit`.",
        )
    _check_ground(document, found, ground, tx.now_ms)
    due = found.redeemed_micro_yuan if amount is None else amount
    if not 0 <= due <= found.redeemed_micro_yuan:
        raise InvalidInput(
            "AboveRedeemed",
            "No more is claimed back than was paid.",
            hint="Look at what was redeemed.",
            field="amount",
        )
    _end(tx, found, document, GrantState.RECLAIMED, due, f"{ground.value}: {remark}")
    if not due:
        return None
    whose = (
        project_key(found.project_id)
        if works_at_charge(found.mode, found.item)
        else _beneficiary(tx, found, document)
    )
    back = [
        (subsidy_key(document.id, funder), part) for funder, part in relief.split(document, due)
    ]
    accounts = ledger.ensure_accounts(tx, [whose, *(key for key, _ in back)])
    parts = ((accounts[whose].id, -due), *((accounts[key].id, part) for key, part in back))
    draft = EntryDraft(f"clawback:{grant_id}", EntryKind.CLAWBACK, tx.now_ms, parts, remark)
    return ledger.post(tx, [draft])


def _check_ground(document: Programme, found: Grant, ground: Ground, now_ms: int) -> None:
    terms = document.clawback
    if terms is None:
        return
    if ground not in terms.grounds:
        raise Conflict(
            "GroundUnknown",
            f"{document.id} does not claim back for {ground.value}.",
            hint=f"It does for {', '.join(one.value for one in terms.grounds)}.",
            field="ground",
        )
    days = terms.within_days
    if days is not None and now_ms > found.granted_at_ms + days * MS_PER_DAY:
        raise Conflict(
            "TooLateToReclaim",
            f"{document.id} claims back within {days} days of the grant.",
            hint="Reverse the entries instead, with the funder's consent.",
        )


def _end(
    tx: Tx, found: Grant, document: Programme, state: GrantState, reclaimed: int, remark: str
) -> None:
    """What an active grant has left goes back: vouchers, budget, the entity's allowance."""
    check_grant_move(found.state, state)
    if not grant_store.end_grant(tx.conn, found, state, reclaimed, remark):
        raise StaleWrite("GrantChanged", "A grant has just been changed.", hint="Try again.")
    left = found.left_micro_yuan
    if found.state is not GrantState.ACTIVE or not left:
        return
    give_allowance(tx, document, found, left)
    if found.mode is not Mode.INSTANT and not service.is_line(document, found.item):
        grant_store.draw(tx.conn, document.id, found.year, -left)
    if found.mode is Mode.VOUCHER:
        key = f"return:{found.id}"
        service.move_vouchers(tx, document, found.project_id, -left, key, EntryKind.VOUCHER_RETURN)


def give_allowance(tx: Tx, document: Programme, grant: Grant, amount: int) -> None:
    """What an entity, and an undertaking, may be granted once more."""
    of_entity = (document.id, grant.organisation_id, grant.year)
    grant_store.allow(tx.conn, *of_entity, -amount, MAX_AMOUNT)
    request = service.application(tx.conn, grant.application_id).request
    if service.project_cap(document, request) is not None:
        subject = checking.project_subject(request)
        grant_store.allow(tx.conn, document.id, subject, 0, -amount, MAX_AMOUNT)


def expire(tx: Tx, limit: int = 200) -> bool:
    """End grants whose time is over; True if there may be more. A step of housekeeping."""
    over = grant_store.expired_grants(tx.conn, tx.now_ms - GRACE_MS, limit)
    for one in over:
        document = checking.programme(tx.conn, one.programme_id, one.programme_version)
        _end(tx, one, document, GrantState.EXPIRED, 0, one.remark)
    return len(over) == limit


def find_grant(conn: Connection, grant_id: str) -> Grant:
    found = grant_store.find_grant(conn, grant_id)
    if found is None:
        raise not_found("voucher", grant_id)
    return found
