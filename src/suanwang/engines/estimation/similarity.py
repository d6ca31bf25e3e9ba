"""Who resembles this job: nested groups of finished jobs, each shrunk towards the wider one.

A group remembers a decayed histogram of run times. The distribution for a job mixes the groups
it belongs to from the narrowest to the widest: a group with n effective jobs takes the share
n / (n + caution) of what the narrower ones left over. That is the predictive rule of a
hierarchical Dirichlet process, so a new template leans on its user, a new user on everybody.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from suanwang.engines.estimation.histogram import (
    BIN_COUNT,
    UNKNOWN_LIMIT_S,
    Weights,
    bin_of,
    limit_prior,
)
from suanwang.engines.estimation.model import Basis, JobFacts
from suanwang.kernel.time import MS_PER_HOUR

DECAY = 0.99
"""What an older job's weight is multiplied by when one more independent job has finished."""
CAUTION = 6.0
USER_CAUTION = 20.0
"""A user's or project's jobs of all limits together say little about this limit."""
REMEMBERED_BURSTS = 16
_RENORMALISE_ABOVE = 1e6


class Group(NamedTuple):
    """One group a job belongs to: its key in the memory and how cautiously it is believed."""

    basis: Basis
    key: str
    caution: float


class Mixture(NamedTuple):
    """Distribution over bins (sums to 1), the group that weighs most, its effective job count."""

    weights: Weights
    basis: Basis
    evidence: float


def groups_of(facts: JobFacts) -> list[Group]:
    """Widest first. Groups by an unknown project or user are left out."""
    limit = facts.declared_limit_s or 0
    octave = max(0, limit).bit_length()
    groups = [
        Group(Basis.EVERYONE, "*", CAUTION),
        Group(Basis.SIMILAR_LIMITS, f"*|{octave}", CAUTION),
    ]
    if facts.project_id:
        project = f"p|{facts.project_id}"
        groups.append(Group(Basis.PROJECT, project, USER_CAUTION))
        groups.append(Group(Basis.PROJECT_SIMILAR_LIMITS, f"{project}|{octave}", CAUTION))
    if facts.user_id:
        user = f"u|{facts.user_id}"
        same_limit = f"{user}|{octave}|{limit}"
        size = f"{same_limit}|{facts.cpu_milli}|{facts.accelerator_milli}|{facts.members}"
        template = f"{size}|{facts.memory_mib}|{facts.application}"
        groups.append(Group(Basis.USER, user, USER_CAUTION))
        groups.append(Group(Basis.USER_SIMILAR_LIMITS, f"{user}|{octave}", CAUTION))
        groups.append(Group(Basis.USER_SAME_LIMIT, same_limit, CAUTION))
        groups.append(Group(Basis.USER_SAME_SIZE, size, CAUTION))
        groups.append(Group(Basis.SAME_TEMPLATE, template, CAUTION))
    return groups


class History:
    """Decayed histogram of one group.

    Instead of decaying every weight, a newer job is entered with a larger unit; `total / unit`
    is the effective number of jobs. Jobs submitted within one hour are siblings of an array and
    tend to share their fate: the k-th of them to finish counts 1/√k.
    """

    __slots__ = ("bursts", "total", "unit", "weights")

    def __init__(self) -> None:
        self.weights: Weights = np.zeros(BIN_COUNT)
        self.total = 0.0
        self.unit = 1.0
        self.bursts: dict[int, int] = {}

    @property
    def effective_count(self) -> float:
        return self.total / self.unit

    def add(self, index: int, burst: int) -> None:
        siblings = self.bursts.get(burst, 0) + 1
        self.bursts[burst] = siblings
        if len(self.bursts) > REMEMBERED_BURSTS:
            del self.bursts[next(iter(self.bursts))]
        share = siblings**-0.5
        self.unit /= 1.0 - (1.0 - DECAY) * share
        self.weights[index] += share * self.unit
        self.total += share * self.unit
        if self.unit > _RENORMALISE_ABOVE:
            self.weights /= self.unit
            self.total /= self.unit
            self.unit = 1.0


class SimilarityMemory:
    """Histories by group key. Past the capacity, the group that has been silent longest goes."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.histories: OrderedDict[str, History] = OrderedDict()

    def add(self, facts: JobFacts, runtime_s: int) -> None:
        index = bin_of(runtime_s)
        burst = facts.submitted_at_ms // MS_PER_HOUR
        for group in groups_of(facts):
            history = self.histories.get(group.key)
            if history is None:
                history = self.histories[group.key] = History()
            else:
                self.histories.move_to_end(group.key)
            history.add(index, burst)
        while len(self.histories) > self.capacity:
            self.histories.popitem(last=False)

    def mixture(self, facts: JobFacts) -> Mixture:
        weights = np.zeros(BIN_COUNT)
        left, heaviest, basis, evidence = 1.0, 0.0, Basis.LIMIT_GUESS, 0.0
        for group in reversed(groups_of(facts)):
            history = self.histories.get(group.key)
            if history is None:
                continue
            count = history.effective_count
            share = left * count / (count + group.caution)
            weights += history.weights * (share / history.total)
            if share > heaviest:
                heaviest, basis, evidence = share, group.basis, count
            left -= share
        if left > heaviest:
            basis, evidence = Basis.LIMIT_GUESS, 0.0
        limit = facts.declared_limit_s
        weights += limit_prior(bin_of(UNKNOWN_LIMIT_S if limit is None else limit)) * left
        return Mixture(weights, basis, evidence)
