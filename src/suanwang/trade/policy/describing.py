"""A programme in words, made from its data: headings and sentences in Chinese or English."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from suanwang.trade.policy.model import (
    Benefit,
    BenefitKind,
    Condition,
    FacilityRule,
    Per,
    Programme,
    Rate,
)
from suanwang.trade.policy.names import name_of


@dataclass(frozen=True, slots=True)
class Section:
    key: str
    heading: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Voice:
    """One language."""

    language: str

    def say(self, zh: str, en: str, **values: object) -> str:
        return (zh if self.language == "zh" else en).format(**values)

    def name(self, one: object) -> str:
        return name_of(str(one), self.language)

    def names(self, some: tuple[object, ...]) -> str:
        return ("、" if self.language == "zh" else ", ").join(self.name(one) for one in some)

    def yuan(self, amount: int) -> str:
        """'100 万元' where it is whole, '1,000,000 yuan' in English."""
        if self.language != "zh":
            return f"{amount:,} yuan"
        if amount % 100_000_000 == 0:
            return f"{amount // 100_000_000} 亿元"
        return f"{amount // 10_000} 万元" if amount % 10_000 == 0 else f"{amount:,} 元"


def describe(programme: Programme, language: str) -> list[Section]:
    """In the order in which one asks: what, for whom, from whom, when, how, with what papers."""
    voice = _Voice(language)
    parts = (
        ("gives", voice.say("给什么", "What it gives"), _gives(programme, voice)),
        ("whom", voice.say("给谁", "For whom"), _whom(programme, voice)),
        ("provider", voice.say("用谁的算力", "Whose compute counts"), _providers(programme, voice)),
        ("when", voice.say("什么时候", "When"), _when(programme, voice)),
        ("how", voice.say("怎么拿", "How it is paid"), _how(programme, voice)),
        ("papers", voice.say("要什么材料", "What evidence"), _papers(programme, voice)),
        ("together", voice.say("能否叠加", "Together with others"), _together(programme, voice)),
        ("back", voice.say("追回", "Clawback"), _back(programme, voice)),
    )
    found = [Section(key, heading, tuple(sentences)) for key, heading, sentences in parts]
    return [one for one in found if one.sentences]


def headline(programme: Programme, language: str) -> str:
    """'20 %' · '至多 30%' · the like: the least and most that it gives."""
    voice = _Voice(language)
    benefit = programme.benefits[0]
    if benefit.kind is BenefitKind.PER_UNIT:
        unit = benefit.unit.of(language) if benefit.unit is not None else ""
        return voice.say("按{unit}定额", "a sum for each {unit}", unit=unit)
    exact = sorted({rate.percent for rate in benefit.rates if rate.percent is not None})
    bounds = [rate.at_most for rate in benefit.rates if rate.at_most is not None]
    if bounds:
        return voice.say("至多 {n}%", "up to {n} %", n=max([*bounds, *exact]))
    if exact:
        return f"{exact[-1]}%" if language == "zh" else f"{exact[-1]} %"
    return voice.say("比例未公布", "rate not published")


def _gives(programme: Programme, voice: _Voice) -> Iterator[str]:
    for benefit in programme.benefits:
        items = voice.names(benefit.items)
        if benefit.kind is BenefitKind.SHARE:
            base = voice.name(benefit.base)
            for rate in benefit.rates:
                yield _rate(rate, items, base, voice)
        elif benefit.kind is BenefitKind.PER_UNIT:
            unit = benefit.unit.of(voice.language) if benefit.unit is not None else ""
            yield voice.say(
                "{items}：每{unit}{sum}。",
                "{items}: {sum} for each {unit}.",
                items=items,
                unit=unit,
                sum=_sum(benefit.unit_yuan, voice),
            )
        else:
            yield voice.say(
                "{items}：银行额度{sum}，不由财政支付。",
                "{items}: a line from a bank, {sum}, which the government does not pay.",
                items=items,
                sum=_sum(benefit.line_yuan, voice),
            )
        yield from _caps(benefit, voice)
    pool = programme.pool.year_yuan
    if pool is not None:
        yield voice.say("每年总额 {sum}。", "{sum} a year for all.", sum=voice.yuan(pool))
    else:
        yield voice.say("总额未公布。", "The pool is not published.")
    total = sum(one.share for one in programme.funders)
    parts = [f"{one.name.of(voice.language)} {one.share}/{total}" for one in programme.funders]
    if len(parts) > 1:
        yield voice.say("出资：{parts}。", "Funded by {parts}.", parts="、".join(parts))
    if programme.milestones:
        one = programme.milestones[0]
        yield voice.say(
            "目标 {target} {metric}，至少 {minimum}。",
            "Target {target} {metric}, {minimum} at least.",
            target=f"{one.target:,}",
            minimum=f"{one.minimum:,}",
            metric=voice.name(one.metric),
        )


def _sum(yuan: int | None, voice: _Voice) -> str:
    if yuan is None:
        return voice.say("金额由审核人填写", "stated by the reviewer")
    return voice.yuan(yuan)


def _rate(rate: Rate, items: str, base: str, voice: _Voice) -> str:
    when = _condition(rate.when, voice)
    if rate.percent is not None:
        share = voice.say("{n}%", "{n} %", n=rate.percent)
    elif rate.at_most is not None and rate.at_least is not None:
        share = voice.say(
            "{low}%–{high}%（由审核人确定）",
            "{low} to {high} % (the reviewer decides)",
            low=rate.at_least,
            high=rate.at_most,
        )
    elif rate.at_most is not None:
        share = voice.say(
            "至多 {n}%（由审核人确定）", "up to {n} % (the reviewer decides)", n=rate.at_most
        )
    else:
        share = voice.say("比例未公布，由审核人填写", "a share that the reviewer states")
    cap = ""
    if rate.entity_year_yuan is not None:
        cap = voice.say(
            "，每年至多 {sum}", ", {sum} a year at most", sum=voice.yuan(rate.entity_year_yuan)
        )
    return voice.say(
        "{items}：{base}的 {share}{when}{cap}。",
        "{items}: {share} of {base}{when}{cap}.",
        items=items,
        base=base,
        share=share,
        when=when,
        cap=cap,
    )


def _condition(when: Condition, voice: _Voice) -> str:
    said = [voice.name(one) for one in (when.card, when.qualification, when.direction) if one]
    said += [voice.name(one) for one in when.sectors]
    if when.min_base_yuan is not None:
        sum_ = voice.yuan(when.min_base_yuan)
        said.append(voice.say("满 {sum}", "from {sum} on", sum=sum_))
    if not said:
        return ""
    return voice.say(
        "（{what}）", " ({what})", what=("、" if voice.language == "zh" else ", ").join(said)
    )


def _caps(benefit: Benefit, voice: _Voice) -> Iterator[str]:
    caps = benefit.caps
    if caps.entity_year_yuan is not None:
        sum_ = voice.yuan(caps.entity_year_yuan)
        yield voice.say("每个单位每年至多 {sum}。", "{sum} a year for one at most.", sum=sum_)
    if caps.entity_year_between_yuan is not None:
        low, high = (voice.yuan(one) for one in caps.entity_year_between_yuan)
        yield voice.say(
            "每个单位的上限在 {low} 至 {high} 之间，由审核人确定。",
            "The cap of each case is from {low} to {high}; the reviewer decides.",
            low=low,
            high=high,
        )
    if caps.entity_years is not None:
        n = caps.entity_years
        yield voice.say("至多 {n} 年。", "For {n} years at most.", n=n)
    if caps.project_yuan is not None:
        sum_ = voice.yuan(caps.project_yuan)
        yield voice.say("每个申报事项至多 {sum}。", "{sum} for one undertaking at most.", sum=sum_)


def _whom(programme: Programme, voice: _Voice) -> Iterator[str]:
    need = programme.entity
    if need.regions:
        yield voice.say(
            "注册在{where}。", "Registered in {where}.", where=voice.names(need.regions)
        )
    else:
        yield voice.say("不限注册地。", "Wherever it is registered.")
    if need.kinds:
        yield voice.say("类型：{what}。", "Kind: {what}.", what=voice.names(need.kinds))
    if need.sizes:
        yield voice.say("规模：{what}。", "Size: {what}.", what=voice.names(need.sizes))
    if need.sectors:
        yield voice.say("行业：{what}。", "Sector: {what}.", what=voice.names(need.sectors))
    if need.qualifications:
        what = voice.names(need.qualifications)
        yield voice.say("资格（其一）：{what}。", "One of: {what}.", what=what)
    if need.max_age_years is not None:
        n = need.max_age_years
        yield voice.say("成立不满 {n} 年。", "Founded less than {n} years ago.", n=n)
    if need.clean_credit:
        yield voice.say("无失信记录。", "No entry of dishonesty.")
    if need.clean_credit_years is not None:
        n = need.clean_credit_years
        yield voice.say("{n} 年内无失信记录。", "No entry of dishonesty for {n} years.", n=n)


def _facility(one: FacilityRule, voice: _Voice) -> str:
    more = ""
    if one.min_pflops is not None:
        more = f" ≥{one.min_pflops:,} PFLOPS"
    if one.min_racks is not None:
        racks = voice.say("标准机架", "racks")
        more += f" ≥{one.min_racks:,} {racks}"
    return voice.name(one.kind) + more


def _providers(programme: Programme, voice: _Voice) -> Iterator[str]:
    need = programme.provider
    join = "；" if voice.language == "zh" else "; "
    if need.facilities:
        yield join.join(_facility(one, voice) for one in need.facilities) + voice.say("。", ".")
    if need.named:
        yield join.join(need.named) + voice.say("。", ".")
    if need.on_platform:
        yield voice.say("须在平台上下单。", "Ordered on the platform.")
    if need.not_self:
        yield voice.say("自建自用不算。", "Own machines for own use do not count.")
    if need.non_affiliated:
        yield voice.say("与服务方无关联关系。", "Not affiliated with the provider.")
    if need.metering_logs:
        yield voice.say("服务方有计量日志。", "The provider keeps metering logs.")


def _day(one: date | None) -> str:
    return one.isoformat() if one is not None else "…"


def _when(programme: Programme, voice: _Voice) -> Iterator[str]:
    window = programme.window
    if window.apply_from is not None or window.apply_until is not None:
        span = f"{_day(window.apply_from)} – {_day(window.apply_until)}"
        yield voice.say("受理：{span}。", "Applications: {span}.", span=span)
    if window.use_from is not None or window.use_until is not None:
        span = f"{_day(window.use_from)} – {_day(window.use_until)}"
        yield voice.say("合同：{span}。", "Contracts: {span}.", span=span)
    if window.retroactive:
        yield voice.say("可追溯。", "What was done before counts, too.")
    expiry = programme.expiry
    if expiry.days is not None:
        yield voice.say("发放后 {n} 天内有效。", "Valid for {n} days.", n=expiry.days)
    elif expiry.on is not None:
        yield voice.say("有效至 {day}。", "Valid until {day}.", day=expiry.on.isoformat())
    elif expiry.required:
        yield voice.say("有期限，由审核人填写。", "It expires; the reviewer says when.")
    else:
        yield voice.say("有效期未公布。", "When it expires is not published.")


def _how(programme: Programme, voice: _Voice) -> Iterator[str]:
    key = f"mode_{programme.mode.value}"
    yield voice.name(key)
    yield voice.name(f"payee_{programme.payee.value}")


def _papers(programme: Programme, voice: _Voice) -> Iterator[str]:
    wanted = dict.fromkeys(programme.evidence)
    if wanted:
        yield voice.names(tuple(wanted)) + voice.say("。", ".")
    for benefit in programme.benefits:
        if benefit.evidence:
            items, papers = voice.names(benefit.items), voice.names(benefit.evidence)
            yield voice.say("{i}：{p}。", "{i}: {p}.", i=items, p=papers)


def _together(programme: Programme, voice: _Voice) -> Iterator[str]:
    stacking = programme.stacking
    if not stacking.with_others:
        yield voice.say("不与其他政策叠加。", "Not together with other programmes.")
    elif stacking.combined_percent < 100:
        n = stacking.combined_percent
        yield voice.say("各项合计至多 {n}%。", "All together {n} % at most.", n=n)
    else:
        yield voice.say(
            "可与其他政策叠加，合计不超过费用。", "Together with others, up to the whole charge."
        )
    for one in programme.exclusive:
        if one.per is Per.CONTRACT:
            yield voice.say("同一合同只支持一次。", "A contract is helped once.")
        elif one.per is Per.DIRECTION:
            yield voice.say("每个单位只支持一个方向。", "A unit is helped in one direction only.")
        else:
            yield voice.say(
                "同组（{group}）只能享受一项。", "Only one of the group {group}.", group=one.group
            )


def _back(programme: Programme, voice: _Voice) -> Iterator[str]:
    terms = programme.clawback
    if terms is None:
        yield voice.say("已读文本未写明。", "Not told in the text that was read.")
        return
    yield voice.names(terms.grounds) + voice.say("。", ".")
    if terms.within_days is not None:
        yield voice.say("{n} 天内。", "Within {n} days.", n=terms.within_days)
