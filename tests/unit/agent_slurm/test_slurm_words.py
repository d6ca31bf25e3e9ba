"""What is said to Slurm: options of sbatch, the environment, the script; and what a no means."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from suanwang.agent.config import PoolConfig
from suanwang.agent.drivers.slurm import commands, script
from suanwang.agent.drivers.slurm.commands import Slurm
from suanwang.agent.drivers.slurm.inventory import Bounds
from suanwang.kernel.errors import InvalidInput
from suanwang.protocol.messages import Quantity, RunSpec


def spec(**fields: object) -> RunSpec:
    given: dict[str, object] = {
        "lease_id": "lse_1",
        "epoch": 3,
        "task_id": "tsk_1",
        "job_id": "job_1",
        "job_name": "x",
        "pool": "main",
        "command": ["true"],
        "member_quantity": Quantity(1500, 1000),
    } | fields
    return RunSpec(**given)  # type: ignore[arg-type]


def pool(**options: str) -> PoolConfig:
    return PoolConfig(name="main", driver="slurm", options=options)


def test_a_single_run_asks_by_node() -> None:
    quantity = Quantity(1500, 1000, 0, 2000)
    words = commands.resource_words(spec(member_quantity=quantity), pool(gres_type="a100"), None)
    assert {"--cpus-per-task=2", "--mem=1000M", "--gres=gpu:a100:2", "--nodes=1"} <= set(words)
    assert "--no-requeue" in words


def test_a_gang_asks_by_member_wherever_slurm_puts_it() -> None:
    quantity = Quantity(3000, 1000, 0, 1000)
    words = commands.resource_words(spec(member_quantity=quantity, members=4), pool(), None)
    assert {"--ntasks=4", "--cpus-per-task=3", "--mem-per-cpu=334M"} <= set(words)
    assert "--gpus-per-task=1" in words
    other = commands.resource_words(
        spec(member_quantity=quantity, members=4), pool(gres="dcu"), None
    )
    assert {"--gres=dcu:1", "--nodes=4", "--ntasks-per-node=1"} <= set(other)


@pytest.mark.parametrize(
    ("runtime_s", "limit_s", "minutes"),
    [(60, None, 2), (3600, None, 61), (3600, 3600, 60), (7200, 3600, 120), (1, 60, 1)],
)
def test_time_leaves_room_for_the_grace_but_not_past_the_partition(
    runtime_s: int, limit_s: int | None, minutes: int
) -> None:
    words = commands.resource_words(spec(max_runtime_s=runtime_s, grace_s=10), pool(), limit_s)
    assert f"--time={minutes}" in words


def test_hints_override_the_pool_where_the_operator_lets_them() -> None:
    run = spec(engine={"account": "theirs", "qos": "high", "partition": "secret"})
    words = commands.resource_words(run, pool(account="ours", hints="qos"), None)
    assert {"--account=ours", "--qos=high", "--partition=main"} <= set(words)


def test_sbatch_gets_secrets_on_stdin_and_nothing_of_ours() -> None:
    secret = "a 'quoted'\nsecret"
    argv, stdin = Slurm(conf="/etc/slurm.conf").sbatch(
        ["--parsable"], {"LD_PRELOAD": secret}, {"PATH": "/bin"}
    )
    assert argv[:2] == ["env", "-i"]
    assert not any(secret in word for word in argv)
    told = subprocess.run(
        [*argv[:-2], "/usr/bin/env", "-0"], input=stdin, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    names = {line.split("=", 1)[0] for line in told}
    assert f"SUAN_SECRET_1=LD_PRELOAD={secret}" in told
    assert "LD_PRELOAD" not in names, "no tenant's name acts on the login node"
    assert names <= {
        "SUAN_SECRET_1",
        "PATH",
        "LANG",
        "SLURM_CONF",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
        "",
    }


def test_the_specs_values_survive_the_shell(tmp_path: Path) -> None:
    odd = 'it\'s $HOME `x` "y"\nnext'
    folder = tmp_path / "run's folder"
    run = spec(command=["printf", "%s", odd], env={"A": odd, "b.c": "d"})
    text = script.spec_text(run, pool(), folder, tmp_path / "batch.sh")
    file = tmp_path / "spec.sh"
    file.write_text(text)
    shell = f'. "{file}"; environment; "${{COMMAND[@]}}"; printf "|%s|%s" "$A" "$RUN"'
    told = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert told.stdout == f"{odd}|{odd}|{folder}"


def test_the_batch_script_is_sound_bash() -> None:
    subprocess.run(["bash", "-n"], input=script.batch_text(), text=True, check=True)
    assert script.batch_name("a") != script.batch_name("b")


@pytest.mark.parametrize(
    ("words", "later", "limit"),
    [
        ("Unable to contact slurm controller (connect failure)", True, False),
        ("Batch job submission failed: Socket timed out on send/recv operation", True, False),
        ("QOSMaxSubmitJobPerUserLimit\nJob violates accounting/QOS policy", False, True),
        ("Batch job submission failed: Invalid account or account/partition", False, False),
        ("Requested node configuration is not available", False, False),
    ],
)
def test_what_may_work_later(words: str, later: bool, limit: bool) -> None:
    stderr = "\n".join(f"sbatch: error: {line}" for line in words.splitlines())
    assert commands.transient(1, stderr) is later
    assert commands.over_limit(stderr) is limit
    assert "sbatch" not in commands.reason_of(stderr)


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(InvalidInput, match="partitoin"):
        commands.check_options(pool(partitoin="x"))


def test_what_can_never_fit_is_said_in_numbers() -> None:
    bounds = Bounds(None, Quantity(4000, 2000), Quantity(12_000, 6000))
    assert bounds.refuses(Quantity(4000, 2000), 3) == ""
    assert "largest node has 4" in bounds.refuses(Quantity(8000, 100), 1)
    assert "all nodes together 12" in bounds.refuses(Quantity(4000, 100), 4)
