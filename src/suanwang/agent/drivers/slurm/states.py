"""Slurm's job states in the platform's words, and why a run ended: one table, one rule.

Two witnesses tell of an end: the record that our own batch script leaves, and the state that
Slurm keeps. The script knows what the program did and why the script itself ended it; Slurm
knows what happened to the job from outside (a node lost, memory, its own time limit,
preemption, a cancellation at the site).
"""

from __future__ import annotations

from dataclasses import dataclass

from suanwang.protocol.messages import FailureClass, Phase

_SIGNAL_BASE = 128
_LAST_SIGNAL = 64
_KILLED_CODES = (137, 143)
"""SIGKILL and SIGTERM: the program's own doing, the kernel's or the site's."""
NOT_VISIBLE_CODE = 66
"""Exit code of our batch script on a node that does not see the state folder."""
DUPLICATE_CODE = 67
"""Exit code of our batch script when another job of the same lease came first."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one of Slurm's states says of a run."""

    phase: Phase
    failure: FailureClass = FailureClass.NONE
    words: str = ""


STATES: dict[str, Meaning] = {
    "PENDING": Meaning(Phase.ACCEPTED),
    "CONFIGURING": Meaning(Phase.ACCEPTED, words="nodes are being made ready"),
    "POWER_UP_NODE": Meaning(Phase.ACCEPTED, words="nodes are being powered up"),
    "REQUEUED": Meaning(Phase.ACCEPTED, words="requeued by Slurm"),
    "REQUEUE_FED": Meaning(Phase.ACCEPTED, words="requeued by Slurm's federation"),
    "REQUEUE_HOLD": Meaning(Phase.ACCEPTED, words="requeued and held by Slurm"),
    "SPECIAL_EXIT": Meaning(Phase.ACCEPTED, words="requeued and held by Slurm"),
    "RESV_DEL_HOLD": Meaning(Phase.ACCEPTED, words="held: its reservation was deleted"),
    "RUNNING": Meaning(Phase.RUNNING),
    "RESIZING": Meaning(Phase.RUNNING),
    "SIGNALING": Meaning(Phase.RUNNING),
    "STAGE_OUT": Meaning(Phase.RUNNING, words="burst buffer is being emptied"),
    "STOPPED": Meaning(Phase.RUNNING, words="stopped by SIGSTOP at the site"),
    "SUSPENDED": Meaning(Phase.RUNNING, words="suspended by Slurm"),
    "COMPLETING": Meaning(Phase.RUNNING, words="Slurm is cleaning up"),
    "COMPLETED": Meaning(Phase.ENDED),
    "FAILED": Meaning(Phase.ENDED, FailureClass.EXIT),
    "TIMEOUT": Meaning(Phase.ENDED, FailureClass.TIMEOUT, "Slurm's time limit"),
    "DEADLINE": Meaning(Phase.ENDED, FailureClass.TIMEOUT, "Slurm's deadline of the job"),
    "OUT_OF_MEMORY": Meaning(Phase.ENDED, FailureClass.OUT_OF_MEMORY, "over its memory limit"),
    "NODE_FAIL": Meaning(Phase.ENDED, FailureClass.NODE_FAILURE, "a node failed"),
    "PREEMPTED": Meaning(Phase.ENDED, FailureClass.PREEMPTED_BY_SITE, "preempted at the site"),
    "BOOT_FAIL": Meaning(Phase.ENDED, FailureClass.START_FAILED, "a node did not boot"),
    "LAUNCH_FAILED": Meaning(Phase.ENDED, FailureClass.START_FAILED, "Slurm could not launch it"),
    "RECONFIG_FAIL": Meaning(Phase.ENDED, FailureClass.START_FAILED, "nodes did not reconfigure"),
    "CANCELLED": Meaning(Phase.ENDED, FailureClass.STOPPED, "cancelled at the site"),
    "REVOKED": Meaning(
        Phase.ENDED, FailureClass.STOPPED, "runs on another cluster of a federation"
    ),
}

HOPELESS = {
    "BadConstraints": "no node can ever match what the job asks for",
    "InvalidAccount": "Slurm does not accept the account",
    "InvalidQOS": "Slurm does not accept the QoS",
    "PartitionTimeLimit": "it asks for more time than the partition allows",
    "PartitionNodeLimit": "it asks for more nodes than the partition allows",
    "launch_failed_requeued_held": "Slurm could not launch it and holds it",
    "JobHoldMaxRequeue": "Slurm requeued it too often and holds it",
}
"""Reasons of a pending job that waiting cannot mend: it is taken back and reported."""


def meaning(state: str) -> Meaning:
    """Tolerates flags ("COMPLETING+..."), "CANCELLED by 1000", and states not yet invented."""
    word = state.split()[0].split("+")[0].rstrip("*") if state.strip() else ""
    return STATES.get(word, Meaning(Phase.RUNNING, words=f"Slurm says {state or 'nothing'}"))


def hopeless(reason: str) -> str:
    """Why a pending job will never start; "" while there is hope."""
    plain = reason.replace(" ", "_")
    return next((words for name, words in HOPELESS.items() if name in plain), "")


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended."""

    failure: FailureClass
    exit_code: int | None = None
    detail: str = ""


def classify(
    cause: str,
    code: int | None,
    record_detail: str,
    state: str,
    stop: FailureClass | None,
) -> End | None:
    """The end of a run from both witnesses; None when the script's record needs Slurm's word first.

    `cause` is the script's ("" without a record), `state` Slurm's ("" when not known or not
    final), `stop` what the driver asked for, if it did.
    """
    outside = meaning(state) if state else Meaning(Phase.RUNNING)
    over = outside.phase is Phase.ENDED
    if cause == "exit":
        return _ended_by_itself(code or 0, outside if over else None, stop)
    if cause == "timeout":
        return End(FailureClass.TIMEOUT, code, "ran past its max_runtime")
    if cause == "lease_expired":
        return End(FailureClass.LEASE_EXPIRED, None, "no contact with the control plane")
    if cause == "start_failed":
        return End(FailureClass.START_FAILED, None, record_detail)
    if cause == "requeued":
        return End(FailureClass.NODE_FAILURE, None, "requeued by Slurm; runs are not run twice")
    if stop is not None and (cause in ("stopped", "term") or over):
        return End(stop, code, "")
    if cause == "stopped":
        return End(FailureClass.STOPPED, code, "")
    if not over:
        return None
    if cause == "term" and outside.failure in (FailureClass.NONE, FailureClass.EXIT):
        return End(FailureClass.STOPPED, code, "terminated at the site")
    return _ended_from_outside(code, outside)


def _ended_by_itself(code: int, outside: Meaning | None, stop: FailureClass | None) -> End | None:
    if code == 0:
        return End(FailureClass.NONE, 0)
    if outside is not None and outside.failure is FailureClass.OUT_OF_MEMORY:
        return End(outside.failure, code, outside.words)
    if code in _KILLED_CODES:
        if outside is None:
            return None  # only Slurm tells whose doing it was
        if outside.failure not in (FailureClass.NONE, FailureClass.EXIT):
            return End(stop, code) if stop else End(outside.failure, code, outside.words)
    if _SIGNAL_BASE < code <= _SIGNAL_BASE + _LAST_SIGNAL:
        return End(FailureClass.SIGNAL, code, f"killed by signal {code - _SIGNAL_BASE}")
    return End(FailureClass.EXIT, code)


def _ended_from_outside(code: int | None, outside: Meaning) -> End:
    if outside.failure is FailureClass.EXIT:
        if code == NOT_VISIBLE_CODE:
            words = "the node does not see the agent's state folder: is it on a shared file system?"
            return End(FailureClass.START_FAILED, None, words)
        if code == DUPLICATE_CODE:
            words = "another job of the same lease came first, but left no exit record"
            return End(FailureClass.VANISHED, None, words)
        if code is not None and code > _SIGNAL_BASE:
            return End(FailureClass.SIGNAL, code, f"killed by signal {code - _SIGNAL_BASE}")
        return End(FailureClass.EXIT, code, "the batch script left no exit record")
    return End(outside.failure, code, outside.words)
