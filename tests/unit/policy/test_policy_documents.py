"""Documents are read strictly, and told in words in both languages."""

from __future__ import annotations

import re

import pytest

from policy_world import document
from suanwang.kernel.errors import InvalidInput
from suanwang.trade.policy import describing, documents, wording
from suanwang.trade.policy.model import Evidence, Ground, Item, Mode, Payee, Programme
from suanwang.trade.policy.names import NAMES
from suanwang.trade.policy.rules import Reason, Refusal

GOOD = (documents.FOLDER / "henan.yaml").read_text(encoding="utf-8")
CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ("mode: voucher", "mode: voucher\ncolour: red", "colour"),
        ("{entity_year_yuan: 1_000_000}", "{entity_yearly: 1}", "benefits[0].caps.entity_yearly"),
        ("mode: voucher", "mode: gift", "mode"),
        ("{percent: 20}", "{percent: 120}", "benefits[0].rates[0].percent"),
        ("{percent: 20}", "{percent: 20.5}", "benefits[0].rates[0].percent"),
        ("{percent: 20}", "{percent: 20, at_most: 30}", "benefits[0].rates[0].at_most"),
        ("{percent: 20}", "{at_most: 30}", "benefits[0].rates[0]"),
        ("share: 1}", "share: 0}", "funders.share"),
        ("id: henan", "id: Henan!", "id"),
        ("version: 1", "version: 0", "version"),
        ("year_yuan: 50_000_000", "year_yuan: -5", "pool"),
        ("year_yuan: 50_000_000", "year_yuan: 99999999999999999999", "pool"),
        ("published: 2023-07-28", "published: yesterday", "source.published"),
        ("id: henan", "id: [", "document"),
        ("items: [compute, training]", "items: [compute, compute]", "benefits.items"),
        ("id: city", "id: province", "funders"),
        ("kind: share", "kind: line", "benefits[0].rates"),
    ],
)
def test_a_mistake_is_refused_at_its_field(before: str, after: str, field: str) -> None:
    assert before in GOOD
    with pytest.raises(InvalidInput) as refusal:
        documents.read(GOOD.replace(before, after))
    assert refusal.value.reason == "InvalidProgramme"
    assert (refusal.value.field or "").startswith(field), refusal.value.field


@pytest.mark.parametrize("text", ["", "- 1", "just words", "x" * 70_000, "a: &a [*a]"])
def test_what_is_no_programme_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        documents.read(text)


@pytest.mark.parametrize("one", documents.shipped(), ids=lambda one: one.id)
def test_each_is_told_in_both_languages_with_its_source(one: Programme) -> None:
    chinese, english = describing.describe(one, "zh"), describing.describe(one, "en")
    assert [part.key for part in chinese] == [part.key for part in english]
    for zh, en in zip(chinese, english, strict=True):
        assert len(zh.sentences) == len(en.sentences)
    told = [text for part in english if part.key != "provider" for text in part.sentences]
    assert not [text for text in told if CHINESE.search(text)]
    assert all(CHINESE.search(text) for part in chinese for text in part.sentences)
    assert describing.headline(one, "zh")
    assert describing.headline(one, "en")
    assert one.source.citation


def test_each_lies_in_a_file_of_its_name() -> None:
    assert {one.id for one in documents.shipped()} == documents.shipped_ids()
    assert len(documents.shipped_ids()) >= 22


def test_the_words_follow_the_data() -> None:
    told = {part.key: part.sentences for part in describing.describe(document("henan"), "zh")}
    assert "算力、训练：合同的 20%。" in told["gives"]
    assert "每个单位每年至多 100 万元。" in told["gives"]
    assert "每年总额 5000 万元。" in told["gives"]
    assert "出资：省级财政 1/2、市级财政 1/2。" in told["gives"]


@pytest.mark.parametrize("reason", Reason)
def test_every_refusal_has_its_words_and_what_to_do(reason: Reason) -> None:
    class Anything(dict[str, str]):
        def __missing__(self, key: str) -> str:
            return key

    for language in ("zh", "en"):
        message, hint = wording.texts(reason, language)
        assert message.format_map(Anything())
        assert hint.format_map(Anything())
        assert bool(CHINESE.search(message)) is (language == "zh")


def test_values_are_told_by_name() -> None:
    one = Refusal(Reason.WRONG_REGION, (("wanted", "henan/zhengzhou"), ("found", "mars")))
    assert wording.refusal(one, "zh").message == "须注册在 河南郑州，贵单位登记为 mars。"
    assert "Zhengzhou, Henan" in wording.refusal(one, "en").message


def test_every_value_of_a_document_has_a_name() -> None:
    words = [one.value for kind in (Item, Mode, Evidence, Ground) for one in kind]
    words += [f"payee_{one.value}" for one in Payee] + [f"mode_{one.value}" for one in Mode]
    assert [one for one in words if one not in NAMES] == []
    places = {place for one in documents.shipped() for place in one.entity.regions}
    assert sorted(places - NAMES.keys()) == []
