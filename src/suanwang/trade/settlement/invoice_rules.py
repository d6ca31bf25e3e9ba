"""Decisions about invoices: tax parties and their codes, lines and tax, capitals, the data file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Any
from xml.etree import ElementTree

import msgspec

from suanwang.kernel.errors import InvalidInput, require
from suanwang.kernel.money import allot, scale
from suanwang.trade.billing.model import ReportLine
from suanwang.trade.settlement.model import Invoice, InvoiceLine, TaxParty

MICRO_PER_FEN = 10_000
TAX_PERCENTS = (0, 1, 3, 5, 6, 9, 13)
ITEM = "*信息技术服务*算力服务"
NUMBER = re.compile(r"\d{8,20}")

_CODE = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CODE_FORM = re.compile(rf"[{_CODE}]{{2}}\d{{6}}[{_CODE}]{{10}}")
_DIGITS = "零壹贰叁肆伍陆柒捌玖"
_PLACES = ("", "拾", "佰", "仟")
_GROUPS = ("", "万", "亿", "万亿")


def check_digit(code: str) -> str:
    """Of the first 17 characters of a 统一社会信用代码 (GB 32100-2015, ISO 7064 with base 31)."""
    total = sum(_CODE.index(sign) * pow(3, place, 31) for place, sign in enumerate(code[:17]))
    return _CODE[-total % 31]


def check_code(code: str, field: str = "code") -> str:
    code = code.strip().upper()
    if not _CODE_FORM.fullmatch(code) or check_digit(code) != code[17]:
        raise InvalidInput(
            "InvalidCreditCode",
            f"{code!r} is no unified social credit code.",
            hint="Give its 18 characters; the last one checks the others (GB 32100-2015).",
            field=field,
        )
    return code


def check_party(party: TaxParty) -> TaxParty:
    name = party.name.strip()
    if not 2 <= len(name) <= 100:
        raise InvalidInput(
            "InvalidBuyerName",
            "The name must have 2 to 100 characters.",
            hint="As on the business licence.",
            field="name",
        )
    return msgspec.structs.replace(party, name=name, code=check_code(party.code))


def check_number(number: str) -> str:
    if not NUMBER.fullmatch(number):
        raise InvalidInput(
            "InvalidInvoiceNumber",
            f"{number!r} is no invoice number.",
            hint="Give its 8 to 20 digits.",
            field="number",
        )
    return number


def check_date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise InvalidInput(
            "InvalidDate",
            f"{text!r} is not a date.",
            hint="Write it as 2026-11-23.",
            field="issued_on",
        ) from None


def check_tax(percent: int) -> int:
    if percent not in TAX_PERCENTS:
        raise InvalidInput(
            "InvalidTaxRate",
            f"There is no tax rate of {percent} %.",
            hint=f"Give one of {', '.join(map(str, TAX_PERCENTS))}.",
            field="tax_percent",
        )
    return percent


def lines_of(
    report: Sequence[ReportLine], names: Sequence[str], left_micro: int, tax_percent: int
) -> tuple[InvoiceLine, ...]:
    """What is left of a month, in whole fen, over the pools in proportion to their charges.

    What is less than a fen stays. Prices include the tax: net is rounded once for a line, the tax
    is the rest, so that every sum holds.
    """
    kept = [
        (line, name) for line, name in zip(report, names, strict=True) if line.amount_micro_yuan > 0
    ]
    total_fen = left_micro // MICRO_PER_FEN
    if total_fen <= 0 or not kept:
        raise InvalidInput(
            "NothingToInvoice",
            "Nothing of this month is left to be invoiced.",
            hint="What was paid for is invoiced already, or was given back.",
            field="month",
        )
    parts = allot(total_fen, [line.amount_micro_yuan for line, _ in kept])
    return tuple(
        _line(line, name, gross, tax_percent)
        for (line, name), gross in zip(kept, parts, strict=True)
        if gross
    )


def _line(line: ReportLine, name: str, gross: int, tax_percent: int) -> InvoiceLine:
    used = line.quantities
    by_card = used.accelerator_milli_seconds > 0
    milli_seconds = used.accelerator_milli_seconds if by_card else used.core_milli_seconds
    # what is not measured in hours, such as rent, is one of a thing
    timed = used.billable_seconds > 0 or milli_seconds > 0
    unit = "卡时" if by_card else "核时"
    net = scale(gross, 100, 100 + tax_percent)
    return InvoiceLine(
        item=ITEM,
        specification=name,
        unit=unit if timed else "项",
        quantity_milli=scale(milli_seconds, 1, 3_600) if timed else 1_000,
        gross_fen=gross,
        net_fen=net,
        tax_fen=gross - net,
    )


def sums(lines: Sequence[InvoiceLine]) -> tuple[int, int, int]:
    """(gross, net, tax) in fen."""
    gross = sum(line.gross_fen for line in lines)
    net = sum(line.net_fen for line in lines)
    tax = sum(line.tax_fen for line in lines)
    require(gross == net + tax, "TaxDoesNotAddUp", f"{net} + {tax} fen is not {gross} fen.")
    return gross, net, tax


def capitals(fen: int) -> str:
    """大写: 1_234_50 -> 壹仟贰佰叁拾肆元伍角整."""
    sign = "负" if fen < 0 else ""
    yuan, rest = divmod(abs(fen), 100)
    jiao, cents = divmod(rest, 10)
    text = f"{_whole(yuan)}元" if yuan else ""
    if not rest:
        return f"{sign}{text or '零元'}整"
    if jiao:
        text += f"{_DIGITS[jiao]}角"
    elif yuan:
        text += "零"
    return sign + (f"{text}{_DIGITS[cents]}分" if cents else f"{text}整")


def _whole(number: int) -> str:
    """One 零 stands for any run of zeros inside; a group of four that is nothing is not named."""
    digits = str(number)
    text, skipped = "", False
    for at, digit in enumerate(digits):
        place = len(digits) - 1 - at
        if digit == "0":
            skipped = True
        else:
            text += ("零" if skipped and text else "") + _DIGITS[int(digit)] + _PLACES[place % 4]
            skipped = False
        if place and place % 4 == 0 and int(digits[max(0, at - 3) : at + 1]):
            text += _GROUPS[place // 4]
    return text


# --- the data file -----------------------------------------------------------------------------


def fen_text(fen: int) -> str:
    """'-1234.50'."""
    yuan, rest = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}{yuan}.{rest:02d}"


def data_of(invoice: Invoice, original: Invoice | None) -> dict[str, Any]:
    """What a tax channel needs, under the names of the fields of an electronic invoice."""
    return {
        "申请编号": invoice.id,
        "发票类型": "红字" if invoice.reverses else "蓝字",
        "发票号码": invoice.number,
        "开票日期": invoice.issued_on,
        "购买方信息": _party(invoice.buyer),
        "销售方信息": _party(invoice.seller),
        "项目": [
            {
                "项目名称": line.item,
                "规格型号": line.specification,
                "单位": line.unit,
                "数量": _thousandths(line.quantity_milli) if line.quantity_milli else "",
                "单价": _unit_price(line),
                "金额": fen_text(line.net_fen),
                "税率": f"{invoice.tax_percent}%",
                "税额": fen_text(line.tax_fen),
            }
            for line in invoice.lines
        ],
        "合计金额": fen_text(invoice.net_fen),
        "合计税额": fen_text(invoice.tax_fen),
        "价税合计小写": fen_text(invoice.gross_fen),
        "价税合计大写": capitals(invoice.gross_fen),
        "备注": invoice.remark,
        "开票人": invoice.issued_by,
        "红字": None
        if original is None
        else {
            "原申请编号": original.id,
            "原发票号码": original.number,
            "冲红范围": "全部" if invoice.gross_fen == -original.gross_fen else "部分",
            "原因": invoice.red_reason.value if invoice.red_reason else "",
        },
    }


def _party(party: TaxParty) -> dict[str, str]:
    return {
        "名称": party.name,
        "统一社会信用代码": party.code,
        "地址": party.address,
        "电话": party.phone,
        "开户行": party.bank,
        "账号": party.bank_account,
        "邮箱": party.email,
    }


def _thousandths(milli: int) -> str:
    whole, rest = divmod(abs(milli), 1_000)
    return f"{'-' if milli < 0 else ''}{whole}.{rest:03d}"


def _unit_price(line: InvoiceLine) -> str:
    """Yuan without tax, six decimals; it explains the amount, which is what counts."""
    if not line.quantity_milli:
        return ""
    micro = scale(abs(line.net_fen) * MICRO_PER_FEN, 1_000, abs(line.quantity_milli))
    return f"{micro // 1_000_000}.{micro % 1_000_000:06d}"


def xml_of(data: dict[str, Any]) -> bytes:
    root = ElementTree.Element("开票申请")
    _append(root, data)
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _append(parent: ElementTree.Element, data: dict[str, Any]) -> None:
    for name, value in data.items():
        if isinstance(value, list):
            for one in value:
                _append(ElementTree.SubElement(parent, name), one)
        elif isinstance(value, dict):
            _append(ElementTree.SubElement(parent, name), value)
        elif value is not None:
            ElementTree.SubElement(parent, name).text = _xml_text(str(value))


def _xml_text(text: str) -> str:
    """XML has no control characters."""
    return "".join(sign for sign in text if sign >= " " or sign in "\t\n")
