"""The agent's host between a control plane and an engine that fail in the ways that they do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from agent_world import (
    INPUT,
    Stage,
    forget_order,
    run_order,
    run_spec,
    seen_ended,
    stop_order,
    virtually,
)
from suanwang.kernel.errors import PermanentError, Unauthenticated, Unavailable
from suanwang.protocol.messages import FailureClass, OutputFile, OutputRecord, Phase

Scene = Callable[[Stage], Awaitable[None]]
DOWN = Unavailable("EngineDown", "the engine does not answer")


def play(scene: Scene) -> None:
    async def run() -> None:
        stage = Stage()
        await stage.up()
        await scene(stage)
        await stage.down()

    virtually(run())


def test_a_run_from_order_to_forgetting() -> None:
    async def scene(stage: Stage) -> None:
        spec = await stage.running()
        await stage.until(lambda: any(r.phase is Phase.RUNNING for r in stage.link.heard))
        stage.driver.end(seen_ended())
        await stage.until(lambda: stage.driver.forgotten == [spec.lease_id])
        [end] = stage.link.ends()
        assert (end.exit_code, end.failure) == (0, FailureClass.NONE)
        assert stage.records.runs == {}
        assert stage.host.core.runs == {}

    play(scene)


def test_an_engine_that_is_down_at_the_start_is_asked_again() -> None:
    """The start was lost and the lease renewed for ever."""

    async def scene(stage: Stage) -> None:
        stage.driver.start_errors.extend([DOWN] * 4)
        await stage.running()
        assert stage.driver.started == ["lease_a"]

    play(scene)


def test_a_run_stopped_while_its_engine_is_down_is_never_started() -> None:
    async def scene(stage: Stage) -> None:
        stage.driver.start_errors.extend([DOWN] * 6)
        stage.link.order(run_order(run_spec()))
        await stage.until(lambda: len(stage.driver.start_errors) < 5)
        stage.link.order(stop_order())
        await stage.until(lambda: bool(stage.link.ends()))
        assert stage.link.ends()[0].failure is FailureClass.STOPPED
        await asyncio.sleep(120)
        assert stage.driver.started == []

    play(scene)


def test_an_engine_that_refuses_ends_the_run() -> None:
    async def scene(stage: Stage) -> None:
        stage.driver.start_errors.append(PermanentError("NoAccount", "no such account"))
        stage.link.order(run_order(run_spec()))
        await stage.until(lambda: bool(stage.link.ends()))
        [end] = stage.link.ends()
        assert end.failure is FailureClass.START_FAILED
        assert "no such account" in end.detail

    play(scene)


def test_a_stop_reaches_an_engine_that_was_down() -> None:
    """The stop was sent once, lost, and the run went on to its own end."""

    async def scene(stage: Stage) -> None:
        await stage.running()
        stage.driver.stop_errors.extend([DOWN] * 4)
        stage.link.order(stop_order())
        await stage.until(lambda: bool(stage.link.ends()))
        assert stage.driver.stopped == [("lease_a", FailureClass.STOPPED)]

    play(scene)


def test_records_are_dropped_though_the_engine_was_down() -> None:
    async def scene(stage: Stage) -> None:
        await stage.running()
        stage.driver.forget_errors.extend([DOWN] * 3)
        stage.driver.end(seen_ended())
        await stage.until(lambda: stage.records.runs == {})
        assert stage.driver.forgotten == ["lease_a"]

    play(scene)


def test_a_stop_before_the_start_ends_the_fetching() -> None:
    async def scene(stage: Stage) -> None:
        stage.records.fetch_s = 600
        stage.link.order(run_order(run_spec(inputs=[INPUT])))
        await stage.until(lambda: stage.records.fetching == ["lease_a"])
        stage.link.order(stop_order())
        await stage.until(lambda: stage.records.runs == {})
        await asyncio.sleep(700)
        assert stage.records.fetched == []
        assert stage.driver.started == []

    play(scene)


def test_a_run_of_a_pool_that_was_taken_from_the_configuration_can_be_stopped() -> None:
    """It ended the agent."""

    async def scene(stage: Stage) -> None:
        await stage.running()
        await stage.down()
        await stage.up("other")
        stage.link.order(stop_order())
        await stage.until(lambda: bool(stage.link.ends()))

    play(scene)


def test_a_lease_ordered_anew_keeps_its_folder_while_old_output_is_sent() -> None:
    """The folder of a run that had not reached the engine was deleted under its successor."""

    async def scene(stage: Stage) -> None:
        await stage.down()
        spec = run_spec()
        stage.records.runs[spec.lease_id] = spec
        stage.records.output[spec.lease_id] = b"of the first attempt"
        stage.link.logs_cut = True
        stage.link.order(run_order(spec))
        await stage.up()
        await stage.until(lambda: spec.lease_id in stage.driver.runs)
        stage.link.logs_cut = False
        await asyncio.sleep(5)
        assert spec.lease_id in stage.records.runs
        stage.driver.end(seen_ended())
        await stage.until(lambda: stage.records.runs == {})

    play(scene)


def test_a_full_disk_does_not_end_the_agent() -> None:
    async def scene(stage: Stage) -> None:
        spec = await stage.running()
        stage.records.full = True
        stage.link.errors.append(Unavailable("ControlPlaneUnreachable", "once"))
        stage.link.order(run_order(run_spec("lease_b")))
        await asyncio.sleep(20)
        stage.records.full = False
        await stage.until(
            lambda: "lease_b" in stage.driver.runs or bool(stage.link.ends("lease_b"))
        )
        assert spec.lease_id in stage.driver.runs
        assert stage.driver.stopped == []

    play(scene)


def test_what_cannot_be_recorded_is_refused() -> None:
    async def scene(stage: Stage) -> None:
        stage.records.full = True
        stage.link.order(run_order(run_spec()))
        await stage.until(lambda: bool(stage.link.ends()))
        assert stage.link.ends()[0].failure is FailureClass.INPUT_FAILED
        assert "No space left" in stage.link.ends()[0].detail
        assert stage.driver.started == []

    play(scene)


def test_short_leases_are_renewed_often_enough() -> None:
    """With a poll of ten seconds the last contact grew twenty seconds old: work under a
    shorter limit was stopped without any fault."""

    async def scene(stage: Stage) -> None:
        await stage.running(run_spec(stop_on_client_after_s=15))
        await asyncio.sleep(300)
        assert stage.driver.stopped == []
        gaps = [
            b - a for a, b in zip(stage.driver.contacts, stage.driver.contacts[1:], strict=False)
        ]
        assert max(gaps) < 8_000

    play(scene)


def test_silence_stops_what_asked_for_it_and_nothing_else() -> None:
    async def scene(stage: Stage) -> None:
        await stage.running(run_spec("lease_a", stop_on_client_after_s=20))
        await stage.running(run_spec("lease_b", stop_on_client_after_s=None))
        stage.link.cut = True
        await stage.until(lambda: bool(stage.driver.stopped))
        assert stage.driver.stopped == [("lease_a", FailureClass.LEASE_EXPIRED)]
        await asyncio.sleep(600)
        assert stage.driver.runs["lease_b"].phase is Phase.RUNNING
        stage.link.cut = False
        await stage.until(lambda: bool(stage.link.ends("lease_a")))
        assert stage.link.ends("lease_a")[0].failure is FailureClass.LEASE_EXPIRED

    play(scene)


def test_an_order_that_was_long_on_its_way_is_not_begun() -> None:
    """Meanwhile the lease may have been given up and its task be running elsewhere."""

    async def scene(stage: Stage) -> None:
        stage.link.released.clear()
        stage.driver.grow()  # told at the next look, so that contact as such is fresh
        stage.link.order(run_order(run_spec(stop_on_client_after_s=15)))
        await asyncio.sleep(5)
        stage.link.close("lease_a")  # given up; the reply with the order is still on its way
        await asyncio.sleep(12)
        assert any(request.pools for _, request in stage.link.polls)
        stage.link.released.set()
        await stage.until(lambda: bool(stage.link.ends()) or bool(stage.driver.started))
        assert stage.driver.started == []
        assert stage.link.ends()[0].failure is FailureClass.LEASE_EXPIRED

    play(scene)


def test_a_restart_adopts_and_reports_what_ended_meanwhile() -> None:
    async def scene(stage: Stage) -> None:
        await stage.running(run_spec("lease_a"))
        await stage.running(run_spec("lease_b"))
        await stage.down()
        stage.driver.end(seen_ended("lease_a", 7))
        await stage.up()
        await stage.until(lambda: bool(stage.link.ends("lease_a")))
        assert stage.link.ends("lease_a")[0].exit_code == 7
        assert stage.driver.started == ["lease_a", "lease_b"]
        assert stage.host.core.runs.keys() == {"lease_b"}

    play(scene)


def test_a_fault_of_the_agents_own_ends_the_run_and_is_told() -> None:
    async def scene(stage: Stage) -> None:
        stage.records.prepare_errors.append(RuntimeError("never thought of"))
        stage.link.order(run_order(run_spec("lease_a", inputs=[INPUT])))
        await stage.until(lambda: bool(stage.link.ends("lease_a")))
        [end] = stage.link.ends("lease_a")
        assert (end.failure, "never thought of" in end.detail) == (FailureClass.INPUT_FAILED, True)
        stage.records.collect_errors.append(RuntimeError("nor of this"))
        await stage.running(run_spec("lease_b", outputs=[OutputFile("result", "out")]))
        stage.driver.end(seen_ended("lease_b"))
        await stage.until(lambda: bool(stage.link.ends("lease_b")))
        [end] = stage.link.ends("lease_b")
        assert (end.failure, "nor of this" in end.detail) == (FailureClass.OUTPUT_FAILED, True)
        stage.driver.start_errors.append(RuntimeError("nor that"))
        stage.link.order(run_order(run_spec("lease_c")))
        await stage.until(lambda: bool(stage.link.ends("lease_c")))
        [end] = stage.link.ends("lease_c")
        assert (end.failure, "nor that" in end.detail) == (FailureClass.START_FAILED, True)

    play(scene)


def test_an_end_is_told_until_it_is_answered_and_then_once() -> None:
    async def scene(stage: Stage) -> None:
        await stage.running()
        stage.link.cut = True
        stage.driver.end(seen_ended())
        await asyncio.sleep(30)
        assert stage.records.runs != {}
        stage.link.cut = False
        await stage.until(lambda: stage.records.runs == {})
        await asyncio.sleep(30)
        assert len(stage.link.ends()) == 1

    play(scene)


def test_output_arrives_before_the_folder_goes() -> None:
    async def scene(stage: Stage) -> None:
        await stage.running()
        stage.records.output["lease_a"] = b"x" * 2_500
        stage.link.logs_cut = True
        stage.driver.end(seen_ended())
        await stage.until(lambda: bool(stage.link.ends()))
        await asyncio.sleep(10)
        assert "lease_a" in stage.records.output
        stage.link.logs_cut = False
        await stage.until(lambda: stage.records.runs == {})
        assert stage.link.log[("lease_a", "stdout")] == b"x" * 2_500

    play(scene)


def test_output_beyond_the_limit_holds_nothing_up() -> None:
    async def scene(stage: Stage) -> None:
        stage.link.most_log = 1_500
        await stage.running()
        stage.records.output["lease_a"] = b"x" * 9_000
        stage.driver.end(seen_ended())
        await stage.until(lambda: stage.records.runs == {})
        assert len(stage.link.log[("lease_a", "stdout")]) == 1_000

    play(scene)


def test_output_that_is_refused_holds_up_no_other_runs() -> None:
    async def scene(stage: Stage) -> None:
        stage.link.refused_log = "lease_a"
        await stage.running(run_spec("lease_a"))
        await stage.running(run_spec("lease_b"))
        stage.records.output.update(lease_a=b"bad", lease_b=b"good")
        await stage.until(lambda: stage.link.log.get(("lease_b", "stdout")) == b"good", 20)
        stage.driver.end(seen_ended("lease_a"))
        await stage.until(lambda: "lease_a" not in stage.records.runs, 20)

    play(scene)


@pytest.mark.parametrize("required", [True, False])
def test_outputs_are_kept_before_the_end_is_told(required: bool) -> None:
    async def scene(stage: Stage) -> None:
        record = OutputRecord("result", "sha256:" + "1" * 64, 9)
        stage.records.outputs["lease_a"] = (record,)
        stage.records.collect_errors.extend([DOWN] if required else [OSError("gone")])
        await stage.running(run_spec(outputs=[OutputFile("result", "out")]))
        stage.driver.end(seen_ended())
        await stage.until(lambda: bool(stage.link.ends()))
        [end] = stage.link.ends()
        if required:
            assert end.outputs == [record]
        else:
            assert end.failure is FailureClass.OUTPUT_FAILED

    play(scene)


def test_a_revoked_credential_is_told_and_tried_seldom() -> None:
    async def scene(stage: Stage) -> None:
        await stage.running()
        refusal = Unauthenticated("CredentialInvalid", "revoked")
        stage.link.errors.extend([refusal] * 1_000)
        await asyncio.sleep(60)
        assert stage.host.fatal is refusal
        assert len(stage.link.errors) > 980
        assert stage.driver.stopped == [("lease_a", FailureClass.LEASE_EXPIRED)]

    play(scene)


def test_an_order_that_comes_twice_counts_once() -> None:
    async def scene(stage: Stage) -> None:
        await stage.running()
        for _ in range(5):
            stage.link.errors.append(Unavailable("ControlPlaneUnreachable", "again"))
            await asyncio.sleep(15)
        assert len(stage.link.reconciliations) > 1
        assert stage.driver.started == ["lease_a"]

    play(scene)


def test_an_inventory_that_changed_is_told() -> None:
    async def scene(stage: Stage) -> None:
        stage.driver.grow()
        await stage.until(lambda: any(p.pools for _, p in stage.link.polls))

    play(scene)


def test_a_forgotten_run_is_gone_and_an_unknown_one_is_no_trouble() -> None:
    async def scene(stage: Stage) -> None:
        await stage.running()
        stage.driver.end(replace(seen_ended(), exit_code=1))
        await stage.until(lambda: bool(stage.link.ends()))
        stage.link.order(forget_order(), forget_order("lease_never_seen"))
        await stage.until(lambda: stage.records.runs == {})
        stage.link.order(stop_order("lease_never_seen"))
        await stage.until(lambda: bool(stage.link.ends("lease_never_seen")))

    play(scene)


def test_what_no_record_is_left_of_is_ended_before_the_agent_says_what_it_has() -> None:
    """The agent's disk was lost: its room was given to others while the old run went on."""

    async def scene(stage: Stage) -> None:
        spec = await stage.running()
        await stage.down()
        stage.records.runs.clear()
        stage.link.open.clear()
        await stage.up()
        assert stage.driver.stopped == [(spec.lease_id, FailureClass.STOPPED)]
        assert stage.driver.forgotten == [spec.lease_id]
        assert stage.driver.runs == {}

    play(scene)


def test_nothing_is_kept_of_what_was_ended_as_a_stranger() -> None:
    async def scene(stage: Stage) -> None:
        stranger, own = await stage.running(), run_spec("lease_b")
        stage.link.order(run_order(own))
        await stage.until(lambda: own.lease_id in stage.driver.runs)
        await stage.down()
        del stage.records.runs[stranger.lease_id]
        stage.link.close(stranger.lease_id)
        await stage.up()
        assert list(stage.host._holders) == [own.lease_id]

    play(scene)


@pytest.mark.parametrize("outlives", [True, False])
def test_orders_are_on_disk_before_an_engine_has_them_that_outlives_the_machine(
    outlives: bool,
) -> None:
    async def scene(stage: Stage) -> None:
        stage.driver.outlives_machine = outlives
        stage.driver.start_errors.append(DOWN)
        stage.link.order(run_order(run_spec()), run_order(run_spec("lease_b")))
        await stage.until(lambda: len(stage.driver.started) == 2)
        assert stage.records.flushed == ([["lease_a", "lease_b"]] if outlives else [])

    play(scene)


def test_what_cannot_be_made_durable_is_not_started() -> None:
    async def scene(stage: Stage) -> None:
        stage.driver.outlives_machine = True
        stage.records.flush_errors.append(OSError(5, "Input/output error"))
        stage.link.order(run_order(run_spec()))
        await stage.until(lambda: bool(stage.link.ends()))
        [end] = stage.link.ends()
        assert (end.failure, stage.driver.started) == (FailureClass.START_FAILED, [])
        assert "Input/output error" in end.detail

    play(scene)


def test_an_engine_that_fails_while_strangers_are_ended_is_asked_again() -> None:
    async def scene(stage: Stage) -> None:
        await stage.running()
        await stage.down()
        stage.records.runs.clear()
        stage.link.open.clear()
        stage.driver.stop_errors.extend([DOWN] * 3)
        await stage.up()
        await stage.until(lambda: stage.driver.runs == {})
        assert stage.host.core.runs == {}

    play(scene)
