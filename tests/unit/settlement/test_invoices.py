"""Invoices: codes, tax to the fen, capitals; never more than was paid for, never twice."""

from __future__ import annotations

import asyncio
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_world import HOUR_0, PRICES, PROJECT, PROVIDER, run_of, usage_of
from manual_clock import ManualClock
from settlement_world import DAY_0, HOURLY, charge_day, close_until, top_up
from suanwang.kernel.errors import InvalidInput, SuanwangError
from suanwang.platform.database import Tx
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import Quantities, ReportLine, UsageRecorded
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import RENT, EntryDraft, EntryKind, project_key
from suanwang.trade.settlement import corrections, invoicing, red_letters
from suanwang.trade.settlement import invoice_rules as rules
from suanwang.trade.settlement.model import (
    Invoice,
    InvoiceLine,
    InvoiceState,
    RedReason,
    TaxParty,
)

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
    whole = red_letters.lines_of(lines, red_letters.WHOLE, RedReason.WRONG, percent)
    for line in (*lines, *whole):
        assert line.gross_fen == line.net_fen + line.tax_fen
        # the tax that the channel computes from the net differs by less than a fen
        assert abs(100 * line.tax_fen - percent * line.net_fen) <= 100
    assert rules.sums(whole) == (-gross, -net, -tax)


@given(
    st.lists(st.integers(1, 10**9), min_size=1, max_size=6),
    st.sampled_from(rules.TAX_PERCENTS),
    st.data(),
)
def test_parts_undo_an_invoice_to_the_fen(
    amounts: list[int], percent: int, data: st.DataObject
) -> None:
    """However many parts it is undone in, by amount or by line: never more than a line has, each
    with its own tax to a fen, and all together exactly the invoice."""
    report = [
        ReportLine(str(n), Quantities(core_milli_seconds=n * 977_000), amount * 10_000)
        for n, amount in enumerate(amounts)
    ]
    lines = rules.lines_of(report, [one.key for one in report], sum(amounts) * 10_000, percent)
    letters: list[tuple[InvoiceLine, ...]] = []
    for _ in range(data.draw(st.integers(0, 5))):
        left = red_letters.left_of(lines, letters)
        whole = sum(one.gross_fen for one in left)
        if whole <= 1:
            break
        if data.draw(st.booleans()):
            part = red_letters.Part(data.draw(st.integers(1, whole - 1)))
        else:
            number = data.draw(st.sampled_from([n for n, one in enumerate(left) if one.gross_fen]))
            part = red_letters.Part(
                by_line=((number, data.draw(st.integers(1, left[number].gross_fen))),)
            )
        reason = data.draw(st.sampled_from(RedReason))
        made = red_letters.lines_of(left, part, reason, percent)
        wanted = part.amount_fen or sum(fen for _, fen in part.by_line)
        assert rules.sums(made)[0] == -wanted
        letters.append(made)
        for one in (*made, *red_letters.left_of(lines, letters)):
            assert one.gross_fen == one.net_fen + one.tax_fen
            assert abs(100 * one.tax_fen - percent * one.net_fen) <= 100 * (1 + len(letters))
        assert all(
            min(one.gross_fen, one.net_fen, one.tax_fen, one.quantity_milli) >= 0
            for one in red_letters.left_of(lines, letters)
        )
    rest = red_letters.left_of(lines, letters)
    letters.append(red_letters.lines_of(rest, red_letters.WHOLE, RedReason.WRONG, percent))
    undone = [sum(part) for part in zip(*(rules.sums(one) for one in letters), strict=True)]
    assert undone == [-sum_ for sum_ in rules.sums(lines)]


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


def issued(tx: Tx, identity: str, number: int) -> Invoice:
    return invoicing.issue(
        tx,
        identity,
        number=str(24_312_000_000_000_000_000 + number),
        issued_on="2026-02-03",
        by="o",
    )


def undo(tx: Tx, identity: str, fen: int | None = None, *lines: tuple[int, int]) -> Invoice:
    part = red_letters.Part(fen, lines)
    return invoicing.reverse(tx, identity, reason=RedReason.ALLOWANCE, by="usr_1", part=part)


async def test_a_part_of_an_invoice_is_undone(any_database: Any, clock: ManualClock) -> None:
    await closed_month(any_database, clock)
    write, read = any_database.write, any_database.read
    made = await write(ask)
    await write(lambda tx: issued(tx, made.id, 1))
    red = await write(lambda tx: undo(tx, made.id, 5_00))
    again = await write(lambda tx: undo(tx, made.id, 5_00))
    assert (red.id, red.gross_fen, red.net_fen, red.tax_fen) == (again.id, -5_00, -4_72, -28)
    assert red.lines[0].quantity_milli == 0  # an allowance takes from the price
    other = write(lambda tx: undo(tx, made.id, 4_00))
    assert await reason_of(other) == "RedLetterUnderWay"
    left = await read(lambda c: invoicing.invoiceable(c, PROJECT, "2026-01"))
    assert left.left == 0  # nothing is free before it is issued
    await write(lambda tx: issued(tx, red.id, 2))
    left = await read(lambda c: invoicing.invoiceable(c, PROJECT, "2026-01"))
    assert (left.invoiced, left.left) == (13_000_000, 5_000_000)
    original = await read(lambda c: invoicing.find(c, made.id))
    assert original.state is InvoiceState.ISSUED
    assert await read(lambda c: invoicing.issued_over(c, PROJECT, "2026-01")) == made.id
    data = await read(lambda c: invoicing.data_of(c, invoicing.find(c, red.id)))
    assert (data["红字"]["冲红范围"], data["项目"][0]["数量"]) == ("部分", "")
    assert await reason_of(write(lambda tx: undo(tx, made.id, 13_01))) == "AboveInvoice"
    assert await reason_of(write(lambda tx: undo(tx, made.id, None, (1, 1)))) == "NoSuchLine"
    assert await reason_of(write(lambda tx: undo(tx, made.id, 0))) == "InvalidRedAmount"
    assert (await write(ask)).gross_fen == 5_00
    second = await write(lambda tx: undo(tx, made.id, None, (0, 3_00)))
    await write(lambda tx: invoicing.reject(tx, second.id, why="no", by="usr_op"))
    rest = await write(lambda tx: undo(tx, made.id))
    assert rest.gross_fen == -13_00
    await write(lambda tx: issued(tx, rest.id, 3))
    original = await read(lambda c: invoicing.find(c, made.id))
    assert original.state is InvoiceState.REVERSED
    assert red.net_fen + rest.net_fen == -made.net_fen
    left = await read(lambda c: invoicing.invoiceable(c, PROJECT, "2026-01"))
    assert (left.invoiced, left.left) == (5_000_000, 13_000_000)
    assert await reason_of(write(lambda tx: undo(tx, made.id, 1))) == "WrongState"


async def test_parts_asked_for_at_once_undo_no_more_than_there_is(
    any_database: Any, clock: ManualClock
) -> None:
    await closed_month(any_database, clock)
    made = await any_database.write(ask)
    await any_database.write(lambda tx: issued(tx, made.id, 1))
    found = await asyncio.gather(
        *(
            any_database.write(lambda tx, fen=fen: undo(tx, made.id, fen))
            for fen in range(10_00, 18_00, 1_00)
        ),
        return_exceptions=True,
    )
    assert len([one for one in found if isinstance(one, Invoice)]) == 1
    letters = await any_database.read(lambda c: invoicing.red_letters_of(c, made.id))
    assert len(letters) == 1


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


async def test_a_line_tells_what_was_paid_for_of_its_pool(
    inline_database: Any, clock: ManualClock
) -> None:
    """Two pools of three hours each; two hours of the second are undone, so a quarter of the
    invoice is about it, with an hour; and rent has a line of its own."""
    clock.at_ms = HOUR_0
    await top_up(inline_database)
    await charge_day(inline_database, DAY_0)

    def others(tx: Tx) -> None:
        prices = billing.publish_prices(tx, "pol_2", PRICES)
        run = run_of(prices, lease_id="lea_other", pool_id="pol_2")
        records = usage_of(run, HOUR_0, HOUR_0 + 3 * 3_600_000)
        billing.store.insert_usage(tx.conn, records)
        billing.charge(tx, [UsageRecorded(one) for one in records])
        for one in records[:2]:
            entry = ledger.entry_of_key(tx.conn, f"charge:{one.source}/{one.id}")
            corrections.reverse(tx, entry or "", reason="faulty")
        found = ledger.ensure_accounts(tx, [project_key(PROJECT), RENT])
        mine, theirs = found[project_key(PROJECT)].id, found[RENT].id
        postings = ((mine, -2_000_000), (theirs, 2_000_000))
        ledger.post(tx, [EntryDraft("rent:con_1.1", EntryKind.RENT, HOUR_0, postings)])

    inline_database.write_now(others)
    await close_until(inline_database, clock, DAY_0 + 31)
    inline_database.write_now(lambda tx: invoicing.keep_profile(tx, "org_user", BUYER))
    made = inline_database.write_now(ask)
    assert [(one.specification, one.gross_fen, one.quantity_milli) for one in made.lines] == [
        ("zz-1/cpu", 10_80, 3_000),
        ("pol_2", 3_60, 1_000),
        ("跨区差价", 2_00, 1_000),
    ]


async def test_a_month_of_rent_alone_is_invoiced(inline_database: Any, clock: ManualClock) -> None:
    clock.at_ms = HOUR_0
    await top_up(inline_database)

    def rent(tx: Tx) -> None:
        found = ledger.ensure_accounts(tx, [project_key(PROJECT), RENT])
        postings = ((found[project_key(PROJECT)].id, -70_000), (found[RENT].id, 70_000))
        ledger.post(tx, [EntryDraft("rent:con_1.1", EntryKind.RENT, HOUR_0, postings)])

    inline_database.write_now(rent)
    await close_until(inline_database, clock, DAY_0 + 31)
    inline_database.write_now(lambda tx: invoicing.keep_profile(tx, "org_user", BUYER))
    assert inline_database.write_now(ask).gross_fen == 7


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
