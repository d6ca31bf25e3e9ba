"""Invoices of closed months: whom they are made out to, asking for one, its data file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from suanwang.edge.client.amounts import Amount, money
from suanwang.edge.client.http import segment
from suanwang.edge.client.nouns import Day, Noun, given

if TYPE_CHECKING:
    from suanwang.edge.client.views_settlement import Invoice, Invoiceable, Party

INVOICES = "/v1/invoices"
InvoiceState = Literal["requested", "issued", "rejected", "reversed"]
RedReason = Literal["wrong", "returned", "stopped", "allowance"]


class Invoices(Noun):
    """`client.invoices`. Months are YYYY-MM in Asia/Shanghai; only closed ones are invoiced."""

    def buyer(self, organisation: str) -> Party | None:
        """Whom its invoices are made out to; None while nobody has said."""
        found: Party | None = self._api.get(_buyer_path(organisation))
        return found

    def state_buyer(self, organisation: str, party: Mapping[str, str]) -> Party:
        """`name` and `code`, and the rest as `buyer` shows it."""
        found: Party = self._api.put(_buyer_path(organisation), dict(party))
        return found

    def invoiceable(self, project: str, month: str) -> Invoiceable:
        """What of the month may be invoiced now."""
        path = f"/v1/projects/{segment(project)}/invoiceable"
        found: Invoiceable = self._api.get(path, {"month": month})
        return found

    def request(
        self, project: str, month: str, *, remark: str = "", tax_percent: int | None = None
    ) -> Invoice:
        """Over what is left of the month; `tax_percent` is the operator's to state."""
        body = given(project=project, month=month, remark=remark, tax_percent=tax_percent)
        found: Invoice = self._api.post(INVOICES, body)
        return found

    def search(
        self,
        *,
        organisation: str | None = None,
        state: InvoiceState | None = None,
        most: int | None = None,
    ) -> Iterator[Invoice]:
        """The latest first: of one's own organisation, or for an operator of all."""
        query = {"organisation": organisation, "state": state}
        yield from self._api.pages(INVOICES, query, most=most)

    def show(self, invoice: str) -> Invoice:
        found: Invoice = self._api.get(_path(invoice))
        return found

    def data_json(self, invoice: str) -> bytes:
        """The file for a tax channel."""
        return self._api.read(_path(invoice, "/data.json"))[0]

    def data_xml(self, invoice: str) -> bytes:
        return self._api.read(_path(invoice, "/data.xml"))[0]

    def reverse(
        self,
        invoice: str,
        reason: RedReason = "wrong",
        *,
        amount: Amount | None = None,
        lines: Mapping[int, Amount] | None = None,
    ) -> Invoice:
        """Ask for its red letter; once that is issued, the money may be invoiced anew. Of all that
        is left of it, of an `amount` spread over its lines, or of some `lines` (from 1)."""
        some = [{"line": at, "amount": money(of)} for at, of in lines.items()] if lines else None
        body = given(reason=reason, amount=money(amount), lines=some)
        return self._post(invoice, "/reverse", body, repeat=True)

    # --- for the operator --------------------------------------------------------------------

    def issue(self, invoice: str, number: str, *, issued_on: Day | None = None) -> Invoice:
        """The tax channel has given it a number. The same number again changes nothing."""
        body = given(number=number, issued_on=issued_on)
        return self._post(invoice, "/issue", body, repeat=True)

    def reject(self, invoice: str, reason: str) -> Invoice:
        return self._post(invoice, "/reject", {"reason": reason})

    def _post(
        self, invoice: str, rest: str, body: dict[str, Any], *, repeat: bool = False
    ) -> Invoice:
        found: Invoice = self._api.post(_path(invoice, rest), body, repeat=repeat)
        return found


def _path(invoice: str, rest: str = "") -> str:
    return f"{INVOICES}/{segment(invoice)}{rest}"


def _buyer_path(organisation: str) -> str:
    return f"/v1/organisations/{segment(organisation)}/invoice-buyer"
