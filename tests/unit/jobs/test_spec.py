"""The job specification at the edge: what is taken, what is refused and in which words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from suanwang.grid.jobs.spec import MAX_ENV, MAX_TEXT, JobSpec
from suanwang.kernel.errors import InvalidInput

DIGEST = "sha256:" + "a" * 64


def refused(**fields: Any) -> str:
    """The words of the refusal."""
    given = {"argv": ["true"], **fields}
    given = {key: value for key, value in given.items() if value is not ...}
    with pytest.raises((ValidationError, InvalidInput)) as caught:
        JobSpec.model_validate(given)
    return str(caught.value)


def taken(**fields: Any) -> JobSpec:
    given = {"argv": ["true"], **fields}
    return JobSpec.model_validate({k: v for k, v in given.items() if v is not ...})


# --- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "guess"),
    [
        ({"comand": "x"}, "'command'"),
        ({"max_runtme": 3}, "'max_runtime'"),
        ({"resources": {"cpu": 1}}, "'cpus'"),
        ({"resources": {"accelerators": {"modle": "A100"}}}, "'model'"),
        ({"partition": {"lost_afer": 60}}, "'lost_after'"),
        ({"retries": {"maxx": 1}}, "'max'"),
        ({"constraints": {"region": "henan"}}, "'regions'"),
        ({"outputs": {"r": {"pth": "x"}}}, "'path'"),
        ({"inputs": {"d": {"path": "x", "digest": DIGEST, "treee": True}}}, "'tree'"),
    ],
)
def test_unknown_fields_are_named_with_a_guess(fields: dict[str, Any], guess: str) -> None:
    assert f"did you mean {guess}" in refused(**fields)


def test_a_field_without_a_near_name_lists_what_is_known() -> None:
    assert "known: name, project, command" in refused(zzzzzzzz=1)


def test_a_huge_unknown_name_is_not_repeated_whole() -> None:
    text = refused(**{"q" * 10_000: 1})
    assert "q" * 60 in text.split("input_value")[0]
    assert "q" * 61 not in text.split("input_value")[0]


# --- the program ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"argv": ...},
        {"command": "x"},
        {"argv": ..., "command": "x", "script": "y"},
        {"argv": []},
        {"argv": "true"},
        {"argv": [1]},
        {"argv": ["x"] * 1_025},
        {"argv": ["x" * (MAX_TEXT + 1)]},
        {"argv": ..., "command": "x" * (MAX_TEXT + 1)},
        {"argv": ["a\0b"]},
        {"argv": ..., "command": "a\0b"},
        {"argv": ..., "script": "a\0b"},
        {"argv": None},
    ],
)
def test_exactly_one_program_that_a_system_can_run(fields: dict[str, Any]) -> None:
    refused(**fields)


def test_command_and_script_go_to_the_shell_and_argv_does_not() -> None:
    assert taken(argv=["a", "b c"]).argv_of() == ["a", "b c"]
    assert taken(argv=..., command="a | b").argv_of() == ["/bin/sh", "-c", "a | b"]
    assert taken(argv=..., script="a\nb").argv_of() == ["/bin/sh", "-c", "a\nb"]


def test_program_and_environment_together_fit_what_a_system_takes() -> None:
    env = {f"V{i}": "x" * 60_000 for i in range(40)}
    assert "bytes" in refused(env=env)
    assert "bytes" in refused(argv=["x" * 60_000] * 40)


# --- environment ------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["env", "secrets"])
@pytest.mark.parametrize(
    "name", ["SUAN_JOB_ID", "1A", "A-B", "", "A B", "A=B", "Ä", "A\n", "A\0", "x" * MAX_TEXT + "!"]
)
def test_names_that_are_no_variables_or_ours_are_refused(where: str, name: str) -> None:
    refused(**{where: {name: "1"}})


@pytest.mark.parametrize("value", ["a\0b", "x" * (MAX_TEXT + 1), None, True, ["x"], {"a": 1}])
def test_values_that_are_no_text_are_refused(value: Any) -> None:
    refused(env={"A": value})
    refused(secrets={"A": value})


def test_numbers_are_text_and_there_is_a_bound() -> None:
    assert taken(env={"A": 1, "B": 1.5, "_": "x"}).env == {"A": "1", "B": "1.5", "_": "x"}
    refused(env={f"V{i}": "" for i in range(MAX_ENV + 1)})


# --- numbers ----------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "fields",
    [
        {"resources": {"cpus": NAN}},
        {"resources": {"cpus": INF}},
        {"resources": {"cpus": -1}},
        {"resources": {"cpus": "many"}},
        {"resources": {"cpus": 10**400}},
        {"resources": {"memory": NAN}},
        {"resources": {"memory": INF}},
        {"resources": {"memory": -1}},
        {"resources": {"memory": "9" * 400}},
        {"resources": {"memory": 10**30}},
        {"resources": {"memory": "12 parsecs"}},
        {"resources": {"memory": None}},
        {"resources": {"memory": [1]}},
        {"resources": {"accelerators": NAN}},
        {"resources": {"accelerators": 0}},
        {"resources": {"accelerators": "A100:nan"}},
        {"resources": {"accelerators": "A100:many"}},
        {"resources": {"accelerators": "A100:-1"}},
        {"resources": {"accelerators": True}},
        {"resources": {"accelerators": {"min_fp16_tflops": INF}}},
        {"resources": {"accelerators": {"min_fp16_tflops": NAN}}},
        {"count": 0},
        {"count": 10_001},
        {"count": 1.5},
        {"count": NAN},
        {"array": 0},
        {"array": 100_001},
        {"priority": 101},
        {"priority": -101},
        {"priority": "high"},
        {"max_runtime": 0},
        {"max_runtime": "0s"},
        {"max_runtime": NAN},
        {"max_runtime": INF},
        {"max_runtime": -5},
        {"max_runtime": "2y"},
        {"max_runtime": 10**12},
        {"max_runtime": "9" * 5_000},
        {"max_runtime": True},
        {"max_price": NAN},
        {"max_price": "free"},
        {"max_price": -1},
        {"max_price": "1e400"},
        {"max_price": 0.0000001},
        {"grace": -1},
        {"retries": {"max": -1}},
        {"retries": {"max": 101}},
        {"retries": {"exit_codes": [1] * 257}},
        {"retries": {"on": ["exit", "bad-luck"]}},
        {"retries": {"backoff": "soon"}},
    ],
    ids=str,
)
def test_numbers_out_of_bounds_are_refused(fields: dict[str, Any]) -> None:
    refused(**fields)


def test_retry_reasons_are_guessed_too() -> None:
    assert "did you mean 'out_of_memory'" in refused(retries={"on": "out_of_memry"})


# --- paths and names --------------------------------------------------------------------------

BAD_PATHS = ["/etc/passwd", "../x", "a/../../x", "..", "a\\b", "a\0b", "", "x" * 1_025, 7, None]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_paths_stay_inside_the_working_directory(path: Any) -> None:
    refused(outputs={"r": path})
    refused(outputs={"r": {"path": path}})
    refused(inputs={"d": {"path": path, "digest": DIGEST}})


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a/b", "a/b"), ("./a//b/", "a/b"), ("a/../b", "b"), ("..data/x", "..data/x")],
)
def test_paths_inside_are_made_plain(given: str, kept: str) -> None:
    assert taken(outputs={"r": given}).outputs["r"].path == kept


@pytest.mark.parametrize("name", ["", "x" * 121, "a\x1b[31mb", "a\nb", "a\0b"])
def test_names_can_be_shown_on_a_line(name: str) -> None:
    refused(name=name)
    refused(outputs={name: "x"})
    refused(inputs={name: {"path": "x", "digest": DIGEST}})


def test_names_in_any_script_are_fine() -> None:
    assert taken(name="训练 ResNet-50 (v2)").name == "训练 ResNet-50 (v2)"


@pytest.mark.parametrize(
    "digest", ["a" * 64, "sha256:" + "A" * 64, "sha256:" + "a" * 63, "md5:x", 5]
)
def test_digests_are_whole(digest: Any) -> None:
    refused(workdir=digest)
    refused(inputs={"d": {"path": "x", "digest": digest}})


# --- leases -----------------------------------------------------------------------------------


def test_a_site_ends_its_run_before_another_may_begin() -> None:
    """The polite grace counts: a run that ignores the signal lives that much longer."""
    explicit = {"stop_on_client_after": 40, "lost_after": 60}
    assert "lost_after" in refused(grace=60, partition=explicit)
    assert taken(grace=10, partition=explicit).partition.lost_after == 60
    assert taken(grace=60).partition.lost_after == 110
    assert taken(partition={"stop_on_client_after": 90}).partition.lost_after == 110
    assert taken(grace=3600, partition={"stop_on_client_after": None}).partition.lost_after == 60


def test_shown_specifications_can_be_submitted_again() -> None:
    spec = taken(
        grace=60, max_price=1.5, resources={"memory": "1.5GiB"}, deadline="2030-01-01T00:00Z"
    )
    shown = spec.model_dump(mode="json", exclude_unset=True)
    again = JobSpec.model_validate(json.loads(json.dumps(shown)))
    assert again.model_dump() == spec.model_dump()
    assert shown["partition"]["lost_after"] == "110s"


def test_a_limit_shorter_than_contacts_come_is_refused() -> None:
    assert "15" in refused(partition={"stop_on_client_after": 5})
    assert taken(partition={"stop_on_client_after": 15}).partition.stop_on_client_after == 15


@pytest.mark.parametrize("reconcile", ["keep_both", "", None, 1])
def test_reconcile_is_one_of_four(reconcile: Any) -> None:
    refused(partition={"reconcile": reconcile})


# --- shapes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [None, 1, "argv", [], [["argv", ["x"]]], True, b"x"])
def test_what_is_no_object_is_refused(data: Any) -> None:
    with pytest.raises(ValidationError):
        JobSpec.model_validate(data)


def test_depth_is_refused_without_harm() -> None:
    deep: dict[str, Any] = {"cpus": 1}
    for _ in range(5_000):
        deep = {"any_of": [deep]}
    refused(resources=deep)
    text = '{"argv":["x"],"resources":' + '{"any_of":[' * 3_000 + "]}" * 3_000 + "}"
    with pytest.raises(ValidationError):
        JobSpec.model_validate_json(text)


def test_alternatives_are_plain_and_few() -> None:
    assert len(taken(resources={"any_of": [{"cpus": 1}, {"cpus": 2}]}).resources.alternatives) == 2
    assert "not both" in refused(resources={"cpus": 1, "any_of": [{"cpus": 1}]})
    assert "nested" in refused(resources={"any_of": [{"any_of": [{"cpus": 1}]}]})
    refused(resources={"any_of": [{"cpus": 1}] * 17})


@pytest.mark.parametrize(
    ("given", "model", "count"), [("A100:4", ["A100"], 4), ("A100", ["A100"], 1), (0.5, [], 0.5)]
)
def test_short_forms_of_cards(given: Any, model: list[str], count: float) -> None:
    cards = taken(resources={"accelerators": given}).resources.accelerators
    assert cards is not None
    assert (cards.model, cards.count) == (model, count)


def test_a_deadline_has_its_zone() -> None:
    assert "zone" in refused(deadline="2030-01-01T00:00:00")
    assert taken(deadline="2030-01-01T00:00:00+08:00").deadline is not None


def test_dependencies_are_bounded() -> None:
    refused(depends_on=[f"job_{i}" for i in range(1_001)])


def test_many_inputs_and_outputs_are_bounded() -> None:
    refused(outputs={f"r{i}": f"p{i}" for i in range(1_001)})
    refused(inputs={f"d{i}": {"path": f"p{i}", "digest": DIGEST} for i in range(1_001)})


def test_lone_surrogates_are_refused() -> None:
    """They cannot be written as UTF-8, neither to the database nor to the agent."""
    for fields in ({"name": "\ud800"}, {"argv": ["\ud800"]}, {"env": {"A": "\ud800"}}):
        refused(**fields)
