"""Who speaks for a site, what its clock says, and what a client says twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from rig import LiveGrid, LiveSite, beating, lines_of, one_pool, telling, until
from suanwang.grid.sites.service import speaker_of_credential
from suanwang.kernel.errors import Unauthenticated

pytestmark = pytest.mark.xdist_group("faults-identity")

SKEWED = """
import sys
from suanwang.agent import main, machine
skew_ms = int(sys.argv.pop(1))
class Skewed(machine.Machine):
    def wall_ms(self):
        return super().wall_ms() + skew_ms
main.Machine = Skewed
from suanwang.agent.__main__ import main as run
sys.exit(run())
"""


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGrid]:
    with LiveGrid(tmp_path_factory.mktemp("identity")) as found:
        yield found
        found.check_books()


def at(site: str) -> dict[str, object]:
    return {"constraints": {"sites": [site]}}


def twin(grid: LiveGrid, site: LiveSite, name: str) -> LiveSite:
    """Another agent with a state folder of its own that shows the same credential."""
    other = LiveSite(grid, name, [one_pool()], grid.url)
    other.state.mkdir()
    (other.state / "credential").write_text((site.state / "credential").read_text())
    grid.sites.append(other)
    return other


def is_good(grid: LiveGrid, credential: str) -> bool:
    try:
        grid.read(lambda conn: speaker_of_credential(conn, credential))
    except Unauthenticated:
        return False
    return True


def test_a_wrong_credential_opens_nothing(grid: LiveGrid) -> None:
    site = LiveSite(grid, "stranger", [one_pool()], grid.url)
    site.enrol()
    site.state.mkdir()
    (site.state / "credential").write_text("swa_00000000000000000000000000000000")
    site.start()
    until(lambda: "wrong or was revoked" in site.log.read_text(), "the agent says why")
    assert not site.view()["reachable"]
    assert site.agent is not None
    assert site.agent.poll() is None, "it waits for its operator"
    site.kill()


def test_a_used_token_is_refused_with_what_to_do(grid: LiveGrid) -> None:
    site = LiveSite(grid, "late", [one_pool()], grid.url)
    token = site.enrol()
    site.start(token).ready()
    site.kill(15)
    other = LiveSite(grid, "later", [one_pool()], grid.url)
    other.start(token)
    assert other.agent is not None
    assert other.agent.wait(60) == 1
    assert "used already" in other.log.read_text()


def test_a_credential_revoked_while_connected(grid: LiveGrid, tmp_path: Path) -> None:
    """No new work comes; what runs goes on within its lease; a new token brings all of it back."""
    site = grid.site("revoked", nodes=2)
    finish = tmp_path / "finish"
    job = grid.submit(beating(tmp_path / "log", finish), **at("revoked"))
    until(lambda: lines_of(tmp_path / "log"))
    assert grid.call("POST", "/v1/sites/revoked/revoke")["revoked"] == 1
    until(lambda: "wrong or was revoked" in site.log.read_text(), "the agent is told")
    site.kill(15)
    token = grid.call("POST", "/v1/sites/revoked/token")["enrolment_token"]
    site.start(token)
    until(lambda: "enrolled as site" in site.log.read_text().rpartition("revoked.")[2])
    finish.touch()
    assert grid.until_state(job) == "succeeded"
    assert len({line.lease for line in lines_of(tmp_path / "log")}) == 1
    site.kill(15)


def test_an_agent_renews_its_credential_while_it_works(grid: LiveGrid, tmp_path: Path) -> None:
    site = LiveSite(grid, "renewing", [one_pool()], grid.url, credential_days=1 / 86_400)
    grid.sites.append(site)
    site.start(site.enrol()).ready()
    stored = site.state / "credential"
    first = stored.read_text()
    finish = tmp_path / "finish"
    job = grid.submit(beating(tmp_path / "log", finish), **at("renewing"))
    until(lambda: lines_of(tmp_path / "log"))
    until(lambda: stored.read_text() != first, "the credential is another one")
    until(lambda: not is_good(grid, first), "the old one has ended")
    finish.touch()
    assert grid.until_state(job) == "succeeded"
    assert len({line.lease for line in lines_of(tmp_path / "log")}) == 1
    site.kill(15)
    site.start().ready()
    site.kill(15)


def test_a_second_agent_is_refused_and_the_first_unharmed(grid: LiveGrid, tmp_path: Path) -> None:
    site = grid.site("claimed")
    finish = tmp_path / "finish"
    job = grid.submit(beating(tmp_path / "log", finish), **at("claimed"))
    until(lambda: lines_of(tmp_path / "log"))
    other = twin(grid, site, "usurper").start()
    until(lambda: "Another agent speaks for site" in other.log.read_text(), "it is told why")
    finish.touch()
    assert grid.until_state(job) == "succeeded"
    assert len({line.lease for line in lines_of(tmp_path / "log")}) == 1
    after = grid.submit(telling(tmp_path / "after"), **at("claimed"))
    assert grid.until_state(after) == "succeeded"
    other.kill(15)
    site.kill(15)


def test_an_agent_started_twice_on_one_folder(grid: LiveGrid, tmp_path: Path) -> None:
    site = grid.site("doubled")
    finish = tmp_path / "finish"
    job = grid.submit(beating(tmp_path / "log", finish), **at("doubled"))
    until(lambda: lines_of(tmp_path / "log"))
    command = [sys.executable, "-m", "suanwang.agent", "--config", str(site.config)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert "Another agent works in" in second.stderr
    finish.touch()
    assert grid.until_state(job) == "succeeded"
    site.kill(15)


@pytest.mark.parametrize("hours", [-30_000, 30_000])
def test_an_agents_wall_clock_does_not_matter(grid: LiveGrid, tmp_path: Path, hours: int) -> None:
    """The protocol carries ages: three years off, the books are right to the second."""
    name = f"skewed{abs(hours)}{'a' if hours < 0 else 'b'}"
    site = LiveSite(grid, name, [one_pool()], grid.url)
    grid.sites.append(site)
    argv = [sys.executable, "-c", SKEWED, str(hours * 3_600_000)]
    site.start(site.enrol(), argv=argv).ready()
    job = grid.submit(telling(tmp_path / "log", "sleep 1.2"), **at(name))
    assert grid.until_state(job) == "succeeded"
    [lease] = grid.leases(job)
    first, last = lines_of(tmp_path / "log")
    ran_ms = last.at_ms - first.at_ms
    assert lease["granted_at"] <= lease["started_at"] <= lease["ended_at"]
    seconds = grid.read(lambda c: _billed(c, lease["id"]))
    assert ran_ms // 1_000 <= seconds <= ran_ms // 1_000 + 3
    site.kill(15)


def _billed(connection: object, lease_id: str) -> int:
    query = f"SELECT sum(billable_seconds) FROM usage_records WHERE lease_id = '{lease_id}'"
    found = connection.exec_driver_sql(query).scalar_one()  # type: ignore[attr-defined]
    return int(found)


def test_one_submission_from_eight_threads_at_once(grid: LiveGrid, tmp_path: Path) -> None:
    site = grid.site("counting", nodes=4)
    spec = {"script": telling(tmp_path / "log"), "array": 5, "name": "once", **at("counting")}
    spec["resources"] = {"cpus": 0.5, "memory": "64MiB"}

    def submit(_: int) -> str:
        return str(grid.insist("POST", "/v1/jobs", spec, key="one-key")["id"])

    with ThreadPoolExecutor(8) as pool:
        [job] = set(pool.map(submit, range(24)))
    assert grid.until_state(job) == "succeeded"
    starts = [line for line in lines_of(tmp_path / "log") if line.word == "start"]
    assert len(starts) == 5
    other = yaml.safe_load(yaml.safe_dump(spec)) | {"name": "another"}
    with pytest.raises(Exception, match="409"):
        grid.call("POST", "/v1/jobs", other, key="one-key")
    site.kill(15)
