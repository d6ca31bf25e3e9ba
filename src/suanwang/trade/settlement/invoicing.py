"""Use cases of invoices: the application data, what became of it, and its reversal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Conflict, InvalidInput, StaleWrite
from suanwang.platform.database import Tx
from suanwang.tenancy.rules import not_found
from suanwang.trade.billing import reports
from suanwang.trade.billing.model import Quantities, ReportLine
from suanwang.trade.billing.rules import month_bounds
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import EntryKind
from suanwang.trade.settlement import (
    dispute_store,
    invoice_rules,
    invoice_store,
    red_letters,
    rules,
    store,
)
from suanwang.trade.settlement.model import (
    Invoice,
    Invoiceable,
    InvoiceLine,
    InvoiceState,
    RedReason,
    TaxParty,
)
from suanwang.trade.settlement.red_letters import Part

RENT_LINE = "跨区差价"
RENT_KEY = "rent:"
CHARGED = (EntryKind.CHARGE, EntryKind.RENT)
"""Kinds of entries of a project's account that are a sale to it."""


def keep_profile(tx: Tx, organisation_id: str, profile: TaxParty) -> TaxParty:
    checked = invoice_rules.check_party(profile)
    invoice_store.keep_profile(tx, organisation_id, checked)
    return checked


def profile(conn: Connection, organisation_id: str) -> TaxParty | None:
    return invoice_store.find_profile(conn, organisation_id)


def invoiceable(conn: Connection, project_id: str, month: str) -> Invoiceable:
    """What of a project's month may be invoiced now."""
    span = month_bounds(month)
    account = ledger.project_account(conn, project_id)
    relieved = reports.relieved(conn, project_id, *span)
    charged, unpaid = relieved, 0
    if account is not None:
        charged -= sum(ledger.standing(conn, account.id, kind, *span) for kind in CHARGED)
        charged -= dispute_store.credited(conn, project_id, *span)
        unpaid = max(0, -account.balance_micro_yuan)
    invoiced = invoice_store.invoiced_fen(conn, project_id, month) * invoice_rules.MICRO_PER_FEN
    return Invoiceable(charged, relieved, unpaid, invoiced)


def paid_for(conn: Connection, project_id: str, month: str) -> list[ReportLine]:
    """What a month's invoice is over, by pool; rent between zones has a line of its own."""
    account = ledger.project_account(conn, project_id)
    if account is None:
        return []
    span = month_bounds(month)
    undone = ledger.undone_keys(conn, account.id, EntryKind.CHARGE, *span)
    credits = dispute_store.credits_within(conn, project_id, *span)
    keys = ledger.keys_of(conn, sorted(credits))
    credited = {keys[entry_id]: amount for entry_id, amount in credits.items()}
    lines = reports.paid_by_pool(conn, project_id, month, undone, credited)
    rent = -ledger.standing(conn, account.id, EntryKind.RENT, *span)
    rent -= sum(amount for key, amount in credited.items() if key.startswith(RENT_KEY))
    return [*lines, ReportLine(RENT_LINE, Quantities(records=1), rent)] if rent > 0 else lines


def request(
    tx: Tx,
    *,
    organisation_id: str,
    project_id: str,
    month: str,
    seller: TaxParty,
    tax_percent: int,
    pool_names: Mapping[str, str],
    by: str,
    remark: str = "",
) -> Invoice:
    """Ask for an invoice over all that is left of a closed month."""
    invoice_rules.check_tax(tax_percent)
    buyer = invoice_store.find_profile(tx.conn, organisation_id)
    if buyer is None:
        raise InvalidInput(
            "BuyerUnknown",
            "It is not known whom the invoice is to be made out to.",
            hint="State name and credit code first: `suan invoice buyer`.",
            field="buyer",
        )
    close, until_ms = store.last_close(tx.conn), month_bounds(month)[1]
    if close is None or close.until_ms < until_ms:
        raise Conflict(
            "MonthNotClosed",
            f"{month} is not closed yet to its last day.",
            hint="Ask again when it is.",
        )
    tx.serialise(f"invoice:{project_id}:{month}")
    report = paid_for(tx.conn, project_id, month)
    pool_names = {**pool_names, RENT_LINE: RENT_LINE}
    lines = invoice_rules.lines_of(
        report,
        [pool_names.get(line.key, line.key) for line in report],
        invoiceable(tx.conn, project_id, month).left,
        tax_percent,
    )
    gross, net, tax = invoice_rules.sums(lines)
    made = Invoice(
        id=tx.ids.new("inv"),
        organisation_id=organisation_id,
        project_id=project_id,
        month=month,
        buyer=buyer,
        seller=seller,
        lines=lines,
        tax_percent=tax_percent,
        gross_fen=gross,
        net_fen=net,
        tax_fen=tax,
        state=InvoiceState.REQUESTED,
        requested_at_ms=tx.now_ms,
        requested_by=by,
        remark=remark,
    )
    invoice_store.insert(tx.conn, made)
    return made


def issue(tx: Tx, invoice_id: str, *, number: str, issued_on: str, by: str) -> Invoice:
    """The tax channel has issued it. Once its red letters undo all of an invoice, it is
    reversed."""
    before = find(tx.conn, invoice_id)
    changes = {
        "number": invoice_rules.check_number(number),
        "issued_on": invoice_rules.check_date(issued_on),
        "issued_by": by,
    }
    if before.state is InvoiceState.ISSUED and before.number == number:
        return before
    tx.serialise(f"invoice-number:{number}")
    if invoice_store.number_taken(tx.conn, number):
        raise Conflict(
            "NumberTaken",
            f"There is an invoice with the number {number} already.",
            hint="Each has a number of its own.",
        )
    moved = _move(tx, before, InvoiceState.ISSUED, changes)
    if before.reverses is not None:
        original = find(tx.conn, before.reverses)
        if not undone_left(tx.conn, original):
            _move(tx, original, InvoiceState.REVERSED, {})
    return moved


def undone_left(conn: Connection, original: Invoice) -> int:
    """Fen of an invoice that no issued red letter undoes."""
    letters = invoice_store.red_letters_of(conn, original.id)
    return original.gross_fen + sum(
        one.gross_fen for one in letters if one.state is InvoiceState.ISSUED
    )


def reject(tx: Tx, invoice_id: str, *, why: str, by: str) -> Invoice:
    """It will not be issued; its money is free to be invoiced again."""
    before = find(tx.conn, invoice_id)
    return _move(tx, before, InvoiceState.REJECTED, {"refusal": why, "issued_by": by})


def reverse(
    tx: Tx, invoice_id: str, *, reason: RedReason, by: str, part: Part = red_letters.WHOLE
) -> Invoice:
    """Ask for a red letter of an issued invoice: the negative of it, or of a part of what is left
    of it. One at a time; the same one asked for again is told as it is."""
    tx.serialise(f"invoice-red:{invoice_id}")
    original = find(tx.conn, invoice_id)
    if original.reverses is not None:
        raise Conflict(
            "ReversalOfReversal",
            f"{invoice_id} is a red letter itself.",
            hint="Ask for a new invoice instead.",
        )
    rules.check_move(
        rules.INVOICE_MOVES, "invoice", invoice_id, original.state, InvoiceState.REVERSED
    )
    letters = invoice_store.red_letters_of(tx.conn, invoice_id)
    issued = [one.lines for one in letters if one.state is InvoiceState.ISSUED]
    left = red_letters.left_of(original.lines, issued)
    lines = red_letters.lines_of(left, part, reason, original.tax_percent)
    waiting = next((one for one in letters if one.state is InvoiceState.REQUESTED), None)
    if waiting is not None:
        if _same(waiting, lines, reason):
            return waiting
        raise Conflict(
            "RedLetterUnderWay",
            f"A red letter of {invoice_id} is asked for already: {waiting.id}.",
            hint="Have it issued or rejected first; then ask for the next.",
        )
    made = _red_letter(tx, original, lines, reason, by)
    invoice_store.insert(tx.conn, made)
    return made


def _same(letter: Invoice, lines: tuple[InvoiceLine, ...], reason: RedReason) -> bool:
    """Lines of letters from before there were parts do not name the line that they undo."""
    return letter.red_reason is reason and [
        (one.specification, one.gross_fen, one.net_fen) for one in letter.lines
    ] == [(one.specification, one.gross_fen, one.net_fen) for one in lines]


def _red_letter(
    tx: Tx, original: Invoice, lines: tuple[InvoiceLine, ...], reason: RedReason, by: str
) -> Invoice:
    gross, net, tax = invoice_rules.sums(lines)
    return Invoice(
        id=tx.ids.new("inv"),
        organisation_id=original.organisation_id,
        project_id=original.project_id,
        month=original.month,
        buyer=original.buyer,
        seller=original.seller,
        lines=lines,
        tax_percent=original.tax_percent,
        gross_fen=gross,
        net_fen=net,
        tax_fen=tax,
        state=InvoiceState.REQUESTED,
        requested_at_ms=tx.now_ms,
        requested_by=by,
        remark=f"红字 {original.number}",
        reverses=original.id,
        red_reason=reason,
    )


def red_letters_of(conn: Connection, invoice_id: str) -> list[Invoice]:
    """Those that are asked for or issued."""
    return invoice_store.red_letters_of(conn, invoice_id)


def _move(tx: Tx, before: Invoice, to: InvoiceState, changes: Mapping[str, Any]) -> Invoice:
    rules.check_move(rules.INVOICE_MOVES, "invoice", before.id, before.state, to)
    moved = store.move(
        tx.conn,
        invoice_store.invoices,
        before.id,
        before.version,
        {"state": to.value, **changes},
    )
    if not moved:
        raise StaleWrite("InvoiceMoved", "Somebody has just moved this invoice.", hint="Try again.")
    return find(tx.conn, before.id)


def find(conn: Connection, invoice_id: str) -> Invoice:
    """Raises NotFound."""
    found = invoice_store.find(conn, invoice_id)
    if found is None:
        raise not_found("invoice", invoice_id)
    return found


def data_of(conn: Connection, invoice: Invoice) -> dict[str, Any]:
    """The file for the tax channel."""
    original = find(conn, invoice.reverses) if invoice.reverses else None
    return invoice_rules.data_of(invoice, original)


def issued_over(conn: Connection, project_id: str, month: str) -> str:
    """Id of the invoice over a month that stands; "" while there is none."""
    return invoice_store.issued_over(conn, project_id, month)


def invoices(
    conn: Connection,
    *,
    organisation_id: str | None = None,
    state: InvoiceState | None = None,
    before: str | None = None,
    limit: int = 50,
) -> list[Invoice]:
    """The latest first, of all organisations or of one."""
    return invoice_store.page(conn, organisation_id, state, before, limit)
