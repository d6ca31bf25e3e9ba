"""The Slurm driver on a real Slurm: crashes, preemption, lost nodes, and an agent that dies.

Whatever breaks, a run runs at most once, its end is told truly, and no job is left behind.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from components.slurm import Layout, shared_cluster
from components.slurm_site import SlurmSite, until
from suanwang.agent.machine import Machine
from suanwang.agent.port import Completed
from suanwang.kernel.errors import Unavailable
from suanwang.protocol.messages import FailureClass, Phase, Quantity

pytestmark = pytest.mark.slurm


class Severed(Machine):
    """A machine on which one command does its work, but its answer never comes back."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.times = 0

    async def run(self, argv, **options) -> Completed:  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003
        done = await super().run(argv, **options)
        if self.program in argv and self.times == 0:
            self.times += 1
            return Completed(124, "", f"{self.program}: no answer in time")
        return done


async def test_the_controller_dies_while_runs_begin_and_end(site: SlurmSite) -> None:
    before = site.prepare("echo >up; until [ -e go ]; do sleep 0.05; done; exit 3")
    after = site.prepare("echo >up; until [ -e go ]; do sleep 0.05; done; exit 4")
    await site.start(before, after)
    await until((before.work / "up").exists, "the first run is up")
    await until((after.work / "up").exists, "the second run is up")
    await site.running(before)
    site.foreign("--hold", "--wrap", "exit 0")  # something to save, so that it saves
    site.cluster.wait_for_state_saved()
    site.cluster.kill_controller()
    try:
        (before.work / "go").touch()
        # an end is a fact, whether or not the controller lives to hear of it
        assert (await site.end(before)).exit_code == 3
        during = site.prepare("exit 5")
        [seen] = await site.start(during)
        assert seen.phase is Phase.ACCEPTED
        assert "does not take it yet" in seen.detail
        for _ in range(4):  # longer than the grace after which a run counts as vanished
            await site.driver.changes(1.0)
        unknown = [s for s in await site.driver.observe() if s.phase is not Phase.ENDED]
        assert {s.lease_id for s in unknown} == {after.spec.lease_id, during.spec.lease_id}
        with pytest.raises(Unavailable):
            await site.driver.inventory()
    finally:
        site.cluster.start_controller()
        site.cluster.heal()
    (after.work / "go").touch()
    assert (await site.end(after)).exit_code == 4
    assert (await site.end(during)).exit_code == 5


async def test_preemption_is_told_as_the_sites_doing(site: SlurmSite) -> None:
    quantity = Quantity(4000, 1000)
    runs = [
        site.prepare("sleep 600", pool="spot", preemptible=True, member_quantity=quantity, env=env)
        for env in ({}, {"A": "1"}, {"A": "2"})
    ]
    await site.start(*runs)
    for run in runs:
        await site.running(run)
    boss = site.foreign("-p", "urgent", "-N3", "--exclusive", "--wrap", "sleep 600")
    await until(lambda: site.slurm_state(boss) == "RUNNING", "the urgent job runs")
    for run in runs:
        end = await site.end(run)
        assert end.failure is FailureClass.PREEMPTED_BY_SITE, end
        assert "preempted" in end.detail
    await until(lambda: site.cluster.jobs() == [boss], "Slurm did not requeue them")


async def test_preemption_with_a_grace_lets_runs_save_their_work(tmp_path: Path) -> None:
    site = SlurmSite(shared_cluster(Layout(preemption_grace_s=5)), tmp_path)
    await site.open()
    try:
        quantity = Quantity(4000, 1000)
        saves = "trap 'echo saved >saved; exit 0' TERM; echo >up; while :; do sleep 0.1; done"
        hangs = "trap '' TERM; echo >up; while :; do sleep 0.1; done"
        dies = "echo >up; exec sleep 600"
        runs = [
            site.prepare(script, pool="spot", preemptible=True, member_quantity=quantity)
            for script in (saves, hangs, dies)
        ]
        await site.start(*runs)
        for run in runs:
            await until((run.work / "up").exists, "the run is up")
        boss = site.foreign("-p", "urgent", "-N3", "--exclusive", "--wrap", "sleep 600")
        for run in runs:
            end = await site.end(run)
            assert end.failure is FailureClass.PREEMPTED_BY_SITE, end
        assert (runs[0].work / "saved").exists()
        await until(lambda: site.slurm_state(boss) == "RUNNING", "the urgent job runs")
    finally:
        await site.driver.close()
        site.cluster.empty()


async def test_a_requeue_by_the_site_is_an_end_and_runs_nothing_twice(site: SlurmSite) -> None:
    run = site.prepare("echo ran >>ran; sleep 600")
    await site.start(run)
    await until((run.work / "ran").exists, "the run is up")
    await site.running(run)
    job = site.job_of(run)
    site.cluster.run("scontrol", "update", f"JobId={job}", "Requeue=1")
    site.cluster.run("scontrol", "requeue", job)
    end = await site.end(run)
    assert end.failure is FailureClass.NODE_FAILURE, end
    assert "requeued" in end.detail
    await site.quiet()
    assert (run.work / "ran").read_text() == "ran\n"


async def test_cancelled_at_the_site_is_not_the_users_failure(site: SlurmSite) -> None:
    run = site.prepare("echo >up; sleep 600")
    await site.start(run)
    await until((run.work / "up").exists, "the run is up")
    site.cluster.run("scancel", site.job_of(run))
    end = await site.end(run)
    assert end.failure is FailureClass.STOPPED
    assert "at the site" in end.detail


async def test_a_lost_node_is_a_node_failure(site: SlurmSite) -> None:
    run = site.prepare("echo >up; sleep 600")
    await site.start(run)
    await until((run.work / "up").exists, "the run is up")
    [node] = (await site.running(run)).nodes
    site.cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=fire")
    end = await site.end(run)
    assert end.failure is FailureClass.NODE_FAILURE, end
    assert end.detail == "a node failed"


async def test_an_answer_of_sbatch_that_is_lost_leaks_no_job(site: SlurmSite) -> None:
    await site.driver.close()
    site.machine = Severed("sbatch")
    await site.open()
    run = site.prepare("echo ran >>ran; sleep 0.5")
    [seen] = await site.start(run)
    assert seen.phase is Phase.ACCEPTED
    assert (await site.end(run)).failure is FailureClass.NONE
    assert (run.work / "ran").read_text() == "ran\n"
    assert site.machine.times == 1
    await site.quiet()


async def test_an_agent_killed_inside_sbatch_finds_its_job_again(site: SlurmSite) -> None:
    await site.driver.close()
    site.machine = Severed("sbatch")
    await site.open()
    single = site.prepare("echo ran >>ran; sleep 1", env={"A": "1"})
    crowd = [
        site.prepare("echo ran >>ran; sleep 1", member_quantity=Quantity(1000, 50))
        for _ in range(3)
    ]
    await site.start(single)
    await site.kill_agent()  # the answer to sbatch was never written down
    site.machine = Severed("sbatch")
    await site.open()
    await site.start(*crowd)
    await site.kill_agent()
    site.machine = Machine()
    await site.open()
    seen = {each.lease_id: each for each in await site.driver.observe()}
    assert set(seen) == {run.spec.lease_id for run in (single, *crowd)}
    assert all(each.engine_id for each in seen.values())
    await site.start(single, *crowd)
    for run in (single, *crowd):
        assert (await site.end(run)).failure is FailureClass.NONE
        assert (run.work / "ran").read_text() == "ran\n"


async def test_an_order_that_never_reached_slurm_is_not_claimed_after_a_restart(
    site: SlurmSite,
) -> None:
    """Its secrets were in memory only: whoever holds the order starts it again."""
    run = site.prepare("test ${#KEY} = 5", secrets={"KEY": "12345"})
    site.cluster.kill_controller()
    try:
        await site.start(run)
        await site.kill_agent()
    finally:
        site.cluster.start_controller()
        site.cluster.heal()
    await site.open()
    assert await site.driver.observe() == []
    await site.start(run)
    assert (await site.end(run)).failure is FailureClass.NONE


async def test_of_two_jobs_of_one_lease_only_one_runs(site: SlurmSite) -> None:
    """As after a crash in which an orphaned sbatch gets through later than its successor."""
    run = site.prepare("echo ran >>ran; until [ -e go ]; do sleep 0.05; done; exit 8")
    await site.start(run)
    await until((run.work / "ran").exists, "the run is up")
    job = site.job_of(run)
    shown = site.cluster.run("scontrol", "-o", "show", "job", job)
    state = site.folder / "state" / "slurm"
    [script] = state.glob("batch.*.sh")
    comment = shown.split("Comment=")[1].split()[0]
    name = run.spec.lease_id
    words = ("-J", name, f"--comment={comment}", str(script), str(state), name)
    double = site.foreign("--begin=now", *words)
    await until(lambda: site.slurm_state(double) not in ("PENDING", "RUNNING"), "the double goes")
    (run.work / "go").touch()
    assert (await site.end(run)).exit_code == 8
    assert (run.work / "ran").read_text() == "ran\n"


async def test_a_job_that_no_lease_stands_behind_is_cancelled(site: SlurmSite) -> None:
    keep = site.foreign("-J", "not-ours", "--wrap", "sleep 600")
    mark = (site.folder / "state" / "slurm" / "instance").read_text().strip()
    leak = site.foreign("-J", "lse_lost", f"--comment=suan/{mark}/lse_lost/1", "--wrap", "sleep 60")
    run = site.prepare("sleep 2")
    await site.start(run)
    await site.end(run)
    await until(lambda: site.slurm_state(leak) == "CANCELLED", "the leak is taken back")
    await until(lambda: site.cluster.jobs() == [keep], "only the foreign job is left")


async def test_without_contact_runs_end_though_no_agent_lives(site: SlurmSite) -> None:
    await site.driver.contact(site.machine.monotonic_ms())
    mortal = site.prepare("echo >up; sleep 600", stop_on_client_after_s=4)
    patient = site.prepare("echo >up; sleep 600", stop_on_client_after_s=600)
    gang = site.prepare("echo >up; sleep 600", stop_on_client_after_s=4, members=2)
    await site.start(mortal, patient, gang)
    await site.up(mortal, patient, gang)
    jobs = {site.job_of(run): run for run in (mortal, gang)}
    await site.kill_agent()
    for job in jobs:
        await until(lambda: site.slurm_state(job) == "FAILED", "the guard ends it")  # noqa: B023
    await site.open()
    assert (await site.end(mortal)).failure is FailureClass.LEASE_EXPIRED
    assert (await site.end(gang)).failure is FailureClass.LEASE_EXPIRED
    assert (await site.running(patient)).phase is Phase.RUNNING


async def test_a_run_that_comes_out_of_the_queue_too_late_does_nothing(site: SlurmSite) -> None:
    blocker = site.foreign("-N3", "--exclusive", "--wrap", "sleep 600")
    await until(lambda: site.slurm_state(blocker) == "RUNNING", "the foreign job runs")
    heard_ms = site.machine.monotonic_ms()
    await site.driver.contact(heard_ms)
    run = site.prepare("echo ran >>ran", stop_on_client_after_s=1)
    await site.start(run)
    job = site.job_of(run)
    await site.kill_agent()
    await until(lambda: site.machine.monotonic_ms() > heard_ms + 2_000, "its time is over")
    site.cluster.run("scancel", blocker)
    await until(lambda: site.slurm_state(job) == "FAILED", "it comes out of the queue")
    await site.open()
    end = await site.end(run)
    assert end.failure is FailureClass.LEASE_EXPIRED
    assert end.started_at_ms is None
    assert not (run.work / "ran").exists()


async def test_a_batch_script_killed_outright_is_still_classed(site: SlurmSite) -> None:
    """No exit record can be written: Slurm's word has to do."""
    run = site.prepare("echo >up; kill -9 $PPID; sleep 600")
    await site.start(run)
    end = await site.end(run)
    assert (end.failure, end.exit_code) == (FailureClass.SIGNAL, 137), end
    assert end.started_at_ms is not None


async def test_a_state_folder_that_the_nodes_do_not_see_is_named(site: SlurmSite) -> None:
    run = site.prepare("exit 0")
    blocker = site.foreign("-N3", "--exclusive", "--wrap", "sleep 600")
    await until(lambda: site.slurm_state(blocker) == "RUNNING", "the foreign job runs")
    await site.start(run)
    spec = site.folder / "state" / "slurm" / "specs" / f"{run.spec.lease_id}.sh"
    spec.rename(spec.with_suffix(".hidden"))
    site.cluster.run("scancel", blocker)
    end = await site.end(run)
    assert end.failure is FailureClass.START_FAILED
    assert "shared file system" in end.detail


async def test_what_can_never_start_is_taken_back(site: SlurmSite) -> None:
    run = site.prepare("exit 0", pool="spot", max_runtime_s=7200)
    await site.start(run)
    end = await site.end(run)
    assert end.failure is FailureClass.START_FAILED
    assert "time" in end.detail
    await site.quiet()


async def test_forgotten_by_slurm_and_without_a_record_is_vanished(tmp_path: Path) -> None:
    """Slurm forgets ended jobs after MinJobAge; a node that burnt down wrote nothing."""
    site = SlurmSite(shared_cluster(Layout(nodes=1, min_job_age_s=2)), tmp_path)
    await site.open()
    run = site.prepare("echo >up; sleep 600")
    recorded = site.prepare("exit 6", member_quantity=Quantity(1000, 90))
    await site.start(run, recorded)
    await until((run.work / "up").exists, "the run is up")
    await site.kill_agent()
    job = site.job_of(run)
    pids = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if _cmdline(path)[-2:] == [str(site.folder / "state" / "slurm"), run.spec.lease_id]
    ]
    os.kill(min(pids), signal.SIGKILL)
    await until(lambda: job not in site.cluster.run("squeue", "-h", "-t", "all"), "it is forgotten")
    await site.open()
    assert (await site.end(recorded)).exit_code == 6, "a record outlives Slurm's memory"
    end = await site.end(run)
    assert end.failure is FailureClass.VANISHED
    await site.driver.close()
    site.cluster.empty()


def _cmdline(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


async def test_three_hundred_runs_end_once_each_and_leave_nothing(site: SlurmSite) -> None:
    runs = [site.prepare(f"exit {i % 5}", env={"I": str(i)}) for i in range(300)]
    await site.start(*runs)
    ends: dict[str, list[int | None]] = {}
    while len(ends) < len(runs):
        for change in await site.driver.changes(30):
            if change.phase is Phase.ENDED:
                ends.setdefault(change.lease_id, []).append(change.exit_code)
    assert [ends[run.spec.lease_id] for run in runs] == [[i % 5] for i in range(300)]
    for run in runs:
        await site.driver.forget(run.spec.lease_id)
    await site.quiet()
    left = [p for p in (site.folder / "state" / "slurm").rglob("*") if p.is_file()]
    assert {p.name.split(".")[0] for p in left} <= {"batch", "instance", "contact"}, left
