"""Reasons and programmes in words, Chinese and English, made from the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from suanwang.trade.policy.names import name_of
from suanwang.trade.policy.rules import Reason, Refusal


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence and what to do."""

    message: str
    hint: str


_TEXTS: Mapping[Reason, tuple[tuple[str, str], tuple[str, str]]] = {
    Reason.ITEM_NOT_COVERED: (
        ("本政策不支持“{item}”。", "请选择政策列明的支持内容。"),
        ("This programme does not cover {item}.", "Choose one of the items that it names."),
    ),
    Reason.WRONG_REGION: (
        (
            "须注册在 {wanted}，贵单位登记为 {found}。",
            "注册地有误请修改单位资料；否则请看本地政策。",
        ),
        (
            "It is for those registered in {wanted}; your profile says {found}.",
            "Correct the profile if that is wrong, else look for a programme of your place.",
        ),
    ),
    Reason.WRONG_KIND: (
        ("不面向此类单位（{found}）。", "请核对单位资料中的类型。"),
        ("It is not for organisations of the kind {found}.", "Check the kind in your profile."),
    ),
    Reason.SIZE_UNKNOWN: (
        ("单位资料未填规模。", "请填写规模（微型、小型、中型、大型）。"),
        ("Your profile does not say how large you are.", "State the size class in your profile."),
    ),
    Reason.WRONG_SIZE: (
        ("规模不符（{found}）。", "请核对单位资料中的规模。"),
        ("It is not for enterprises of the size {found}.", "Check the size in your profile."),
    ),
    Reason.WRONG_SECTOR: (
        ("行业须为 {wanted}，贵单位登记为 {found}。", "请核对单位资料中的行业。"),
        (
            "It is for the sectors {wanted}; your profile says {found}.",
            "Check the sector in your profile.",
        ),
    ),
    Reason.NOT_QUALIFIED: (
        ("须具备以下资格之一：{wanted}。", "取得资格后写入单位资料并请审核。"),
        (
            "One of these is needed: {wanted}.",
            "Add the qualification to your profile once you have it.",
        ),
    ),
    Reason.FOUNDED_UNKNOWN: (
        ("单位资料未填成立日期。", "请填写成立日期。"),
        ("Your profile does not say when you were founded.", "State the day in your profile."),
    ),
    Reason.TOO_OLD: (
        ("成立已超过 {years} 年。", "请看不限成立年限的政策。"),
        ("It is for the first {years} years after founding.", "Look for one without this limit."),
    ),
    Reason.DISHONEST: (
        ("{years} 年内有失信记录。", "{clean_from} 起可再申领。"),
        (
            "There is an entry of dishonesty within {years} years.",
            "You may apply from {clean_from} on.",
        ),
    ),
    Reason.DISHONEST_EVER: (
        ("存在失信记录。", "修复信用后请审核人更新资料。"),
        ("There is an entry of dishonesty.", "Have it lifted, then ask the reviewer to note that."),
    ),
    Reason.PROVIDER_MISSING: (
        ("未说明由谁提供。", "请填写服务方。"),
        ("It is not said who provides it.", "Name the provider."),
    ),
    Reason.PROVIDER_NOT_LISTED: (
        ("服务方 {name} 不在支持范围（{wanted}）。", "请选择政策认可的服务方。"),
        (
            "{name} is not one of the providers that count ({wanted}).",
            "Choose a provider that the programme accepts.",
        ),
    ),
    Reason.PROVIDER_TOO_SMALL: (
        (
            "服务方 {name} 规模不足（{pflops} PFLOPS、{racks} 标准机架）。",
            "请选择达到规模的服务方。",
        ),
        (
            "{name} is too small ({pflops} PFLOPS, {racks} racks).",
            "Choose a provider that is large enough.",
        ),
    ),
    Reason.PROVIDER_IS_SELF: (
        ("自建自用不予支持。", "请使用他人提供的算力。"),
        ("Own machines for own use do not count.", "Use another provider's compute."),
    ),
    Reason.PROVIDER_AFFILIATED: (
        ("服务方 {name} 与贵单位存在关联。", "请选择无关联的服务方。"),
        ("{name} is affiliated with you.", "Choose a provider that is not."),
    ),
    Reason.NO_METERING_LOGS: (
        ("服务方 {name} 无计量日志。", "请选择有计量日志的服务方。"),
        ("{name} keeps no metering logs.", "Choose a provider that does."),
    ),
    Reason.BELOW_MILESTONE: (
        ("规模至少 {minimum}，现为 {found}。", "达到最低规模后再申领。"),
        ("At least {minimum} is needed; there is {found}.", "Apply once it is reached."),
    ),
    Reason.NOT_OPEN_YET: (
        ("{day} 起受理。", "请届时申领。"),
        ("Applications open on {day}.", "Apply then."),
    ),
    Reason.CLOSED: (
        ("已于 {day} 截止。", "请等待下一批。"),
        ("Applications closed on {day}.", "Wait for the next call."),
    ),
    Reason.SIGNED_ON_MISSING: (
        ("未填签订日期。", "请填写合同签订日期。"),
        ("It is not said when the contract was signed.", "State the day."),
    ),
    Reason.OUTSIDE_WINDOW: (
        ("签订日期 {day} 不在 {since} 至 {until} 之间。", "请使用期内合同。"),
        (
            "Signed on {day}, which is outside {since} to {until}.",
            "Use a contract from within.",
        ),
    ),
    Reason.NOT_RETROACTIVE: (
        ("不追溯 {day} 之前的合同。", "请使用之后签订的合同。"),
        ("Contracts from before {day} do not count.", "Use one that was signed later."),
    ),
    Reason.EVIDENCE_MISSING: (
        ("缺少材料：{kind}。", "请补充该材料的编号或文件。"),
        ("Evidence is missing: {kind}.", "Give its number or file."),
    ),
    Reason.CONTRACT_MISSING: (
        ("未填合同编号。", "请填写合同编号：同一合同只支持一次。"),
        ("The contract's number is missing.", "State it: a contract is helped once."),
    ),
    Reason.PROJECT_REFERENCE_MISSING: (
        ("未填项目编号。", "请填写项目编号：金额按项目封顶。"),
        ("The undertaking's reference is missing.", "State it: what it may get is capped."),
    ),
    Reason.PROFILE_NOT_VERIFIED: (
        ("单位资料未经核实。", "请先核实并保存单位资料，再发放。"),
        (
            "Nobody has verified the profile as it is now.",
            "Verify it first: an operator's `suan org profile` does, or its page.",
        ),
    ),
    Reason.PROVIDER_NOT_VERIFIED: (
        ("服务方 {name} 的资料未经核实。", "请运营方核实服务方资料。"),
        (
            "Nobody has verified what the provider {name} says of itself.",
            "Ask the operator to verify its profile.",
        ),
    ),
    Reason.CONTRACT_ALREADY_HELPED: (
        ("合同 {contract} 已享受过支持。", "同一合同不得重复申领。"),
        ("The contract {contract} has been helped before.", "A contract is helped once."),
    ),
    Reason.EXCLUDED_BY_OTHER: (
        ("已享受同组（{group}）的其他支持。", "同组政策只能享受一项。"),
        ("You have been helped within the group {group}.", "Only one of a group can be had."),
    ),
    Reason.YEARS_USED_UP: (
        ("已享受满 {years} 年。", "不再受理。"),
        ("{years} years have been used.", "It ends with that."),
    ),
    Reason.CAP_REACHED: (
        ("已达上限 {cap} 元。", "请待下一年度。"),
        ("The cap of {cap} yuan has been reached.", "Wait for the next year."),
    ),
    Reason.NO_RATE: (
        ("没有适用的支持比例。", "请核对资格与卡的类别。"),
        ("No rate applies to this case.", "Check qualifications and the kind of card."),
    ),
    Reason.FIGURE_OUT_OF_BOUNDS: (
        ("数值超出政策允许范围。", "请填写政策允许的数值。"),
        ("The figure is outside what the text allows.", "State one that it allows."),
    ),
    Reason.BUDGET_EXHAUSTED: (
        ("本年度额度已用完。", "请等待追加或下一年度。"),
        ("This year's budget is used up.", "Wait for more, or for the next year."),
    ),
    Reason.BUDGET_NOT_OPEN: (
        ("本年度额度尚未开启。", "请运营方录入额度。"),
        ("This year's budget has not been opened.", "The operator opens it with a figure."),
    ),
}


def texts(reason: Reason, language: str) -> tuple[str, str]:
    """Sentence and what to do, with blanks."""
    chinese, english = _TEXTS[reason]
    return chinese if language == "zh" else english


def refusal(one: Refusal, language: str) -> Said:
    message, hint = texts(one.reason, language)
    # values that have names are told by name: a kind, a size, a paper, a region
    values = {
        key: ("、" if language == "zh" else ", ").join(
            name_of(v, language) for v in text.split("、")
        )
        for key, text in one.values
    }
    return Said(message.format(**values), hint.format(**values))
