"""Whatever comes in whatever order: the agent's core keeps its promises."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from agent_world import NOW, forget_order, run_order, run_spec, seen, seen_ended, stop_order
from suanwang.agent.core import (
    Adopted,
    AgentCore,
    Answered,
    Collect,
    Collected,
    Contacted,
    Event,
    Forget,
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
from suanwang.protocol.messages import FailureClass, OutputFile, Phase

LEASES = ("lease_a", "lease_b", "lease_c")
SPECS = {
    "lease_a": run_spec("lease_a", outputs=[OutputFile("r", "out")]),
    "lease_b": run_spec("lease_b", stop_on_client_after_s=None),
    "lease_c": run_spec("lease_c", stop_on_client_after_s=15),
}
FAILURES = [FailureClass.NONE, FailureClass.EXIT, FailureClass.STOPPED, FailureClass.VANISHED]


@st.composite
def happenings(draw: st.DrawFn) -> list[tuple[str, str, int]]:
    """(what, lease, milliseconds since the one before)"""
    kinds = ["run", "stop", "forget", "prepared", "unprepared", "running", "ended", "collected"]
    kinds += ["uncollected", "contact", "old contact", "answered", "old answer", "tick", "late run"]
    step = st.tuples(
        st.sampled_from(kinds), st.sampled_from(LEASES), st.sampled_from([0, 10, 1_000, 16_000])
    )
    return draw(st.lists(step, max_size=60))


class Watch:
    """Feeds a core and checks what it says against what it said before."""

    def __init__(self) -> None:
        self.core = AgentCore(pools=frozenset({"cpu"}), last_contact_ms=NOW)
        self.now_ms = NOW
        self.said: dict[str, Counter[type]] = {lease: Counter() for lease in LEASES}
        self.states: dict[str, RunState] = {}
        self.last_reports = {lease: self.core.report(lease, NOW) for lease in LEASES}

    def event(self, what: str, lease: str) -> Event:
        report = self.core.report(lease, self.now_ms)
        old = self.last_reports[lease]
        self.last_reports[lease] = report or old
        match what:
            case "run":
                return Ordered(run_order(SPECS[lease]), self.now_ms)
            case "late run":
                return Ordered(run_order(SPECS[lease]), self.now_ms - 60_000)
            case "stop":
                return Ordered(stop_order(lease), self.now_ms)
            case "forget":
                return Ordered(forget_order(lease), self.now_ms)
            case "prepared" | "unprepared":
                return Prepared(lease, "" if what == "prepared" else "no such blob")
            case "running":
                return Observed(seen(lease, started_at_ms=self.now_ms))
            case "ended":
                failure = FAILURES[self.now_ms // 10 % len(FAILURES)]
                return Observed(seen_ended(lease, 0, failure))
            case "collected" | "uncollected":
                return Collected(lease, (), "" if what == "collected" else "missing")
            case "contact":
                return Contacted(self.now_ms)
            case "old contact":
                return Contacted(self.now_ms - 30_000)
            case "answered":
                return Answered((report,) if report else ())
            case "old answer":
                return Answered((old,) if old else ())
            case _:
                return Ticked()

    def feed(self, event: Event) -> None:
        before = dict(self.core.runs)
        contact = self.core.last_contact_ms
        for step in self.core.handle(event, self.now_ms):
            lease = step.lease_id if hasattr(step, "lease_id") else step.spec.lease_id
            self.check(step, lease)
            self.said[lease][type(step)] += 1
            if isinstance(step, Forget):
                self.said[lease].clear()
                self.states.pop(lease, None)
        assert self.core.last_contact_ms >= contact
        for lease, run in self.core.runs.items():
            if before.get(lease) is run or lease not in self.states:
                assert run.state >= self.states.get(lease, RunState.ORDERED), "went back"
            self.states[lease] = run.state

    def check(self, step: object, lease: str) -> None:
        said = self.said[lease]
        match step:
            case Prepare():
                assert not said, "prepared anew within one life"
            case Start():
                assert said[Start] == 0, "started twice"
                assert said[Prepare] == 1, "started without its inputs"
                assert said[Stop] == 0, "started after a stop"
            case Stop():
                assert said[Stop] == 0, "told twice to stop"
            case Collect():
                assert said[Collect] == 0, "outputs kept twice"
            case Forget():
                assert said[Report] > 0, "forgotten without a word"


@settings(max_examples=300, deadline=None)
@given(happenings())
def test_promises_hold_whatever_comes(steps: list[tuple[str, str, int]]) -> None:
    watch = Watch()
    for what, lease, after_ms in steps:
        watch.now_ms += after_ms
        watch.feed(watch.event(what, lease))


@settings(max_examples=300, deadline=None)
@given(happenings(), st.sampled_from(LEASES))
def test_a_stop_is_always_answered_by_an_end(steps: list[tuple[str, str, int]], lease: str) -> None:
    """Whatever came before: once the engine and the folder have answered, the end is told."""
    watch = Watch()
    for what, of, after_ms in steps:
        watch.now_ms += after_ms
        watch.feed(watch.event(what, of))
    for what in ("stop", "ended", "collected"):
        watch.feed(watch.event(what, lease))
    report = watch.core.report(lease, watch.now_ms)
    assert report is not None
    assert report.phase is Phase.ENDED
    watch.feed(watch.event("prepared", lease))
    assert watch.core.report(lease, watch.now_ms) == report
    watch.feed(Answered((report,)))
    assert lease not in watch.core.runs


@settings(max_examples=200, deadline=None)
@given(happenings(), st.sampled_from(LEASES))
def test_an_end_is_told_until_it_is_answered(steps: list[tuple[str, str, int]], lease: str) -> None:
    watch = Watch()
    watch.feed(watch.event("stop", lease))
    for what, of, after_ms in steps:
        if of == lease and what in ("answered", "old answer", "forget"):
            continue
        watch.now_ms += after_ms
        watch.feed(watch.event(what, of))
        ends = [r for r in watch.core.reports(watch.now_ms) if r.lease_id == lease]
        assert [end.phase for end in ends] == [Phase.ENDED]


@settings(max_examples=200, deadline=None)
@given(happenings())
def test_a_restart_adopts_what_the_engine_knows_and_starts_nothing(
    steps: list[tuple[str, str, int]],
) -> None:
    watch = Watch()
    for what, lease, after_ms in steps:
        watch.now_ms += after_ms
        watch.feed(watch.event(what, lease))
    fresh = AgentCore(pools=frozenset({"cpu"}), last_contact_ms=watch.now_ms)
    for lease, run in sorted(watch.core.runs.items()):
        known = run.last
        found = fresh.handle(Adopted(run.spec, known), watch.now_ms)
        assert not any(isinstance(step, Start | Prepare) for step in found)
        if known is None:
            assert lease not in fresh.runs
