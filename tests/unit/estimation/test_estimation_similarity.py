"""Groups, their decayed histograms, and how a narrow group outweighs a wide one."""

from __future__ import annotations

import pytest

from suanwang.engines.estimation.histogram import (
    BIN_COUNT,
    bin_of,
    centre_s,
    limit_prior,
    lower_edge_s,
    upper_edge_s,
)
from suanwang.engines.estimation.model import Basis, JobFacts
from suanwang.engines.estimation.similarity import (
    DECAY,
    History,
    SimilarityMemory,
    groups_of,
)

ADA = JobFacts("ada", "lab", "train", cpu_milli=4000, declared_limit_s=7200)
HOUR_MS = 3_600_000


@pytest.mark.parametrize("duration_s", [0, 1, 2, 59, 3600, 86_400, 30_000_000])
def test_a_duration_lies_between_the_edges_of_its_bin(duration_s: int) -> None:
    index = bin_of(duration_s)
    assert lower_edge_s(index) <= duration_s <= upper_edge_s(index)
    assert lower_edge_s(index) <= centre_s(index) <= upper_edge_s(index)


def test_durations_off_the_scale_land_in_the_outer_bins() -> None:
    assert bin_of(-5) == 0
    assert bin_of(10**12) == BIN_COUNT - 1


def test_the_prior_puts_nothing_beyond_the_limit() -> None:
    day = bin_of(86_400)
    prior = limit_prior(day)
    assert prior.sum() == pytest.approx(1.0)
    assert prior[day + 1 :].sum() == 0
    assert 1800 < centre_s(int(prior.cumsum().searchsorted(0.5))) < 7200


def test_groups_run_from_everyone_to_the_template() -> None:
    bases = [group.basis for group in groups_of(ADA)]
    assert bases[0] is Basis.EVERYONE
    assert bases[-1] is Basis.SAME_TEMPLATE
    assert len({group.key for group in groups_of(ADA)}) == len(bases)


def test_an_unknown_user_and_project_have_no_groups_of_their_own() -> None:
    bases = {group.basis for group in groups_of(JobFacts("", declared_limit_s=60))}
    assert bases == {Basis.EVERYONE, Basis.SIMILAR_LIMITS}


def test_old_jobs_fade() -> None:
    history = History()
    history.add(10, burst=0)
    for hour in range(1, 2000):
        history.add(50, burst=hour)
    assert history.effective_count == pytest.approx(1 / (1 - DECAY), rel=0.01)
    assert history.weights[10] / history.total < 1e-6
    assert history.unit < 1e7


def test_siblings_of_one_array_count_less_than_independent_jobs() -> None:
    array, separate = History(), History()
    for k in range(64):
        array.add(20, burst=7)
        separate.add(20, burst=k)
    assert array.effective_count < 16 < separate.effective_count


def test_the_template_outweighs_the_user_and_the_user_everybody() -> None:
    memory = SimilarityMemory(1000)
    for k in range(30):
        at = k * HOUR_MS
        memory.add(JobFacts("bob", declared_limit_s=7200, submitted_at_ms=at), 5)
        memory.add(
            JobFacts("ada", "lab", "train", 4000, declared_limit_s=7200, submitted_at_ms=at), 5000
        )
    mixture = memory.mixture(ADA)
    assert mixture.basis is Basis.SAME_TEMPLATE
    assert mixture.weights.sum() == pytest.approx(1.0)
    assert mixture.weights.argmax() == bin_of(5000)
    assert memory.mixture(JobFacts("bob", declared_limit_s=7200)).weights.argmax() == bin_of(5)


def test_the_longest_silent_group_is_forgotten_first() -> None:
    memory = SimilarityMemory(12)
    for user in ("ada", "bob", "cyd", "bob"):
        memory.add(JobFacts(user, declared_limit_s=60), 10)
    assert len(memory.histories) == 12
    users = {key.split("|")[1] for key in memory.histories if key.startswith("u|")}
    assert users == {"bob", "cyd"}
