"""The agent's core as a table: every event in every state of a run."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from agent_world import NOW, fed, forget_order, run_order, run_spec, seen, seen_ended, stop_order
from suanwang.agent.core import (
    Adopted,
    AgentCore,
    Answered,
    Collect,
    Collected,
    Contacted,
    Event,
    Forget,
    Instruction,
    Observed,
    Ordered,
    Prepare,
    Prepared,
    Report,
    RunState,
    Start,
    Stop,
    Ticked,
)
from suanwang.protocol.messages import (
    FailureClass,
    OutputFile,
    OutputRecord,
    Phase,
    RunReport,
    RunSpec,
)

SPEC = run_spec(outputs=[OutputFile("result", "out")])
RECORD = OutputRecord("result", "sha256:" + "1" * 64, 9)


def new_core() -> AgentCore:
    return AgentCore(pools=frozenset({"cpu"}), last_contact_ms=NOW)


def ordered(spec: RunSpec = SPEC) -> Event:
    return Ordered(run_order(spec), NOW)


STOP = Ordered(stop_order(), NOW)
FORGET = Ordered(forget_order(), NOW)
WAY = {
    "none": [],
    "ordered": [ordered()],
    "started": [ordered(), Prepared("lease_a")],
    "running": [ordered(), Prepared("lease_a"), Observed(seen())],
    "stopping": [ordered(), Prepared("lease_a"), Observed(seen()), STOP],
    "ended": [ordered(), Prepared("lease_a"), Observed(seen_ended())],
    "collected": [
        ordered(),
        Prepared("lease_a"),
        Observed(seen_ended()),
        Collected("lease_a", (RECORD,)),
    ],
    "refused": [ordered(), Prepared("lease_a", "no such blob")],
}
STATE = {
    "none": None,
    "ordered": RunState.ORDERED,
    "started": RunState.STARTED,
    "running": RunState.STARTED,
    "stopping": RunState.STARTED,
    "ended": RunState.ENDED,
    "collected": RunState.COLLECTED,
    "refused": RunState.COLLECTED,
}
SILENT = NOW + 41_000
A_STOP = Stop("lease_a", "cpu", 10, FailureClass.STOPPED)
AN_EXPIRY = Stop("lease_a", "cpu", 10, FailureClass.LEASE_EXPIRED)
REPORT, LEAVE = Report("lease_a"), Forget("lease_a", "cpu")
GAP = Contacted(NOW + 41_000)


@dataclass(frozen=True)
class Row:
    """What an event brings in a state, and where the run is then."""

    name: str
    event: Event
    states: dict[str, tuple[list[Instruction], str]]
    now_ms: int = NOW


def same(*states: str) -> dict[str, tuple[list[Instruction], str]]:
    return {state: ([], state) for state in states}


ROWS = [
    Row(
        "run ordered",
        ordered(),
        {
            "none": ([Prepare(SPEC)], "ordered"),
            **same("ordered", "started", "running", "stopping", "ended", "collected", "refused"),
        },
    ),
    Row(
        "stop ordered",
        STOP,
        {
            "none": ([REPORT], "collected"),
            "ordered": ([REPORT], "collected"),
            "started": ([A_STOP], "started"),
            "running": ([A_STOP], "running"),
            **same("stopping", "ended", "collected", "refused"),
        },
    ),
    Row(
        "forget ordered",
        FORGET,
        {
            **same("none", "ordered", "started", "running", "stopping", "ended"),
            "collected": ([LEAVE], "none"),
            "refused": ([LEAVE], "none"),
        },
    ),
    Row(
        "prepared",
        Prepared("lease_a"),
        {
            "ordered": ([Start(SPEC)], "started"),
            **same("none", "started", "running", "stopping", "ended", "collected", "refused"),
        },
    ),
    Row(
        "not prepared",
        Prepared("lease_a", "no such blob"),
        {
            "ordered": ([REPORT], "collected"),
            **same("none", "started", "running", "stopping", "ended", "collected", "refused"),
        },
    ),
    Row(
        "prepared in silence",
        Prepared("lease_a"),
        {"ordered": ([REPORT], "collected")},
        SILENT,
    ),
    Row(
        "seen running",
        Observed(seen()),
        {
            "ordered": ([REPORT], "started"),
            "started": ([REPORT], "running"),
            **same("none", "running", "stopping", "ended", "collected", "refused"),
        },
    ),
    Row(
        "seen ended",
        Observed(seen_ended()),
        {
            "ordered": ([Collect(SPEC, True)], "ended"),
            "started": ([Collect(SPEC, True)], "ended"),
            "running": ([Collect(SPEC, True)], "ended"),
            "stopping": ([Collect(SPEC, True)], "ended"),
            **same("none", "ended", "collected", "refused"),
        },
    ),
    Row(
        "seen failed",
        Observed(seen_ended(code=3)),
        {"running": ([Collect(SPEC, False)], "ended")},
    ),
    Row(
        "collected",
        Collected("lease_a", (RECORD,)),
        {
            "ended": ([REPORT], "collected"),
            **same("none", "ordered", "started", "running", "stopping", "collected", "refused"),
        },
    ),
    Row(
        "silence noticed",
        Ticked(),
        {
            "ordered": ([REPORT], "collected"),
            "started": ([AN_EXPIRY], "started"),
            "running": ([AN_EXPIRY], "running"),
            **same("none", "stopping", "ended", "collected", "refused"),
        },
        SILENT,
    ),
    Row(
        "silence ended too late",
        GAP,
        {
            "ordered": ([REPORT], "collected"),
            "running": ([AN_EXPIRY], "running"),
            **same("none", "stopping", "ended", "collected"),
        },
        SILENT,
    ),
    Row("time within the limit", Ticked(), same(*WAY), NOW + 40_000),
]
CASES = [(row, state) for row in ROWS for state in row.states]


@pytest.mark.parametrize(
    ("row", "state"), CASES, ids=[f"{row.name} when {state}" for row, state in CASES]
)
def test_every_event_in_every_state(row: Row, state: str) -> None:
    core = new_core()
    fed(core, *WAY[state])
    instructions, then = row.states[state]
    assert core.handle(row.event, row.now_ms) == instructions
    run = core.runs.get("lease_a")
    assert (None if run is None else run.state) == STATE[then]


@pytest.mark.parametrize("state", WAY)
def test_an_answer_to_the_end_forgets_and_to_anything_else_does_not(state: str) -> None:
    core = new_core()
    fed(core, *WAY[state])
    report = core.report("lease_a", NOW)
    reports = () if report is None else (report,)
    over = report is not None and report.phase is Phase.ENDED
    assert fed(core, Answered(reports)) == ([LEAVE] if over else [])
    assert ("lease_a" in core.runs) == (state != "none" and not over)


@pytest.mark.parametrize(
    ("observation", "instructions"),
    [
        (None, [LEAVE]),
        (seen(), [REPORT]),
        (seen_ended(), [Collect(SPEC, True)]),
    ],
    ids=["unknown to the engine", "running", "ended"],
)
def test_adoption(observation: object, instructions: list[Instruction]) -> None:
    assert fed(new_core(), Adopted(SPEC, observation)) == instructions  # type: ignore[arg-type]


def test_a_pool_that_is_not_there_is_refused() -> None:
    core = new_core()
    assert fed(core, ordered(msgspec.structs.replace(SPEC, pool="gpu"))) == [REPORT]
    report = reported(core)
    assert (report.phase, report.failure) == (Phase.ENDED, FailureClass.REJECTED)
    assert "gpu" in report.detail


def reported(core: AgentCore, now_ms: int = NOW) -> RunReport:
    report = core.report("lease_a", now_ms)
    assert report is not None
    return report


def test_while_outputs_are_kept_the_run_goes_on_to_the_control_plane() -> None:
    core = new_core()
    fed(core, *WAY["ended"])
    assert reported(core).phase is Phase.RUNNING
    # its time is over all the same: nobody shall be charged for the keeping of outputs
    assert reported(core).ended_ago_ms is not None
    fed(core, Collected("lease_a", (RECORD,)))
    report = reported(core, NOW + 1_500)
    assert (report.phase, report.exit_code, report.outputs) == (Phase.ENDED, 0, [RECORD])
    assert (report.started_ago_ms, report.ended_ago_ms) == (1_500, 1_000)


@pytest.mark.parametrize(
    ("end", "failure"),
    [
        (seen_ended(), FailureClass.OUTPUT_FAILED),
        (seen_ended(code=3), FailureClass.EXIT),
    ],
)
def test_a_missing_output_fails_only_what_had_succeeded(end: object, failure: FailureClass) -> None:
    core = new_core()
    fed(core, *WAY["running"], Observed(end), Collected("lease_a", (), "result is missing"))  # type: ignore[arg-type]
    assert reported(core).failure is failure


def test_ages_are_never_negative() -> None:
    core = new_core()
    fed(core, *WAY["collected"])
    report = reported(core, NOW - 9_000)
    assert (report.started_ago_ms, report.ended_ago_ms) == (0, 0)


def test_the_end_is_told_when_all_output_has_been_seen_to() -> None:
    core = new_core()
    plain = run_spec()
    fed(core, ordered(plain), Prepared("lease_a"), Observed(seen()))
    assert fed(core, Observed(seen_ended())) == [Collect(plain, True)]
    assert fed(core, Collected("lease_a")) == [REPORT]


def test_the_first_reason_to_stop_stays() -> None:
    core = new_core()
    fed(core, *WAY["stopping"])
    assert core.handle(Ticked(), SILENT) == []
    assert core.runs["lease_a"].stop is FailureClass.STOPPED


def test_contact_never_goes_back() -> None:
    core = new_core()
    core.handle(Contacted(NOW + 500), NOW + 600)
    core.handle(Contacted(NOW + 100), NOW + 700)
    assert core.last_contact_ms == NOW + 500


@pytest.mark.parametrize(
    ("limits", "wait_ms"),
    [([], 10_000), ([None], 10_000), ([40], 10_000), ([20, None], 5_000), ([60, 16], 4_000)],
)
def test_polls_wait_no_longer_than_the_strictest_run_allows(
    limits: list[int | None], wait_ms: int
) -> None:
    core = new_core()
    for number, limit in enumerate(limits):
        fed(core, ordered(run_spec(f"lease_{number}", stop_on_client_after_s=limit)))
    assert core.longest_wait_ms(10_000) == wait_ms


def test_an_order_to_run_without_a_specification_is_ignored() -> None:
    order = msgspec.structs.replace(run_order(SPEC), run=None)
    assert fed(new_core(), Ordered(order, NOW)) == []
