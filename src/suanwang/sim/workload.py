"""Random jobs of the kinds that users send, by seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from suanwang.grid.jobs.spec import LOSS_MARGIN_S, JobSpec
from suanwang.sim.ground import PLACES, START_MS


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job at an instant of the run, by one of the users; perhaps cancelled later."""

    at_s: float
    user: int
    spec: JobSpec
    cancel_after_s: float | None
    needs_previous: bool


def partition_settings(dice: random.Random, grace_s: int) -> dict[str, Any]:
    kind = dice.randrange(10)
    if kind == 0:
        return {"lost_after": 30, "stop_on_client_after": None, "replace": False}
    if kind == 1:
        choice = dice.choice(["keep_original", "keep_replacement", "longest_running", "best_score"])
        return {"lost_after": 30, "stop_on_client_after": None, "reconcile": choice}
    stop = dice.choice([15, 20, 30])
    lost = stop + grace_s + LOSS_MARGIN_S + dice.choice([0, 5])
    return {"lost_after": lost, "stop_on_client_after": stop}


def wishes(dice: random.Random, at_s: float, start_ms: int) -> dict[str, Any]:
    """What some jobs ask for beyond room and time."""
    asked: dict[str, Any] = {}
    kind = dice.randrange(16)
    if kind == 0:
        asked["constraints"] = {"sites": dice.sample(list(PLACES), dice.choice([1, 2]))}
    elif kind == 1:
        asked["constraints"] = {"excluded_sites": dice.sample(list(PLACES), 1)}
    elif kind == 2:
        asked["constraints"] = {"regions": dice.choice(["henan", "gansu", "atlantis"])}
    elif kind == 3:
        asked["constraints"] = {"architectures": dice.choice(["x86-64", "aarch64"])}
    elif kind == 4:
        asked["max_price"] = dice.choice(["0.05", "0.15", "0.4", "1"])
    elif kind == 5:
        by_s = at_s + dice.choice([10, 60, 300])
        asked["deadline"] = datetime.fromtimestamp(start_ms / 1000 + by_s, UTC)
    elif kind == 6:
        asked["resources"] = {
            "any_of": [{"cpus": 8, "memory": "1GiB"}, {"cpus": 3, "memory": "512MiB"}]
        }
    elif kind < 10:
        # what others may push aside: it fills the nodes for longer than it is protected
        asked.update(array=2, priority=-5, preemptible=True, max_runtime=120, count=1)
        asked["env"] = {"SECONDS_OF_WORK": str(65 + round(40 * dice.random(), 2))}
        asked["resources"] = {"cpus": 4, "memory": "256MiB"}
    elif kind < 12:
        # long, and soon taken for lost: a silence outlasts the lease, not the work
        asked.update(max_runtime=200, grace=0, priority=50, count=1, array=None)
        asked["resources"] = {"cpus": 1, "memory": "256MiB"}
        asked["env"] = {"SECONDS_OF_WORK": str(100 + round(60 * dice.random(), 2))}
        asked["partition"] = {"lost_after": 15 + LOSS_MARGIN_S, "stop_on_client_after": 15}
    return asked


def arrivals(
    dice: random.Random, jobs: int, span_s: float, users: int, start_ms: int = START_MS
) -> list[Arrival]:
    """`jobs` submissions over the span, sorted by time."""
    found = []
    for number in range(jobs):
        seconds = round(dice.choice([0.5, 2, 5, 15, 40, 80]) * (0.5 + dice.random()), 2)
        grace = dice.choice([0, 2, 10])
        spec = {
            "name": f"work-{number}",
            "argv": ["work"],
            "env": {"SECONDS_OF_WORK": str(seconds)},
            "resources": {"cpus": dice.choice([1, 1, 2, 4]), "memory": "256MiB"},
            "count": dice.choice([1, 1, 1, 1, 2]),
            "array": dice.choice([None, None, None, 4]),
            "max_runtime": dice.choice([30, 120, 200]),
            "priority": dice.choice([-1, 0, 0, 5]),
            "preemptible": dice.random() < 0.3,
            "retries": {"max": dice.choice([0, 1, 3])},
            "outputs": {"result": "out"} if dice.random() < 0.3 else {},
            "grace": grace,
            "partition": partition_settings(dice, grace),
        }
        at_s = dice.random() * span_s
        spec.update(wishes(dice, at_s, start_ms))
        found.append(
            Arrival(
                at_s=at_s,
                user=dice.randrange(users),
                spec=JobSpec.model_validate(spec),
                cancel_after_s=dice.random() * 30 if dice.random() < 0.1 else None,
                needs_previous=dice.random() < 0.1,
            )
        )
    return sorted(found, key=lambda arrival: (arrival.at_s, arrival.spec.name))
