"""`/metrics` of a running control plane: what happened is what is told."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rig import LiveGrid, until

pytestmark = pytest.mark.xdist_group("metrics")


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGrid]:
    with LiveGrid(tmp_path_factory.mktemp("metrics")) as found:
        yield found


def _scrape(grid: LiveGrid) -> dict[tuple[str, tuple[str, ...]], float]:
    """(name, values of labels) → value."""
    request = urllib.request.Request(
        f"{grid.url}/metrics", headers={"Authorization": f"Bearer {grid.token}"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        text = response.read().decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_strangers_learn_nothing(grid: LiveGrid) -> None:
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(f"{grid.url}/metrics", timeout=30)
    assert refusal.value.code == 401


def test_work_shows_in_figures(grid: LiveGrid) -> None:
    grid.site("near", cpus=2, nodes=2)
    jobs = [grid.submit("sleep 1.2") for _ in range(3)]
    waiting = grid.submit("true", resources={"cpus": 1, "accelerators": 1}, on_impossible="wait")
    for job in jobs:
        assert grid.until_state(job) == "succeeded"

    def told() -> dict[tuple[str, tuple[str, ...]], float] | None:
        found = _scrape(grid)
        ready = found[("suanwang_charged_micro_yuan_total", ())] > 0
        ready = ready and found[("suanwang_outbox_facts", ())] == 0
        return found if ready and found[("suanwang_queued_tasks", ())] == 1 else None

    found = until(told, "the charges are told")
    assert found[("suanwang_placed_tasks_total", ())] == 3
    assert found[("suanwang_capacity", ("cpu_milli",))] == 4_000
    assert found[("suanwang_capacity_used", ("cpu_milli",))] == 0
    assert found[("suanwang_sites", ("yes",))] == 1
    assert found[("suanwang_leads", ())] == 1
    assert found[("suanwang_usage_seconds_total", ("core",))] >= 3
    assert found[("suanwang_round_seconds_count", ())] >= 1
    assert found[("suanwang_requests_total", ("POST", "/v1/jobs", "201"))] == 4
    assert ("suanwang_requests_total", ("GET", "/v1/jobs/{job_id}", "200")) in found
    assert ("suanwang_requests_total", ("POST", "/agent/v1/poll", "200")) in found
    assert sum(value for (name, _), value in found.items() if name == "suanwang_waiting_tasks") == 1
    assert not any(waiting in label for _, labels in found for label in labels)


def test_made_up_paths_make_no_labels(grid: LiveGrid) -> None:
    for number in range(20):
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{grid.url}/nothing/{number}", timeout=30)
    found = _scrape(grid)
    assert found[("suanwang_requests_total", ("GET", "unmatched", "404"))] >= 20
    assert not any("/nothing/" in label for _, labels in found for label in labels)
