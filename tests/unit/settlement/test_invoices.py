"""Invoices: codes, tax to the fen, capitals; never more than was paid for, never twice."""

from __future__ import annotations

import asyncio
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_world import HOUR_0, PROJECT, PROVIDER
from manual_clock import ManualClock
from settlement_world import DAY_0, HOURLY, charge_day, close_until, top_up
from suanwang.kernel.errors import InvalidInput, SuanwangError
from suanwang.platform.database import Tx
from suanwang.trade.billing.model import Quantities, ReportLine
from suanwang.trade.ledger import service as ledger
from suanwang.trade.settlement import invoice_rules as rules
from suanwang.trade.settlement import invoicing
from suanwang.trade.settlement.model import Invoice, InvoiceState, RedReason, TaxParty

CODE = "91350100M000100Y43"
"""The example of GB 32100-2015 itself."""
BUYER = TaxParty("郑州大学", "12410000415801483X")
SELLER = TaxParty("算网科技有限公司", CODE)


@pytest.fixture(autouse=True)
def _buyer_with_a_right_code() -> None:
    global BUYER
    head = "12410000415801483"
    BUYER = TaxParty("郑州大学", head + rules.check_digit(head))


def test_the_standards_own_code_is_right() -> None:
    assert rules.check_code(CODE.lower()) == CODE


@pytest.mark.parametrize(
    "code", ["", "91350100M000100Y44", "91350100M000100Y4", "9135O100M000100Y43", "９" * 18]
)
def test_wrong_codes_are_refused(code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        rules.check_code(code)
    assert refused.value.field == "code"


@given(st.integers(0, 16), st.sampled_from("0123456789"), st.data())
def test_one_wrong_sign_is_always_found(place: int, sign: str, data: st.DataObject) -> None:
    if not 2 <= place <= 7:
        sign = data.draw(st.sampled_from("0123456789ABCDEFGHJKLMNPQRTUWXY"))
    wrong = CODE[:place] + sign + CODE[place + 1 :]
    assert (rules.check_digit(wrong[:17]) == CODE[17]) == (wrong == CODE)


@pytest.mark.parametrize(
    ("fen", "said"),
    [
        (0, "零元整"),
        (1, "壹分"),
        (10, "壹角整"),
        (105, "壹元零伍分"),
        (123_450, "壹仟贰佰叁拾肆元伍角整"),
        (1_000_000_00, "壹佰万元整"),
        (100_001_00, "壹拾万零壹元整"),
        (1_000_010_00, "壹佰万零壹拾元整"),
        (12_345_678_90, "壹仟贰佰叁拾肆万伍仟陆佰柒拾捌元玖角整"),
        (100_000_001_00, "壹亿零壹元整"),
        (1_050_000_000_00, "壹拾亿零伍仟万元整"),
        (10_000_000_000_000_07, "壹拾万亿元零柒分"),
        (-50_30, "负伍拾元叁角整"),
    ],
)
def test_capitals(fen: int, said: str) -> None:
    assert rules.capitals(fen) == said


_VALUES = {sign: value for value, sign in enumerate("零壹贰叁肆伍陆柒捌玖")}
_PLACES = {"拾": 10, "佰": 100, "仟": 1_000}


def read_capitals(text: str) -> int:
    """What a clerk reads, in fen."""
    sign = -1 if text.startswith("负") else 1
    yuan, _, rest = text.removeprefix("负").rpartition("元")
    total = 0
    for name, worth in (("万亿", 10**12), ("亿", 10**8), ("万", 10**4), ("", 1)):
        part, found, after = yuan.partition(name) if name else (yuan, "", "")
        if name and not found:
            continue
        if name == "亿" and "万" in part and not part.rpartition("万")[0]:
            part = part.lstrip("万")
        yuan = after
        four, digit = 0, 0
        for mark in part:
            if mark in _VALUES:
                digit = _VALUES[mark]
            else:
                four, digit = four + digit * _PLACES[mark], 0
        total += (four + digit) * worth
    fen = 100 * total
    digit = 0
    for mark in rest:
        if mark in _VALUES:
            digit = _VALUES[mark]
        elif mark in "角分":
            fen += digit * (10 if mark == "角" else 1)
    return sign * fen


@given(st.integers(-(10**14), 10**14))
def test_capitals_say_the_figure(fen: int) -> None:
    assert read_capitals(rules.capitals(fen)) == fen


@given(
    st.lists(st.integers(0, 10**13), min_size=1, max_size=20),
    st.sampled_from(rules.TAX_PERCENTS),
    st.data(),
)
def test_lines_sum_to_the_fen(amounts: list[int], percent: int, data: st.DataObject) -> None:
    left = data.draw(st.integers(0, sum(amounts)))
    report = [
        ReportLine(str(n), Quantities(core_milli_seconds=n * 977), amount)
        for n, amount in enumerate(amounts)
    ]
    names = [line.key for line in report]
    if left < rules.MICRO_PER_FEN:
        with pytest.raises(InvalidInput):
            rules.lines_of(report, names, left, percent)
        return
    lines = rules.lines_of(report, names, left, percent)
    gross, net, tax = rules.sums(lines)
    assert gross == left // rules.MICRO_PER_FEN
    for line in (*lines, *rules.red_lines(lines)):
        assert line.gross_fen == line.net_fen + line.tax_fen
        # the tax that the channel computes from the net differs by less than a fen
        assert abs(100 * line.tax_fen - percent * line.net_fen) <= 100
    assert rules.sums(rules.red_lines(lines)) == (-gross, -net, -tax)


# --- the life of an invoice --------------------------------------------------------------------


async def closed_month(database: Any, clock: ManualClock) -> None:
    clock.at_ms = HOUR_0
    await top_up(database)
    await charge_day(database, DAY_0, hours=3)
    await charge_day(database, DAY_0 + 5, hours=2)
    await close_until(database, clock, DAY_0 + 31)
    await database.write(lambda tx: invoicing.keep_profile(tx, "org_user", BUYER))


def ask(tx: Tx, month: str = "2026-01") -> Invoice:
    return invoicing.request(
        tx,
        organisation_id="org_user",
        project_id=PROJECT,
        month=month,
        seller=SELLER,
        tax_percent=6,
        pool_names={"pol_1": "zz-1/cpu"},
        by="usr_1",
    )


async def reason_of(attempt: Any) -> str:
    with pytest.raises(SuanwangError) as refused:
        await attempt
    return refused.value.reason


async def test_a_month_is_invoiced_once(any_database: Any, clock: ManualClock) -> None:
    await closed_month(any_database, clock)
    made = await any_database.write(ask)
    assert (made.gross_fen, made.net_fen, made.tax_fen) == (18_00, 16_98, 1_02)
    assert (made.lines[0].specification, made.lines[0].quantity_milli) == ("zz-1/cpu", 5_000)
    assert await reason_of(any_database.write(ask)) == "NothingToInvoice"
    left = await any_database.read(lambda c: invoicing.invoiceable(c, PROJECT, "2026-01"))
    assert (left.charged, left.invoiced, left.left) == (5 * HOURLY, 5 * HOURLY, 0)


async def test_requests_at_once_bind_the_money_once(any_database: Any, clock: ManualClock) -> None:
    await closed_month(any_database, clock)
    found = await asyncio.gather(
        *(any_database.write(ask) for _ in range(8)), return_exceptions=True
    )
    assert len([one for one in found if isinstance(one, Invoice)]) == 1


async def test_red_letter_frees_the_money_when_it_is_issued(
    any_database: Any, clock: ManualClock
) -> None:
    await closed_month(any_database, clock)
    made = await any_database.write(ask)

    def issue(tx: Tx, identity: str, number: str) -> Invoice:
        return invoicing.issue(tx, identity, number=number, issued_on="2026-02-03", by="usr_op")

    def reverse(tx: Tx) -> Invoice:
        return invoicing.reverse(tx, made.id, reason=RedReason.WRONG, by="usr_1")

    assert await reason_of(any_database.write(reverse)) == "WrongState"
    for _ in range(2):
        await any_database.write(lambda tx: issue(tx, made.id, "24312000000012345678"))
    red, again = [await any_database.write(reverse) for _ in range(2)]
    assert (red.id, red.gross_fen, red.reverses) == (again.id, -18_00, made.id)
    assert await reason_of(any_database.write(ask)) == "NothingToInvoice"
    taken = any_database.write(lambda tx: issue(tx, red.id, "24312000000012345678"))
    assert await reason_of(taken) == "NumberTaken"
    await any_database.write(lambda tx: issue(tx, red.id, "24312000000012345679"))
    original = await any_database.read(lambda c: invoicing.find(c, made.id))
    assert original.state is InvoiceState.REVERSED
    anew = await any_database.write(ask)
    assert anew.gross_fen == 18_00
    data = await any_database.read(lambda c: invoicing.data_of(c, invoicing.find(c, red.id)))
    assert data["红字"]["原发票号码"] == "24312000000012345678"
    assert data["价税合计大写"] == "负壹拾捌元整"
    read = ElementTree.fromstring(rules.xml_of(data))
    assert read.findtext("项目/金额") == "-16.98"
    assert read.findtext("购买方信息/统一社会信用代码") == BUYER.code


async def test_what_was_given_back_or_is_owed_is_not_invoiced(
    inline_database: Any, clock: ManualClock
) -> None:
    await closed_month(inline_database, clock)
    entry = inline_database.read_now(
        lambda c: ledger.account_lines(
            c,
            ledger.project_account(c, PROJECT).id,
            HOUR_0 + 1,
            clock.at_ms,  # type: ignore[union-attr]
        )
    )[0]
    assert entry.amount_micro_yuan == -HOURLY
    inline_database.write_now(lambda tx: ledger.reverse(tx, entry.entry_id, reason="faulty"))
    money = inline_database.read_now(lambda c: invoicing.invoiceable(c, PROJECT, "2026-01"))
    assert (money.charged, money.unpaid) == (4 * HOURLY, 0)
    inline_database.write_now(
        lambda tx: ledger.adjust(
            tx, PROJECT, -1_000_000_000 + 3 * HOURLY, key="1", description="spent elsewhere"
        )
    )
    money = inline_database.read_now(lambda c: invoicing.invoiceable(c, PROJECT, "2026-01"))
    assert (money.unpaid, money.left) == (HOURLY, 3 * HOURLY)
    assert inline_database.write_now(ask).gross_fen == 10_80


async def test_rejected_requests_free_the_money(inline_database: Any, clock: ManualClock) -> None:
    await closed_month(inline_database, clock)
    made = inline_database.write_now(ask)
    inline_database.write_now(lambda tx: invoicing.reject(tx, made.id, why="no", by="usr_op"))
    assert inline_database.write_now(ask).gross_fen == made.gross_fen


@pytest.mark.parametrize(
    ("month", "profile", "reason"),
    [
        ("2026-01", False, "BuyerUnknown"),
        ("2026-02", True, "MonthNotClosed"),
        ("2025-12", True, "NothingToInvoice"),
        ("2026-13", True, "InvalidMonth"),
    ],
)
async def test_requests_that_are_refused(
    inline_database: Any, clock: ManualClock, month: str, profile: bool, reason: str
) -> None:
    await closed_month(inline_database, clock)
    if not profile:
        inline_database.write_now(lambda tx: tx.conn.exec_driver_sql("DELETE FROM buyer_profiles"))
    with pytest.raises(SuanwangError) as refused:
        inline_database.write_now(lambda tx: ask(tx, month))
    assert refused.value.reason == reason
    assert PROVIDER
