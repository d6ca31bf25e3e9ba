"""The micro-benchmark as it is shipped, and which of its results are believed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from bench_results import signed_line
from suanwang.trade.catalogue.bench import (
    Verdict,
    find_result,
    is_signed,
    judge,
    limit_of,
    program_text,
    program_version,
)
from suanwang.trade.catalogue.model import CORE, MEMORY, BenchState, Ticket
from suanwang.trade.catalogue.program import NO_STACK

KEY = "a key that only this run was given"
RAN_MS = 60_000
NOW_MS = 1_800_000_000_000
CARD = "a800-80g"


def ticket(unit_class: str = CORE, units: int = 1) -> Ticket:
    return Ticket(
        ticket_id="bench_1",
        job_id="job_1",
        site_id="site_1",
        pool_id="pool_1",
        unit_class=unit_class,
        units=units,
        organisation_id="org",
        project_id="prj",
        user_id="usr",
        sealed_key=b"",
        program=program_version(),
        state=BenchState.OPEN,
        reason="",
        detail="",
        created_at_ms=0,
        ended_at_ms=None,
    )


def run(cards: str = "no", **more: str) -> subprocess.CompletedProcess[bytes]:
    given = {
        "BENCH_KEY": KEY,
        "BENCH_TICKET": "bench_1",
        "BENCH_UNITS": "1",
        "BENCH_CARDS": cards,
        "BENCH_SECONDS": "0.01",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", program_text()],
        env={"PATH": os.environ["PATH"], **given, **more},
        capture_output=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def real() -> bytes:
    """What the program prints on this machine."""
    done = run()
    assert done.returncode == 0, done.stderr
    return done.stdout


def signed(**changes: Any) -> bytes:
    """A result as the program of a card would sign it."""
    told: dict[str, Any] = {
        "ticket": "bench_1",
        "units": 1,
        "backend": "torch.cuda",
        "device": "NVIDIA A800-SXM4-80GB",
        "memory_mib": 81_920,
        "figures": {"FP16": 236_000_000, MEMORY: 1_600_000},
        **changes,
    }
    return signed_line(KEY, **told)


def verdict(output: bytes, of: Ticket | None = None, ran_ms: int = RAN_MS) -> Verdict:
    return judge(of or ticket(CARD), KEY, output, ran_ms, NOW_MS)


def test_a_real_run_is_believed_and_gives_figures_of_one_core(real: bytes) -> None:
    given = verdict(real, ticket())
    assert given.reason == ""
    found = {one.precision: one for one in given.measurements}
    assert {"FP64", "FP32", MEMORY} == set(found), "NumPy is there in the tests"
    assert found["FP64"].backend == "numpy"
    for what, one in found.items():
        limit = limit_of(CORE, what)
        assert limit is not None
        assert 0 < one.mega <= limit
        assert (one.at_ms, one.program) == (NOW_MS, program_version())


def test_greetings_around_the_result_do_not_matter(real: bytes) -> None:
    noisy = b"Welcome to the cluster\n{not json\n" + real + b'\n{"suan_bench": "no"}\nbye\n'
    assert verdict(noisy, ticket()).reason == ""


def test_cards_without_software_are_not_measured_on_cores() -> None:
    done = run("yes", PYTHONPATH="")
    if done.returncode == 0:  # a machine with cards: then they were measured
        assert verdict(done.stdout, ticket("whatever")).reason == ""
        return
    assert done.returncode == NO_STACK
    assert verdict(done.stdout).reason == "NoStack"


def test_another_key_or_a_changed_figure_is_no_signature(real: bytes) -> None:
    assert judge(ticket(), "another", real, RAN_MS, NOW_MS).reason == "BadSignature"
    result = find_result(real)
    assert result is not None
    assert is_signed(result, KEY)
    result["figures"]["FP64"] += 1
    assert not is_signed(result, KEY)
    assert verdict(json.dumps(result).encode(), ticket()).reason == "BadSignature"
    result.pop("mac")
    assert verdict(json.dumps(result).encode(), ticket()).reason == "BadSignature"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"ticket": "bench_2"}, "OtherTicket"),
        ({"units": 8}, "OtherTicket"),
        ({"figures": {}}, "NoStack"),
        ({"figures": [1]}, "NoStack"),
        ({"figures": {"FP16": 1.5}}, "NotAFigure"),
        ({"figures": {"FP16": True}}, "NotAFigure"),
        ({"figures": {"FP16": -1}}, "NotAFigure"),
        ({"measured_ms": RAN_MS + 5_001}, "TimeDiffers"),
        ({"measured_ms": 0}, "TimeDiffers"),
        ({"measured_ms": "long"}, "TimeDiffers"),
        ({"device": "NVIDIA GeForce RTX 4090"}, "OtherCard"),
        ({"device": "a card that nobody knows"}, ""),
        ({"figures": {"FP16": 327_600_000}}, ""),
        ({"figures": {"FP16": 327_600_001}}, "AbovePeak"),
        ({"figures": {MEMORY: 2_140_951}}, "AbovePeak"),
    ],
)
def test_what_is_believed_of_a_card(changes: dict[str, Any], reason: str) -> None:
    given = verdict(signed(**changes))
    assert given.reason == reason
    assert bool(given.measurements) == (not reason)
    assert bool(given.detail) == bool(reason)


def test_nothing_printed_is_nothing_measured() -> None:
    assert verdict(b"").reason == "NoResult"
    assert verdict(b'{"suan_bench": 2}\n[1]\n').reason == "NoResult"


def test_several_cores_share_what_they_did_together() -> None:
    told = signed(units=4, backend="numpy", device="", figures={"FP64": 160_000})
    given = verdict(told, ticket(units=4))
    assert [one.mega for one in given.measurements] == [40_000]


def test_what_the_interpreter_does_says_nothing_of_the_core() -> None:
    told = signed(backend="python", device="", figures={"FP64": 30, MEMORY: 20_000})
    given = verdict(told, ticket())
    assert [one.precision for one in given.measurements] == [MEMORY]


def test_unknown_precisions_are_left_out() -> None:
    told = signed(figures={"FP16": 236_000_000, "FP4": 1})
    assert [one.precision for one in verdict(told).measurements] == ["FP16"]


def test_cards_that_nobody_knows_have_no_limit() -> None:
    assert limit_of("quantum-card-x1-24g", "FP16") is None
    assert limit_of("ascend-910b4-64g", MEMORY) is None
    strange = msgspec.structs.replace(ticket(), unit_class="quantum-card-x1-24g")
    assert verdict(signed(figures={"FP16": 10**12}), strange).reason == ""
