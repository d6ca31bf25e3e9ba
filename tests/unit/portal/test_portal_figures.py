"""Figures for people, sentences in Chinese, and the submit form's two sides."""

from __future__ import annotations

import pytest

from suanwang.edge.portal import formats, reasons, spec_form
from suanwang.edge.portal.rendering import own_path
from suanwang.edge.portal.routes_statement import plain, told
from suanwang.edge.portal.why import candidate_rows
from suanwang.grid.jobs.spec import JobSpec
from suanwang.kernel.errors import Conflict, InvalidInput
from suanwang.trade.ledger.model import AccountLine, EntryKind


@pytest.mark.parametrize(
    ("micro", "decimals", "shown"),
    [
        (1_234_560_000, 2, "¥1,234.56"),
        (0, 4, "¥0.00"),
        (28, 4, "¥0.000028"),
        (283_000, 4, "¥0.2830"),
        (-1_500_000, 2, "\u2212¥1.50"),
        (4_000, 2, "¥0.0040"),
        (7_584_768_000, 4, "¥7,584.77"),
    ],
)
def test_money(micro: int, decimals: int, shown: str) -> None:
    assert formats.yuan(micro, decimals) == shown


@pytest.mark.parametrize(
    ("ms", "chinese", "english"),
    [
        (0, "0 秒", "0 s"),
        (1_440, "1.4 秒", "1.4 s"),
        (59_600, "1 分", "1 min"),
        (3_900_000, "1 小时 5 分", "1 h 5 min"),
        (3_600_000 + 5_000, "1 小时", "1 h"),
        (90_000_000, "1 天 1 小时", "1 d 1 h"),
    ],
)
def test_durations(ms: int, chinese: str, english: str) -> None:
    assert formats.duration(ms) == chinese
    assert formats.duration(ms, "en") == english


def test_instants_are_those_of_shanghai() -> None:
    assert formats.instant(1_795_456_800_000) == "2026-11-24 02:00:00"
    assert formats.instant(None) == "–"
    now = 1_795_456_800_000
    assert formats.ago(now - 125_000, now) == "2 分前"
    assert formats.ago(now + 7_200_000, now, "en") == "in 2 h"
    assert formats.ago(now - 900, now) == "刚刚"


def test_sizes() -> None:
    assert formats.memory(0) == "0"
    assert formats.memory(1536) == "1.5 GiB"
    assert formats.memory(22_020_096) == "21 TiB"
    assert formats.size(1023) == "1023 B"
    assert formats.size(1 << 40) == "1 TiB"
    assert formats.milli(1_500) == "1.5"
    assert formats.percent(1, 0) == 0


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        (
            "pool_0123456789abcdef has no room for 6 x (8 cards, 64 cores, 512 GiB memory) now",
            "资源池 hami/cpu 现在放不下 6 个成员（每个 8 卡、64 核、512 GiB 内存）",
        ),
        (
            "AcceleratorModelMissing: pool p has A800, you asked for H100",
            "没有所需型号的加速卡：资源池 p 有 A800，您要求 H100",
        ),
        ("largest node has 64 cores, you asked 100", "最大的主机有 64 核，您要求 100"),
        ("declare a run time of at most 90 min", "把最长运行时间申报为至多 90 分钟"),
        ("ask for at most 4 cards instead of 8", "把 8 卡 减到至多 4 卡"),
        ("something nobody has said before", "something nobody has said before"),
    ],
)
def test_sentences_of_the_core(english: str, chinese: str) -> None:
    names = {"pool_0123456789abcdef": "hami/cpu"}
    assert reasons.sentence("zh", english, names) == chinese


def test_english_stays_with_names_for_ids() -> None:
    said = reasons.sentence(
        "en", "site_0123456789abcdef does not answer", {"site_0123456789abcdef": "hami"}
    )
    assert said == "hami does not answer"


def test_problems_name_reason_field_and_hint() -> None:
    error = Conflict("SiteNameTaken", "There is a site named 'x' already.", hint="Choose another.")
    shown = reasons.problem("zh", error)
    assert shown.title == "已有同名的算力节点"
    assert shown.hint == "换一个名称，或先移除原来的。"
    assert reasons.problem("en", error).hint == "Choose another."
    unknown = reasons.problem("zh", Conflict("NeverHeardOf", "It is so.", hint="Wait."))
    assert (unknown.title, unknown.hint) == ("状态不允许", "Wait.")


def test_fields_and_specification_follow_each_other() -> None:
    spec = spec_form.parse(
        "name: a\ncommand: run\nresources: {cpus: 4, memory: 8GiB, accelerators: 'A800:2'}\n"
        "retries: {max: 2}\noutputs: {out: out.txt}\n"
    )
    fields = spec_form.fields_of(spec)
    assert (fields["cpus"], fields["model"], fields["cards"]) == ("4", "A800", "2")
    made = spec_form.merged(spec, {**fields, "cpus": "8", "region": "henan, gansu", "array": "3"})
    assert made["retries"] == {"max": 2}
    assert made["outputs"] == {"out": "out.txt"}
    assert made["constraints"] == {"regions": ["henan", "gansu"]}
    checked = JobSpec.model_validate(made)
    assert checked.resources.cpus == 8
    assert checked.resources.accelerators is not None
    assert checked.resources.accelerators.count == 2
    assert spec_form.fields_of(spec_form.parse(spec_form.text_of(made)))["array"] == "3"


def test_an_emptied_field_takes_its_entry_away() -> None:
    made = spec_form.merged(
        {"name": "a", "command": "x", "resources": {"accelerators": {"count": 2}}, "array": 4},
        {"name": "a", "command": "x", "cards": "", "array": ""},
    )
    assert made == {"name": "a", "command": "x"}


def test_what_is_not_a_specification_is_refused_with_the_line() -> None:
    with pytest.raises(InvalidInput, match="line 2"):
        spec_form.parse("name: a\n  b: [")
    with pytest.raises(InvalidInput):
        spec_form.parse("- a\n- b")


def test_errors_find_their_field() -> None:
    assert spec_form.field_of("resources.memory") == "memory"
    assert spec_form.field_of("resources.accelerators.count") == "cards"
    assert spec_form.field_of("retries.max") == "spec"
    assert spec_form.field_of("") == "spec"


@pytest.mark.parametrize(
    "text", ["//evil.example", "/\\evil", "https://evil", "", "/a\r\nX: y", "javascript:1"]
)
def test_only_own_paths_are_gone_to(text: str) -> None:
    assert own_path(text) == "/"


def test_own_paths_stay() -> None:
    assert own_path("/jobs?state=running") == "/jobs?state=running"


def test_no_cell_is_a_formula() -> None:
    assert plain("=1+1") == "'=1+1"
    assert plain("训练") == "训练"


def test_details_of_the_audit_log() -> None:
    entry = {"kinds": ["consumer", "provider"], "amount_micro_yuan": 5_000_000, "project": None}
    assert formats.detail(entry) == "kinds=consumer,provider amount=¥5.00 project=–"
    assert formats.detail({"jobs": 1, "verify": True}) == "jobs=1 verify=True"


def test_places_south_and_west() -> None:
    assert formats.place(34.75, 113.62) == "113.62°E, 34.75°N"
    assert formats.place(-33.45, -70.67) == "70.67°W, 33.45°S"


def test_a_top_up_is_known_by_its_payment() -> None:
    def line(kind: EntryKind, description: str, key: str) -> AccountLine:
        return AccountLine("ent_1", kind, 0, 1, description, key, None)

    assert told(line(EntryKind.TOP_UP, "", "top_up:prj_1:ICBC:7")) == "ICBC:7"
    assert told(line(EntryKind.TOP_UP, "误入", "top_up:prj_1:ICBC:7")) == "误入"
    assert told(line(EntryKind.REVERSAL, "", "reversal:ent_0")) == "–"


def test_where_it_can_never_run_there_is_no_wait_and_no_cost() -> None:
    view = {
        "reason": "AcceleratorModelMissing",
        "detail": "",
        "rate_micro_yuan_per_hour": 8_192_000,
        "expected_wait_s": 0,
        "cost_at_most_micro_yuan": 8_192_000,
        "expected_cost_micro_yuan": 832_000,
        "score": {"total": 832_000},
    }
    never, busy, open_ = candidate_rows(
        "en", [view, {**view, "reason": "NoFreeCapacityNow"}, {**view, "reason": None}], {}
    )
    assert never["rate"] == 8_192_000
    assert [never[key] for key in ("wait_s", "cost", "expected_cost", "score")] == [None] * 4
    assert busy["wait_s"] == open_["wait_s"] == 0
    assert open_["score"] == 832_000


def test_books_are_exact_and_their_points_stand_below_each_other() -> None:
    amounts = [-1_012_445_670_000, 1_012_445_669_943, 57]
    decimals = formats.exact_decimals(amounts)
    shown = [formats.exact(one, decimals) for one in amounts]
    assert shown == ["\u2212¥1,012,445.670000", "¥1,012,445.669943", "¥0.000057"]
    assert formats.exact_decimals([]) == formats.exact_decimals([1_230_000]) == 2
    assert formats.exact(1_234_500, formats.exact_decimals([1_234_500])) == "¥1.2345"


def test_retries_on_is_read_and_written_as_it_is_documented() -> None:
    found = spec_form.parse("command: x\nretries: {max: 1, on: [exit]}\npreemptible: yes")
    spec = JobSpec.model_validate(found)
    assert list(spec.retries.on) == ["exit"]
    assert spec.preemptible
    assert spec_form.parse(spec_form.text_of(found)) == found
