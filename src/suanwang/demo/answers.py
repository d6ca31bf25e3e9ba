"""Is the answer right? By a formula, a published table, or by computing it again."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suanwang.demo.workload.programs import survey, sweep, train

METRES = 0.01
PI_TOLERANCE = 0.005
"""Seven standard errors of six million throws."""
SEED = "songshan"


class Wrong(Exception):
    """The answer is not what it must be; the sentence says how."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What came back of a job: its outputs as files, its output, the API's word about it."""

    job: dict[str, Any]
    folder: Path
    printed: bytes
    tasks: list[dict[str, Any]]

    def result(self, name: str = "result.json") -> dict[str, Any]:
        return self.of(self.folder / name)

    def of(self, path: Path) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found
        except (OSError, ValueError) as error:
            raise Wrong(f"{path.name} did not come back: {error}") from error


Check = Callable[[Evidence], str]


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Wrong(otherwise)


def nothing(_: Evidence) -> str:
    return ""


def flight(angle: float) -> Check:
    exact = sweep.SPEED**2 * math.sin(math.radians(2 * angle)) / sweep.GRAVITY

    def check(found: Evidence) -> str:
        metres = found.result()["metres"]
        require(abs(metres - exact) < METRES, f"{metres} m, the formula says {exact:.3f} m")
        return f"{metres:.2f} m"

    return check


def one_pi(found: Evidence) -> str:
    result = found.result()
    guess = 4 * result["hits"] / result["samples"]
    require(abs(guess - math.pi) < 0.02, f"pi is not {guess}")
    return f"π ≈ {guess:.4f}"


def trained(bound: float) -> Check:
    """The loss is computed again from the weights that came back."""

    def check(found: Evidence) -> str:
        with np.load(found.folder / "weights.npz") as archive:
            weights = {name: archive[name] for name in archive.files}
        loss = train.loss_of(weights, *train.spirals())
        require(loss < bound, f"loss {loss:.4f} is not below {bound}")
        require(abs(loss - found.result()["loss"]) < 1e-6, "the weights do not give that loss")
        return f"loss {loss:.4f} < {bound}, from the weights"

    return check


def surveyed(mib: int) -> Check:
    def check(found: Evidence) -> str:
        data = (found.folder / "field.bin").read_bytes()
        require(data == survey.field(SEED, mib << 20), "the field came back changed")
        return f"{mib} MiB, every byte"

    return check


def digested(found: Evidence) -> str:
    exact = hashlib.sha256(survey.field(SEED, 16 << 20)).hexdigest()
    require(found.result()["sha256"] == exact, "step 2 read something else than step 1 wrote")
    return "sha256 of step 1's output"


def sealed(key: str) -> Check:
    def check(found: Evidence) -> str:
        exact = hashlib.sha256(key.encode()).hexdigest()
        require(found.result()["sha256"] == exact, "the program saw another secret")
        said = found.printed + json.dumps([found.job, found.tasks]).encode()
        require(key.encode() not in said, "the secret is in the logs or in the API's answers")
        return "used, and shown nowhere"

    return check


def counted(known: int) -> Check:
    def check(found: Evidence) -> str:
        primes = found.result()["primes"]
        require(primes == known, f"{primes} primes, there are {known}")
        return f"{primes:,} primes"

    return check


def agreed(known: int) -> Check:
    def check(found: Evidence) -> str:
        sums = {found.result(f"sum-{member}.json")["sum"] for member in (0, 1)}
        require(sums == {known}, f"the members say {sorted(sums)}, it is {known}")
        return f"both say {known:,}"

    return check


def merged(tasks: int, known: int) -> Check:
    def check(found: Evidence) -> str:
        parts = [found.of(found.folder / str(i) / "result.json") for i in range(tasks)]
        for left, right in itertools.pairwise(parts):
            require(left["until"] == right["from"], "the slices do not meet")
        total = sum(part["primes"] for part in parts)
        require(total == known, f"{total} primes, there are {known}")
        return f"{tasks} parts: {total:,} primes"

    return check


def retried(attempts: int) -> Check:
    def check(found: Evidence) -> str:
        leases = found.tasks[0]["leases"]
        require(len(leases) == attempts, f"{len(leases)} attempts")
        require(leases[0]["exit_code"] == 75, "the first attempt was to fail with code 75")
        require(found.result()["attempt"] == attempts, "it does not know its attempt")
        return "failed once, then right"

    return check


def saw_cards(count: int) -> Check:
    def check(found: Evidence) -> str:
        result = found.result()
        cards = result["cards"]
        require(len(set(cards)) == count, f"it was given the cards {cards}")
        told = ",".join(map(str, cards))
        require(result["told"].get("CUDA_VISIBLE_DEVICES") == told, "CUDA is told otherwise")
        return f"cards {told} (declared, not present)"

    return check


def best_angle(found: Iterable[Evidence]) -> str:
    results = [one.result() for one in found]
    best = max(results, key=lambda one: float(one["metres"]))["angle"]
    require(best == 45, f"{best} degrees is not the best angle")
    return f"{len(results)} angles swept; the best is {best:g}°"


def combined_pi(found: Iterable[Evidence]) -> str:
    results = [one.result() for one in found]
    samples = sum(one["samples"] for one in results)
    guess = 4 * sum(one["hits"] for one in results) / samples
    require(abs(guess - math.pi) < PI_TOLERANCE, f"pi is not {guess}")
    return f"{len(results)} seeds, {samples:,} throws: π ≈ {guess:.5f}"


COMBINED: dict[str, Callable[[Iterable[Evidence]], str]] = {
    "sweep": best_angle,
    "pi": combined_pi,
}
"""By group: what its answers say together."""
