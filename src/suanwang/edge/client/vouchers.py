"""Vouchers and other grants of programmes: what is left of them, what they paid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from suanwang.edge.client.amounts import Amount, money
from suanwang.edge.client.http import segment
from suanwang.edge.client.nouns import Noun, given

if TYPE_CHECKING:
    from suanwang.edge.client.views_billing import Booked
    from suanwang.edge.client.views_programmes import Voucher, VoucherDetail

VOUCHERS = "/v1/vouchers"
Finding = Literal["clean", "breach"]
Ground = Literal[
    "false_evidence", "double_claim", "affiliated_trade", "splitting", "milestone_missed"
]


class Vouchers(Noun):
    """`client.vouchers`"""

    def search(self, *, project: str | None = None) -> list[Voucher]:
        """Of one's projects, or of one of them."""
        found: list[Voucher] = self._api.get(VOUCHERS, {"project": project})
        return found

    def show(self, voucher: str) -> VoucherDetail:
        """With the charges that it lowered, the latest first."""
        found: VoucherDetail = self._api.get(_path(voucher))
        return found

    # --- for the operator --------------------------------------------------------------------

    def pay_out(self, voucher: str, *, reference: str, amount: Amount | None = None) -> Booked:
        """What does not work at charges; all that is left if no amount is given."""
        body = given(reference=reference, amount=money(amount))
        found: Booked = self._api.post(_path(voucher, "/payout"), body, repeat=True)
        return found

    def audit(self, voucher: str, finding: Finding, *, remark: str = "") -> Voucher:
        """Note what an audit found."""
        body = {"finding": finding, "remark": remark}
        found: Voucher = self._api.post(_path(voucher, "/audit"), body, repeat=True)
        return found

    def claw_back(
        self, voucher: str, ground: Ground, *, remark: str, amount: Amount | None = None
    ) -> Voucher:
        """Claim back what was paid; all of it if no amount is given."""
        body = given(ground=ground, amount=money(amount), remark=remark)
        found: Voucher = self._api.post(_path(voucher, "/clawback"), body)
        return found


def _path(voucher: str, rest: str = "") -> str:
    return f"{VOUCHERS}/{segment(voucher)}{rest}"
