"""Classes of failure that came after protocol 1 must not cost an older peer the whole message."""

from __future__ import annotations

from enum import StrEnum

import msgspec
import pytest

from agent_world import NOW, run_order, run_spec
from suanwang.agent.core import AgentCore, Collected, Observed, Ordered, Prepared
from suanwang.agent.port import Observation
from suanwang.protocol.messages import (
    FailureClass,
    Phase,
    PollRequest,
    RunReport,
    decode,
    encode,
)

# Written out, not computed: this list never grows.
First = StrEnum(  # type: ignore[misc]
    "First",
    {
        name: name
        for name in (
            "none",
            "exit",
            "signal",
            "timeout",
            "out_of_memory",
            "node_failure",
            "start_failed",
            "input_failed",
            "output_failed",
            "lease_expired",
            "stopped",
            "vanished",
            "rejected",
        )
    },
)


class FirstReport(msgspec.Struct):
    """What a control plane of protocol 1 reads of a report."""

    lease_id: str
    failure: First = First("none")


class FirstPoll(msgspec.Struct):
    reports: list[FirstReport] = []


def told(failure: FailureClass) -> RunReport:
    """What an agent says of a run that ended so."""
    core = AgentCore(pools=frozenset({"cpu"}), last_contact_ms=NOW)
    spec = run_spec()
    end = Observation(spec.lease_id, Phase.ENDED, NOW, NOW + 5, 143, failure, "why")
    events = (Ordered(run_order(spec), NOW), Prepared(spec.lease_id), Observed(end))
    for event in (*events, Collected(spec.lease_id)):
        core.handle(event, NOW)
    report = core.report(spec.lease_id, NOW + 9)
    assert report is not None
    return report


@pytest.mark.parametrize("failure", FailureClass)
def test_every_failure_is_readable_by_the_first_peers_and_told_whole_to_ours(
    failure: FailureClass,
) -> None:
    sent = encode(PollRequest(session=1, revision=1, reports=[told(failure)]))
    [old] = decode(sent, FirstPoll).reports
    [new] = decode(sent, PollRequest).reports
    assert new.cause is failure
    assert old.failure.value == (
        "node_failure" if failure is FailureClass.PREEMPTED_BY_SITE else failure.value
    )


def test_a_failure_that_only_a_newer_agent_knows_counts_as_its_nearest() -> None:
    report = RunReport("lease_a", 1, Phase.ENDED, failure=FailureClass.EXIT, finer="eaten_by_cat")
    assert decode(encode(report), RunReport).cause is FailureClass.EXIT
