"""The command line as users have it: real processes, a real platform, a real agent."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path

import pytest
from cli_platform import PATIENCE_S, SUAN, Platform, environment, platform_in

from components.cuttable_relay import CuttableRelay
from suanwang import Client
from suanwang.kernel.errors import NotFound, Unavailable

pytestmark = pytest.mark.xdist_group("cli")

SPEC = """\
name: report
workdir: ./code
command: python3 make.py && cat in/data.txt
inputs:
  data: {path: in/data.txt, file: ./data.txt}
outputs:
  result: result.txt
  folder: made
env: {GREETING: hello}
"""
PROGRAM = """\
import os, pathlib
print(os.environ["GREETING"], flush=True)
pathlib.Path("result.txt").write_text("42")
pathlib.Path("made").mkdir()
pathlib.Path("made/part.txt").write_text("part")
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform_in(tmp_path_factory.mktemp("cli"), "--local-site") as found:
        yield found


def test_first_start_signs_the_command_line_in(platform: Platform) -> None:
    assert platform.told["admin_login"] == "admin"
    assert platform.told["admin_password"]
    assert platform.config.stat().st_mode & 0o777 == 0o600
    who = platform.json("whoami")
    assert (who["login"], who["server"]) == ("admin", platform.told["address"])


def test_run_waits_and_gives_the_output_and_exit_code_of_the_job(platform: Platform) -> None:
    done = platform.suan("run", "--wait", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert "err\n" in done.stderr
    assert "✔" in done.stderr, "the candidate table is told beside the output"
    assert "exit code 7" in done.stderr


def test_a_specification_with_a_folder_an_input_and_outputs(
    platform: Platform, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "make.py").write_text(PROGRAM)
    (tmp_path / "data.txt").write_text("from the file\n")
    (tmp_path / "job.yaml").write_text(SPEC)
    done = platform.suan("run", "--wait", str(tmp_path / "job.yaml"))
    assert (done.returncode, done.stdout) == (0, "hello\nfrom the file\n"), done.stderr
    job = platform.json("ls", "-n", "1")[0]
    assert (job["name"], job["state"]) == ("report", "succeeded")
    got = platform.suan("cp", job["id"][-8:], str(tmp_path / "got"))
    assert got.returncode == 0, got.stderr
    assert (tmp_path / "got" / "result.txt").read_text() == "42"
    assert (tmp_path / "got" / "made" / "part.txt").read_text() == "part"
    only = platform.json("cp", f"{job['id']}:result", str(tmp_path / "only"))
    assert only == [str(tmp_path / "only" / "result.txt")]


def test_several_specifications_are_one_batch(platform: Platform, tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    path.write_text(
        "- {name: a, command: 'true'}\n- {name: b, command: 'true'}\n---\ncommand: 'false'"
    )
    done = platform.suan("run", "--json", "--wait", str(path))
    answer = json.loads(done.stdout)
    assert [job["state"] for job in answer["jobs"]] == ["succeeded", "succeeded", "failed"]
    assert done.returncode == 1, "the exit code of the first that failed"


def test_an_array_shows_its_progress_and_keeps_outputs_apart(
    platform: Platform, tmp_path: Path
) -> None:
    program = ("sh", "-c", "echo $SUAN_ARRAY_INDEX > n.txt")
    done = platform.suan("run", "--wait", "--array", "3", "--output", "n.txt", "--", *program)
    assert done.returncode == 0, done.stderr
    assert "3/3" in done.stderr
    job = platform.json("ls", "-n", "1")[0]
    platform.json("cp", job["id"], str(tmp_path))
    assert [(tmp_path / str(i) / "n.txt").read_text() for i in range(3)] == ["0\n", "1\n", "2\n"]
    last = platform.suan("logs", job["id"], "--task", "2")
    assert last.stdout == ""


def test_the_output_of_every_attempt_comes_in_order(platform: Platform, tmp_path: Path) -> None:
    path = tmp_path / "again.yaml"
    path.write_text("command: echo once; exit 1\nretries: {max: 1, backoff: 0}\n")
    done = platform.suan("run", "--wait", str(path))
    assert (done.returncode, done.stdout) == (1, "once\nonce\n")
    job = platform.json("ls", "-n", "1")[0]
    assert platform.suan("logs", job["id"]).stdout == "once\nonce\n"
    assert platform.suan("logs", job["id"], "--attempt", "2").stdout == "once\n"
    assert [x["epoch"] for x in platform.json("show", job["id"])["task_list"][0]["leases"]] == [
        1,
        2,
    ]


def test_cancel_ends_a_job_that_runs_and_logs_follow_to_its_end(platform: Platform) -> None:
    job_id = platform.submit("sh", "-c", "echo began; sleep 600")
    follower = subprocess.Popen(
        [*SUAN, "logs", "-f", job_id],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(platform.config),
    )
    assert follower.stdout is not None
    assert follower.stdout.readline() == "began\n"
    assert platform.suan("cancel", job_id).returncode == 0
    assert follower.wait(timeout=PATIENCE_S) == 0
    follower.stdout.close()
    waited = platform.suan("wait", job_id)
    assert (waited.returncode, waited.stdout.split()[-1]) == (125, "cancelled")


def test_interrupting_detaches_and_leaves_the_job_running(platform: Platform) -> None:
    watching = subprocess.Popen(
        [*SUAN, "run", "--wait", "--", "sh", "-c", "echo began; sleep 600"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(platform.config),
        # a suite started in the background has SIGINT ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    assert watching.stdout is not None
    assert watching.stdout.readline() == "began\n"
    watching.send_signal(signal.SIGINT)
    _, told = watching.communicate(timeout=PATIENCE_S)
    assert watching.returncode == 130
    assert "suan logs -f" in told
    job = platform.json("ls", "-n", "1")[0]
    assert job["state"] == "running"
    platform.suan("cancel", job["id"])


def test_what_can_run_nowhere_is_refused_with_the_reason(platform: Platform) -> None:
    done = platform.suan("run", "--wait", "--gpus", "A100:2", "--", "true")
    assert done.returncode == 125
    assert "AcceleratorModelMissing" in done.stderr
    assert "✔" not in done.stderr
    job = platform.json("ls", "-n", "1")[0]
    told = platform.suan("explain", job["id"]).stdout
    assert "local/machine has no accelerators, you asked for A100" in told


def test_waiting_is_explained(platform: Platform) -> None:
    cores = str(os.cpu_count())
    first = platform.submit("sleep", "600", options=("--cpus", cores))
    second = platform.submit("sleep", "600", options=("--cpus", cores))
    for _ in range(100):
        told = platform.suan("explain", second).stdout
        if "Why" in told:
            break
    assert "NoFreeCapacityNow" in told
    assert platform.json("explain", second)["waiting"]["reason"] == "NoFreeCapacityNow"
    assert platform.suan("cancel", first, second).returncode == 0


@pytest.mark.parametrize(("answer", "submitted"), [("n\n", 0), ("\n", 1), ("y\n", 1)])
def test_on_a_terminal_it_asks(platform: Platform, answer: str, submitted: int) -> None:
    before = len(platform.json("ls", "-a"))
    ours, theirs = pty.openpty()
    asking = subprocess.Popen(
        [*SUAN, "run", "--", "true"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(platform.config),
    )
    os.close(theirs)
    told = b""
    while b"[Y/n]" not in told:
        told += os.read(ours, 4096)
    os.write(ours, answer.encode())
    try:
        while piece := os.read(ours, 4096):
            told += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert asking.wait(timeout=PATIENCE_S) == (0 if submitted else 1)
    assert len(platform.json("ls", "-a")) == before + submitted
    assert (b"suan logs -f" in told) == bool(submitted)


def test_plan_alone_submits_nothing(platform: Platform) -> None:
    before = len(platform.json("ls", "-a"))
    done = platform.suan("run", "--plan", "--json", "--", "true")
    answer = json.loads(done.stdout)["plans"][0]
    assert answer["feasible"]
    assert answer["candidates"][0]["site"] == "local"
    assert len(platform.json("ls", "-a")) == before


@pytest.fixture
def client(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("SUAN_CONFIG", str(platform.config))
    with Client() as opened:
        yield opened


def test_the_software_kit_goes_the_same_way(client: Client, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "hi.sh").write_text("echo hi; echo kept > out.txt")
    spec = {"command": "sh hi.sh", "workdir": "code", "outputs": {"o": "out.txt"}}
    job_id = client.submit(spec, base=tmp_path)
    assert client.wait(job_id)["state"] == "succeeded"
    assert b"".join(client.logs(job_id, follow=True)) == b"hi\n"
    assert client.download(job_id, tmp_path / "down") == [tmp_path / "down" / "out.txt"]
    assert client.explain(job_id)["placements"][0]["site"] == "local"
    assert [offer["site"] for offer in client.offers()] == ["local"]
    slow, _ = client.submit([{"command": "sleep 600"}, {"command": "true"}])
    with pytest.raises(Unavailable) as timed_out:
        client.wait(slow, timeout_s=0.2)
    assert timed_out.value.reason == "WaitTimedOut"
    assert client.cancel(slow)["id"] == slow
    with pytest.raises(NotFound):
        client.job("job_000000000000000000")


def test_a_client_that_is_closed_lets_its_readers_go(client: Client) -> None:
    """And opens a connection again when it is asked again."""
    job_id = client.submit({"command": "sleep 600"})
    reading = threading.Event()
    broken: list[bool] = []

    def read() -> None:
        reply = client.api.stream(f"/v1/jobs/{job_id}/events")
        reading.set()
        with suppress(OSError, HTTPException):
            while reply.read_some(1 << 16):
                pass
        broken.append(True)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert reading.wait(PATIENCE_S)
    client.close()
    reader.join(PATIENCE_S)
    assert broken == [True]
    assert client.cancel(job_id)["id"] == job_id


def test_the_same_key_submits_once(client: Client) -> None:
    assert client.submit({"command": "true"}, key="k1") == client.submit(
        {"command": "true"}, key="k1"
    )


def test_a_broken_line_costs_no_line_and_doubles_none(platform: Platform) -> None:
    host, _, port = platform.told["address"].removeprefix("http://").partition(":")
    relay = CuttableRelay((host, int(port)))
    token = json.loads(platform.config.read_text())["logins"][platform.told["address"]]["token"]
    program = "for i in $(seq 400); do echo line $i; sleep 0.02; done"
    job_id = platform.submit("sh", "-c", program)
    follower = subprocess.Popen(
        [*SUAN, "logs", "-f", job_id, "--server", relay.url],
        stdout=subprocess.PIPE,
        text=True,
        env={**environment(platform.config), "SUAN_TOKEN": token},
    )
    assert follower.stdout is not None
    seen = []
    for line in follower.stdout:
        seen.append(line)
        if len(seen) % 60 == 1:
            relay.cut()
            relay.join()
    assert follower.wait(timeout=PATIENCE_S) == 0
    follower.stdout.close()
    relay.close()
    assert seen == [f"line {i}\n" for i in range(1, 401)]


def test_a_pool_is_measured_and_found_by_what_it_is(platform: Platform) -> None:
    pool = platform.json("offers", "site:local")[0]["pool"]
    bench = platform.json("bench", "run", f"local/{pool}")
    assert bench["state"] == "taken", bench
    assert {"FP64", "memory"} <= {one["what"] for one in bench["results"]}
    job = platform.json("show", bench["job_id"])
    assert (job["name"], job["state"]) == ("suan-bench", "succeeded")
    core = platform.json("catalogue", "show", "core")
    assert {one["pool"] for one in core["measured"]} == {pool}
    assert platform.json("bench", "ls")[0]["id"] == bench["id"]
    shown = platform.suan("catalogue", "show", "MLU370-X8").stdout
    assert "mlu370-x8-48g" in shown
    assert "Cambricon's product page" in shown
    assert "48–96" in platform.suan("catalogue", "ls", "vendor:cambricon memory:48").stdout
    assert platform.json("offers", "gpu:yes") == []
    wrong = platform.suan("offers", "zone:north pric<30")
    assert wrong.returncode == 2
    assert wrong.stderr == ("suan: Character 12: there is no field 'pric'. Did you mean price?\n")


def test_a_round_of_the_auction_from_bids_to_results(platform: Platform) -> None:
    """Whoever buys from himself gets no contract; the way there is everybody's."""
    (one,) = platform.json("market", "products")["products"]
    product = f"{one['unit_class']}@{one['zone']}"
    site = platform.json("offers")[0]["site"]
    pool = platform.json("site", "show", site)["pools"][0]["id"]
    day = (datetime.now(UTC) + timedelta(days=5)).date().isoformat()
    assert platform.suan("auction", "open", day).stdout == f"Round of {day}: open.\n"
    hours = ("--hours", "8-10")
    platform.json("auction", "bid", day, "--source", pool, "--lots", "2", "--price", "3", *hours)
    bid = platform.folder / "bid.yaml"
    block = f"{{name: b, product: {product}, hours: [8, 10], lots: 1, price: 5}}"
    bid.write_text(f"side: buy\nblocks:\n  - {block}\n")
    placed = platform.json("auction", "bid", day, str(bid))
    assert placed["held"]["yuan"] == "10.00"
    extra = platform.json(
        "auction", "bid", day, "--product", product, "--lots", "1", "--price", "1"
    )
    assert platform.suan("auction", "withdraw", day, extra["id"]).returncode == 0
    wrong = platform.suan("auction", "bid", day, "--product", "x", "--lots", "1", "--price", "1")
    assert wrong.returncode != 0
    assert "curve[0].product" in wrong.stderr or "not a product" in wrong.stderr
    assert placed["id"] in platform.suan("auction", "show", day).stdout
    platform.json("auction", "close", day)
    told = platform.suan("auction", "clear", day).stdout
    assert told.startswith(f"Round of {day}: cleared.\n2 lot-hours of 2 orders")
    assert day in platform.suan("auction", "ls").stdout
    results = platform.suan("auction", "results", day).stdout
    assert product in results
    assert "accepted" in results
    again = platform.suan("auction", "replay", day)
    assert (again.returncode, "the same outcome" in again.stdout) == (0, True)


def test_an_order_at_rest_is_amended(platform: Platform) -> None:
    found = platform.json("market", "products")
    (one,), period = found["products"], found["periods"][-1]
    instrument = f"{one['unit_class']}:{one['zone']}:{period['suffix']}"
    placed = platform.json("market", "buy", instrument, "4", "--price", "0.01")["order"]["id"]
    fewer = platform.suan("market", "amend", placed, "--lots", "2")
    assert fewer.stdout == f"{placed} keeps its place; 2 lots of it rest in the book.\n"
    told = platform.suan("market", "amend", placed, "--price", "0.02").stdout
    assert told.startswith(f"{placed} is out of the book; ord_")
    assert "behind the others at its price.\n2 lots rest in the book as ord_" in told
    (left,) = [one for one in platform.json("market", "orders") if one["instrument"] == instrument]
    assert left["price"]["yuan"] == "0.02"
    refused = platform.suan("market", "amend", left["id"], "--lots", "0")
    assert refused.returncode == 2
    platform.json("market", "cancel", left["id"])
