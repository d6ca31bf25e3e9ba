"""Use cases of policy: documents, budgets, profiles, applications and their review."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Conflict, InvalidInput, LimitExceeded, StaleWrite
from suanwang.kernel.money import MAX_AMOUNT
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.database import Tx
from suanwang.tenancy.rules import not_found
from suanwang.trade.billing import reports
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import EntryDraft, EntryKind, issued_key, vouchers_key
from suanwang.trade.policy import checking, documents, grant_store, rules, store, wording
from suanwang.trade.policy.life import (
    Application,
    ApplicationState,
    Budget,
    Grant,
    GrantState,
    check_application_move,
)
from suanwang.trade.policy.model import (
    METERED_ITEMS,
    BenefitKind,
    Card,
    Figures,
    Item,
    Mode,
    Per,
    Profile,
    Programme,
    Request,
    micro,
)
from suanwang.trade.policy.rules import Reason, Refusal
from suanwang.trade.policy.what_if import Assumption, WhatIf, simulate

# --- programmes and budgets ------------------------------------------------------------------


def publish(tx: Tx, programme: Programme, user_id: str) -> bool:
    """Whether it was new. A version that differs from the published one is a Conflict."""
    documents.check(programme)
    newest = store.newest_programmes(tx.conn, programme.id)
    if newest and programme.version < newest[0].version:
        raise _published(programme, newest[0].version)
    if store.insert_programme(tx, programme, user_id):
        return True
    key = programme.id, programme.version
    if store.find_programmes(tx.conn, [key]).get(key) != programme:
        raise _published(programme, programme.version)
    return False


def _published(programme: Programme, newest: int) -> Conflict:
    return Conflict(
        "ProgrammePublished",
        f"Version {programme.version} of {programme.id} has been published and stays as it is.",
        hint=f"Publish the change as version {newest + 1}.",
        field="version",
    )


def publish_shipped(tx: Tx) -> int:
    """Publish what ships and is not there; how many there were."""
    known = {one.id for one in store.newest_programmes(tx.conn)}
    if documents.shipped_ids() <= known:
        return 0
    new = [one for one in documents.shipped() if one.id not in known]
    return sum(publish(tx, one, "system") for one in new)


def programmes(conn: Connection) -> list[Programme]:
    """The newest version of each, in order of id."""
    return store.newest_programmes(conn)


def budgets(conn: Connection, programme_id: str | None = None) -> list[Budget]:
    return grant_store.find_budgets(conn, programme_id)


def open_budget(tx: Tx, programme_id: str, year: int, pool: int | None) -> int:
    """The pool in micro-yuan: what is given, else what the document says for a year."""
    document = checking.programme(tx.conn, programme_id)
    if pool is None and document.pool.year_yuan is not None:
        pool = micro(document.pool.year_yuan)
    if pool is None or not 0 < pool <= MAX_AMOUNT:
        raise InvalidInput(
            "PoolUnknown",
            "The published text names no pool for a year.",
            hint="State the sum that the funder has set aside.",
            field="amount",
        )
    if not grant_store.open_budget(tx.conn, programme_id, year, pool):
        raise Conflict(
            "PoolBelowCommitted",
            "More than that has been committed of this year's budget.",
            hint="A pool may only shrink to what is committed.",
            field="amount",
        )
    return pool


# --- profiles --------------------------------------------------------------------------------


def put_profile(tx: Tx, profile: Profile, *, verified_by: str | None = None) -> None:
    """State, or as a reviewer verify, what programmes ask of an organisation."""
    rules.check_uscc(profile.uscc)
    store.put_profile(tx, profile, verified_by)


def profile(conn: Connection, organisation_id: str) -> tuple[Profile, int | None] | None:
    """With the instant of its verification, None while nobody has verified it."""
    return store.profile(conn, organisation_id)


# --- applications ----------------------------------------------------------------------------


def apply(
    tx: Tx, programme_id: str, organisation_id: str, project_id: str, user_id: str, request: Request
) -> Application:
    """申领. Who is not eligible is told so now, by the first reason; budgets are for the review."""
    checked = checking.check(tx.conn, programme_id, organisation_id, request, now_ms=tx.now_ms)
    of_budget = {Reason.BUDGET_EXHAUSTED, Reason.BUDGET_NOT_OPEN}
    for refusal in checked.verdict.refusals:
        if refusal.reason not in of_budget:
            raise not_eligible(refusal)
    made = Application(
        id=tx.ids.new("pap"),
        programme_id=programme_id,
        programme_version=checked.programme.version,
        organisation_id=organisation_id,
        project_id=project_id,
        user_id=user_id,
        request=request,
        state=ApplicationState.SUBMITTED,
        submitted_at_ms=tx.now_ms,
    )
    store.insert_application(tx.conn, made)
    return made


def not_eligible(refusal: Refusal) -> Conflict:
    said = wording.refusal(refusal, "en")
    return Conflict(refusal.reason.value, said.message, hint=said.hint, field=refusal.field)


def application(conn: Connection, application_id: str) -> Application:
    found = store.application(conn, application_id)
    if found is None:
        raise not_found("application", application_id)
    return found


def applications(
    conn: Connection,
    *,
    organisation_id: str | None = None,
    state: ApplicationState | None = None,
    before: str | None = None,
    limit: int = 100,
) -> list[Application]:
    """The latest first; `before` is the id of the last one that the caller has."""
    return store.find_applications(conn, organisation_id, state, before, limit)


def withdraw(tx: Tx, application_id: str, user_id: str) -> Application:
    return _decide(tx, application(tx.conn, application_id), ApplicationState.WITHDRAWN, user_id)


def refuse(tx: Tx, application_id: str, user_id: str, remark: str) -> Application:
    """审核 that says no; the reviewer's words are shown to the applicant."""
    found = application(tx.conn, application_id)
    return _decide(tx, found, ApplicationState.REFUSED, user_id, remark)


def _decide(
    tx: Tx,
    found: Application,
    state: ApplicationState,
    user_id: str,
    remark: str = "",
    grant_id: str | None = None,
) -> Application:
    check_application_move(found.state, state)
    if not store.decide_application(tx, found.id, state, user_id, remark, grant_id):
        raise StaleWrite(
            "ApplicationDecided", "Somebody has just decided this application.", hint="Look again."
        )
    return application(tx.conn, found.id)


def grant(
    tx: Tx,
    application_id: str,
    user_id: str,
    figures: Figures = Figures(),  # noqa: B008
    remark: str = "",
) -> Grant:
    """审核 that says yes, and 发放: budget, caps and exclusions are taken in this transaction.

    Raises Conflict by the name of what speaks against it, InvalidInput for a figure that is missing
    or not allowed, LimitExceeded when the budget does not hold so much.
    """
    found = application(tx.conn, application_id)
    check_application_move(found.state, ApplicationState.GRANTED)
    applicant, verified_at_ms = _reviewed(tx, found)
    if verified_at_ms is None:
        raise not_eligible(Refusal(Reason.PROFILE_NOT_VERIFIED, field="profile"))
    # one at a time of an entity, however many organisations it has here
    tx.serialise(f"policy-entity:{found.programme_id}:{applicant.uscc}")
    checked = checking.check(
        tx.conn,
        found.programme_id,
        found.organisation_id,
        found.request,
        now_ms=tx.now_ms,
        figures=figures,
        version=found.programme_version,
        on=checking.day(found.submitted_at_ms),
    )
    for refusal in checked.verdict.refusals:
        raise not_eligible(refusal)
    made = _made(tx, found, checked, figures)
    _decide(tx, found, ApplicationState.GRANTED, user_id, remark, made.id)
    _take(tx, found, checked, made)
    grant_store.insert_grant(tx.conn, made)
    _issue(tx, checked.programme, made)
    return made


def _reviewed(tx: Tx, found: Application) -> tuple[Profile, int | None]:
    known = store.profile(tx.conn, found.organisation_id)
    return (
        known if known is not None else (checking.profile_of(tx.conn, found.organisation_id), None)
    )


def _made(tx: Tx, found: Application, checked: checking.Checked, figures: Figures) -> Grant:
    document, request = checked.programme, found.request
    applicant = checking.profile_of(tx.conn, found.organisation_id)
    benefit = document.benefit_for(request.item)
    if benefit is not None:
        rate = rules.rate_for(benefit, applicant, request)
        rules.check_figures(rate, benefit, figures)
    given = {
        "percent": figures.percent,
        "entity_year_yuan": figures.entity_year_micro_yuan,
        "unit_yuan": figures.unit_micro_yuan,
        "line_yuan": figures.line_micro_yuan,
        "expires_on": figures.expires_on,
    }
    for name in checked.verdict.open_figures:
        if given[name] is None:
            raise InvalidInput(
                "FigureNeeded",
                f"The published text leaves {name} open, so the reviewer must state it.",
                hint="State the figure that was decided for this case.",
                field=name,
            )
    if figures.expires_on is not None and checking.end_of(figures.expires_on) <= tx.now_ms:
        raise InvalidInput(
            Reason.FIGURE_OUT_OF_BOUNDS,
            f"expires_on must be {checking.day(tx.now_ms)} at the earliest; {figures.expires_on} "
            "was stated.",
            hint="State a day that is still to come.",
            field="expires_on",
        )
    quote = checked.quote
    if quote is None or quote.amount_micro_yuan <= 0:
        raise Conflict(
            Reason.CAP_REACHED,
            "Nothing is left to grant under this programme's caps.",
            hint="Refuse it, or wait for the next year.",
        )
    return Grant(
        id=tx.ids.new("gra"),
        application_id=found.id,
        programme_id=document.id,
        programme_version=document.version,
        organisation_id=found.organisation_id,
        project_id=found.project_id,
        mode=document.mode,
        item=request.item,
        year=checking.year_of(tx.now_ms),
        amount_micro_yuan=quote.amount_micro_yuan,
        redeemed_micro_yuan=0,
        percent_domestic=quote.percent_domestic,
        percent_other=quote.percent_other,
        state=GrantState.ACTIVE,
        granted_at_ms=tx.now_ms,
        expires_at_ms=_expires(document, request.item, figures, tx.now_ms),
    )


def _expires(document: Programme, item: Item, figures: Figures, now_ms: int) -> int | None:
    """The earliest of what the document and the reviewer say. What works at the charge ends with
    the span in which the work must lie."""
    work = document.window.use_until if item in METERED_ITEMS else None
    ends = [
        None if work is None or document.mode is Mode.REFUND else checking.end_of(work),
        None if figures.expires_on is None else checking.end_of(figures.expires_on),
        None if document.expiry.on is None else checking.end_of(document.expiry.on),
        None if document.expiry.days is None else now_ms + document.expiry.days * MS_PER_DAY,
    ]
    return min((one for one in ends if one is not None), default=None)


def is_line(document: Programme, item: Item) -> bool:
    benefit = document.benefit_for(item)
    return benefit is not None and benefit.kind is BenefitKind.LINE


def project_cap(document: Programme, request: Request) -> int | None:
    """Yuan that an undertaking may be granted in all."""
    benefit = document.benefit_for(request.item)
    named = rules.normalised(request.project_reference)
    return None if benefit is None or not named else benefit.caps.project_yuan


def _take(tx: Tx, found: Application, checked: checking.Checked, made: Grant) -> None:
    """Caps, exclusions, budget: each by a guard of its own, so that of many at once only as many
    succeed as there is room for."""
    document, request, amount = checked.programme, found.request, made.amount_micro_yuan
    cap = checked.quote.year_cap_micro_yuan if checked.quote is not None else None
    entity = (document.id, made.organisation_id, made.year)
    most = MAX_AMOUNT
    if cap is not None:
        applicant = checking.profile_of(tx.conn, made.organisation_id)
        most = cap - checking.granted_to_twins(tx.conn, document.id, applicant, made.year)
    if not grant_store.allow(tx.conn, *entity, amount, most):
        raise not_eligible(Refusal(Reason.CAP_REACHED, (("cap", str((cap or 0) // micro(1))),)))
    limit = project_cap(document, request)
    if limit is not None:
        subject = checking.project_subject(request)
        if not grant_store.allow(tx.conn, document.id, subject, 0, amount, micro(limit)):
            raise not_eligible(Refusal(Reason.CAP_REACHED, (("cap", str(limit)),)))
    held = checking.own_groups(tx.conn, document, made.organisation_id, request)
    subjects = [
        (one.group, checking.contract_subject(request))
        if one.per is Per.CONTRACT
        else (one.group, f"entity:{made.organisation_id}")
        for one in document.exclusive
        if one.per is Per.CONTRACT or one.group not in held
    ]
    if not grant_store.mark_helped(tx.conn, subjects, made.id):
        raise not_eligible(
            Refusal(Reason.CONTRACT_ALREADY_HELPED, (("contract", request.contract),), "contract")
        )
    commits = made.mode is not Mode.INSTANT and not is_line(document, request.item)
    if commits and not grant_store.draw(tx.conn, document.id, made.year, amount):
        raise LimitExceeded(
            Reason.BUDGET_EXHAUSTED,
            f"This year's budget of {document.id} does not hold so much any more.",
            hint="Grant less, or wait until the pool is raised or grants expire.",
        )


def _issue(tx: Tx, document: Programme, made: Grant) -> None:
    if made.mode is Mode.VOUCHER:
        move_vouchers(
            tx,
            document,
            made.project_id,
            made.amount_micro_yuan,
            f"issue:{made.id}",
            EntryKind.VOUCHER_ISSUE,
        )


def move_vouchers(
    tx: Tx, document: Programme, project_id: str, amount: int, key: str, kind: EntryKind
) -> None:
    """Vouchers from the programme to the project, or back with a negative amount."""
    ours = issued_key(document.id, document.currency)
    theirs = vouchers_key(project_id, document.currency)
    accounts = ledger.ensure_accounts(tx, [ours, theirs])
    postings = ((accounts[theirs].id, amount), (accounts[ours].id, -amount))
    ledger.post(tx, [EntryDraft(key, kind, tx.now_ms, postings, document.title.zh)])


def grants(
    conn: Connection,
    *,
    organisation_id: str | None = None,
    project_id: str | None = None,
    programme_id: str | None = None,
    limit: int = 500,
) -> list[Grant]:
    """The latest first."""
    return grant_store.find_grants(
        conn,
        organisation_id=organisation_id,
        project_id=project_id,
        programme_id=programme_id,
        limit=limit,
    )


def all_profiles(conn: Connection) -> dict[str, Profile]:
    """By organisation id."""
    return store.all_profiles(conn)


def what_if(
    conn: Connection,
    programme_id: str,
    from_ms: int,
    until_ms: int,
    assumed: Assumption,
    cards: Callable[[Connection, Sequence[str]], Mapping[str, Card]],
) -> WhatIf:
    """What the programme would have cost over the charges of a span, and who would have gained."""
    document = checking.programme(conn, programme_id)
    charges = reports.past_charges(conn, from_ms, until_ms)
    of_pool = cards(conn, sorted({one.pool_id for one in charges}))
    return simulate(document, charges, store.all_profiles(conn), of_pool, assumed)
