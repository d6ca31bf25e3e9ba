"""The Slurm driver on a real Slurm: ordinary runs, on clusters with and without accounting."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from components.slurm import Layout, cgroups_work, shared_cluster
from components.slurm_site import SlurmSite, as_nobody, until
from suanwang.protocol.messages import FailureClass, Phase, Quantity

pytestmark = pytest.mark.slurm


async def test_ends_are_told_apart(site: SlurmSite) -> None:
    good = site.prepare("echo fine")
    bad = site.prepare("exit 3")
    shot = site.prepare("kill -USR2 $$")
    late = site.prepare("exec sleep 600", max_runtime_s=1)
    lost = site.prepare(["./not-here"])
    await site.start(good, bad, shot, late, lost)
    ends = [await site.end(run) for run in (good, bad, shot, late, lost)]
    assert [(end.failure, end.exit_code) for end in ends] == [
        (FailureClass.NONE, 0),
        (FailureClass.EXIT, 3),
        (FailureClass.SIGNAL, 140),
        (FailureClass.TIMEOUT, 143),
        (FailureClass.START_FAILED, None),
    ]
    assert all(end.nodes and end.engine_id for end in ends)
    assert good.stdout.read_text() == "fine\n"


async def test_the_end_of_a_run_spares_another_agents_run_of_the_same_id(site: SlurmSite) -> None:
    """A lease's id is unique on one platform; a node may serve agents of several."""
    run = site.prepare("exit 0")
    namesake = os.environ | {"SUAN_LEASE_ID": run.spec.lease_id, "SUAN_MEMBER": "0"}
    theirs = await asyncio.create_subprocess_exec("sleep", "600", env=namesake)
    try:
        await site.start(run)
        assert (await site.end(run)).failure is FailureClass.NONE
        assert theirs.returncode is None
    finally:
        theirs.kill()
        await theirs.wait()


async def test_a_pending_run_says_why_and_can_be_cancelled(site: SlurmSite) -> None:
    blocker = site.foreign("-N3", "--exclusive", "--wrap", "sleep 600")
    await until(lambda: site.slurm_state(blocker) == "RUNNING", "the foreign job runs")
    run = site.prepare("exit 0")
    await site.start(run)
    waiting = await site.until(run, lambda seen: "Resources" in seen.detail)
    assert waiting.phase is Phase.ACCEPTED
    await site.driver.stop(run.spec.lease_id, 0, FailureClass.STOPPED)
    end = await site.end(run)
    assert end.failure is FailureClass.STOPPED
    assert end.started_at_ms is None
    assert site.cluster.jobs() == [blocker]


async def test_a_running_run_is_cancelled_with_its_grace(site: SlurmSite) -> None:
    run = site.prepare("trap 'echo saved >saved; exit 0' TERM; echo >up; sleep 600 & wait")
    await site.start(run)
    await until((run.work / "up").exists, "the run is up")
    await site.driver.stop(run.spec.lease_id, 10, FailureClass.LEASE_EXPIRED)
    end = await site.end(run)
    assert end.failure is FailureClass.LEASE_EXPIRED
    assert (run.work / "saved").exists()


async def test_a_gang_on_two_nodes_talks(site: SlurmSite) -> None:
    code = """
import os, socket, time
me = int(os.environ["SUAN_MEMBER"])
host, port = os.environ["SUAN_PEERS"].split(",")[1].rsplit(":", 1)
where = os.environ["SLURMD_NODENAME"]
if me == 1:
    with socket.create_server(("", int(port))) as server:
        peer, _ = server.accept()
        print(where, "heard", peer.recv(100).decode())
else:
    for _ in range(200):
        try:
            with socket.create_connection((host, int(port))) as s:
                s.sendall(where.encode())
                break
        except OSError:
            time.sleep(0.05)
"""
    # three cores a member: two do not fit on one node of four
    quantity = Quantity(3000, 300, 0, 1000)
    run = site.prepare(["/usr/bin/env", "python3", "-c", code], members=2, member_quantity=quantity)
    await site.start(run)
    end = await site.end(run)
    assert end.failure is FailureClass.NONE, (run.folder / "stderr.log").read_text()
    assert len(end.nodes) == 2
    heard = (run.folder / "stdout.1.log").read_text().split()
    assert heard == [end.nodes[1], "heard", end.nodes[0]]


async def test_a_gang_larger_than_what_is_free_waits_as_a_whole(site: SlurmSite) -> None:
    blocker = site.foreign("-N2", "--exclusive", "--wrap", "sleep 600")
    await until(lambda: site.slurm_state(blocker) == "RUNNING", "the foreign job runs")
    run = site.prepare("echo $SUAN_MEMBER", members=3, member_quantity=Quantity(3000, 100))
    await site.start(run)
    await site.until(run, lambda seen: "Resources" in seen.detail)
    assert not list(run.folder.glob("stdout.*"))
    site.cluster.run("scancel", blocker)
    assert (await site.end(run)).failure is FailureClass.NONE


async def test_cards_are_given_and_shown(site: SlurmSite) -> None:
    script = "echo $SUAN_ACCELERATORS/$SLURM_GPUS_ON_NODE; sleep 1"
    runs = [site.prepare(script, member_quantity=Quantity(1000, 100, 0, 1000)) for _ in range(2)]
    await site.start(*runs)
    ends = [await site.end(run) for run in runs]
    assert all(end.failure is FailureClass.NONE for end in ends)
    shown = [run.stdout.read_text().strip() for run in runs]
    assert all(text.endswith("/1") and text[0] in "01" for text in shown), shown
    if ends[0].nodes == ends[1].nodes:
        assert shown[0] != shown[1], "each has a card of its own"


async def test_equal_runs_share_one_array_job(site: SlurmSite) -> None:
    runs = [
        site.prepare(f'echo "$SUAN_ARRAY_INDEX $NAME"; exit {i % 2}', env={"NAME": f"run {i}"},
                     array_index=i, array_count=40)
        for i in range(40)
    ]  # fmt: skip
    began = await site.start(*runs)
    assert len({seen.engine_id.split("_")[0] for seen in began}) == 1
    for i, run in enumerate(runs):
        end = await site.end(run)
        assert end.exit_code == i % 2
        assert run.stdout.read_text() == f"{i} run {i}\n"
    await site.quiet()


async def test_a_single_element_of_an_array_can_be_stopped(site: SlurmSite) -> None:
    runs = [site.prepare("exec sleep 600") for _ in range(20)]
    await site.start(*runs)
    await site.running(runs[0])
    for run in (runs[0], runs[19]):
        await site.driver.stop(run.spec.lease_id, 1, FailureClass.STOPPED)
        assert (await site.end(run)).failure is FailureClass.STOPPED
    others = [seen for seen in await site.driver.observe() if seen.phase is not Phase.ENDED]
    assert len(others) == 18


async def test_secrets_are_seen_by_the_run_alone(site: SlurmSite) -> None:
    secret = "t0p-secret-value"
    run = site.prepare(
        "echo ${#PASSWORD}; env | grep -c SUAN_SECRET; echo >up; sleep 600",
        secrets={"PASSWORD": secret},
    )
    await site.start(run)
    await until((run.work / "up").exists, "the run is up")
    assert run.stdout.read_text() == f"{len(secret)}\n0\n"
    job = site.job_of(run)
    show = ["scontrol", "-dd", "show", "job", job]
    assert secret not in site.cluster.run(*show)
    if os.getuid() == 0:
        told = as_nobody(site.cluster, *show)
        assert f"JobId={job}" in told, "another user does see the job"
        assert secret not in told
        # ps of another user: arguments of every process
        assert secret not in as_nobody(site.cluster, "sh", "-c", "cat /proc/[0-9]*/cmdline")
        assert secret not in as_nobody(site.cluster, "scontrol", "write", "batch_script", job, "-")
        assert secret not in as_nobody(site.cluster, "sh", "-c", "cat /proc/[0-9]*/environ")
    ours = [path for path in site.folder.rglob("*") if path.is_file()]
    assert not [path for path in ours if secret.encode() in path.read_bytes()]


async def test_slurm_spools_the_secret_for_its_own_user_only(site: SlurmSite) -> None:
    """What the guide warns of: slurmctld keeps a job's environment while the job lives."""
    secret = "spooled-by-slurm"
    run = site.prepare("echo >up; sleep 600", secrets={"PASSWORD": secret})
    await site.start(run)
    state = site.cluster.folder / "state"
    holding = [
        path for path in state.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ]
    assert [path.name for path in holding] == ["environment"]
    assert (holding[0].parent.stat().st_mode & 0o077) == 0


HOG = "x = bytearray(400 << 20)\nimport time\ntime.sleep(30)"


@pytest.mark.skipif(not cgroups_work(), reason="no writable memory controller")
async def test_over_its_memory_limit_is_out_of_memory(tmp_path: Path) -> None:
    site = SlurmSite(shared_cluster(Layout(nodes=1, cgroups=True)), tmp_path)
    await site.open()
    shot = site.prepare(["/usr/bin/env", "python3", "-c", HOG])
    wrapped = site.prepare(f"python3 -c '{HOG}'; exit 5")
    modest = site.prepare(["/usr/bin/env", "python3", "-c", "x = bytearray(50 << 20)"])
    await site.start(shot, wrapped, modest)
    assert (await site.end(shot)).failure is FailureClass.OUT_OF_MEMORY
    end = await site.end(wrapped)
    assert (end.failure, end.exit_code) == (FailureClass.OUT_OF_MEMORY, 5)
    end = await site.end(modest)
    assert end.failure is FailureClass.NONE
    assert 50 <= end.meters.max_rss_mib <= 100
    [pool, _] = await site.driver.inventory()
    assert pool.isolation == "Slurm with cgroups"
    await site.driver.close()
    site.cluster.empty()


async def test_without_cgroups_slurm_may_kill_for_memory_and_call_it_a_failure(
    site: SlurmSite,
) -> None:
    """OverMemoryKill ends the job with SIGKILL and keeps no other word of it than its own log."""
    run = site.prepare(["/usr/bin/env", "python3", "-c", HOG])
    await site.start(run)
    end = await site.end(run)
    assert (end.failure, end.exit_code) == (FailureClass.SIGNAL, 137)
    assert "exceeded memory limit" in run.stderr.read_text()


async def test_hints_become_options_and_a_bad_account_is_said_clearly(
    accounting_site: SlurmSite,
) -> None:
    site = accounting_site
    good = site.prepare("exit 0", engine={"account": "research", "qos": "scavenger"})
    bad = site.prepare("exit 0", engine={"account": "nobody-pays"})
    await site.start(good, bad)
    assert (await site.end(good)).failure is FailureClass.NONE
    end = await site.end(bad)
    assert end.failure is FailureClass.START_FAILED
    assert "account" in end.detail.lower()
    job = site.job_of(good)
    assert "Account=research QOS=scavenger" in site.cluster.run(
        "scontrol", "-o", "show", "job", job
    )


async def test_a_submit_limit_makes_runs_wait_not_fail(
    accounting_site: SlurmSite,
) -> None:
    site = accounting_site
    limit = ("sacctmgr", "-i", "modify", "qos", "scavenger", "set")
    site.cluster.run(*limit, "MaxSubmitJobsPerUser=2")
    try:
        runs = [site.prepare("sleep 0.2", engine={"qos": "scavenger"}) for _ in range(5)]
        began = await site.start(*runs)
        assert all(seen.phase is not Phase.ENDED for seen in began)
        for run in runs:
            assert (await site.end(run)).failure is FailureClass.NONE
    finally:
        site.cluster.run(*limit, "MaxSubmitJobsPerUser=-1")


async def test_inventory_tells_ours_from_theirs(site: SlurmSite) -> None:
    blocker = site.foreign("-c2", "--mem=500", "--gres=gpu:1", "-w", "n2", "--wrap", "sleep 600")
    await until(lambda: site.slurm_state(blocker) == "RUNNING", "the foreign job runs")
    run = site.prepare("exec sleep 600", member_quantity=Quantity(1000, 100, 0, 1000))
    await site.start(run)
    where = (await site.running(run)).nodes
    site.cluster.run("scontrol", "update", "NodeName=n3", "State=DRAIN", "Reason=disk swap")
    site.foreign("-N3", "--ntasks-per-node=4", "-t", "60", "--wrap", "sleep 600")
    try:
        main, spot = await site.driver.inventory()
    finally:
        site.cluster.run("scontrol", "update", "NodeName=n3", "State=RESUME")
    layout = site.cluster.layout
    assert [node.name for node in main.nodes] == ["n1", "n2", "n3"]
    whole = Quantity(layout.cpus * 1000, layout.memory_mib, 0, layout.gpus * 1000)
    assert all(node.capacity == whole for node in main.nodes)
    by_name = {node.name: node for node in main.nodes}
    assert by_name["n2"].foreign == Quantity(2000, 500, 0, 1000), where
    assert by_name["n1"].foreign == Quantity()
    assert not by_name["n3"].up
    assert "disk swap" in by_name["n3"].detail
    assert (main.max_runtime_s, spot.max_runtime_s) == (None, 3600)
    assert main.engine_version == "slurm 22.05.8"
    assert main.accelerator is not None
    # the whole of three nodes for an hour, on the two that are up
    assert main.backlog_s == 3 * layout.cpus * 3600 // (2 * layout.cpus)
    assert spot.backlog_s == 0


async def test_what_runs_is_adopted_by_a_new_agent(site: SlurmSite) -> None:
    run = site.prepare("echo >up; until [ -e go ]; do sleep 0.05; done; exit 9")
    crowd = [site.prepare("until [ -e go ]; do sleep 0.05; done; exit 4") for _ in range(3)]
    await site.start(run, *crowd)
    await until((run.work / "up").exists, "the run is up")
    await site.kill_agent()
    await site.open()
    assert [seen.engine_id for seen in await site.start(run)] != [""]
    assert len(site.cluster.jobs()) == 4, "not submitted again"
    for each in (run, *crowd):
        (each.work / "go").touch()
    assert (await site.end(run)).exit_code == 9
    assert [(await site.end(each)).exit_code for each in crowd] == [4, 4, 4]


async def test_pinned_nodes_are_kept_to(site: SlurmSite) -> None:
    await site.driver.close()
    await site.open(pin_nodes="yes")
    run = site.prepare("exit 0", nodes=[("n3", 1)])
    gang = site.prepare("exit 0", members=2, nodes=[("n1", 1), ("n3", 1)])
    await site.start(run, gang)
    assert (await site.end(run)).nodes == ("n3",)
    assert (await site.end(gang)).nodes == ("n1", "n3")
