"""What an estimate is asked about (`JobFacts`) and what it answers (`Estimate`)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Basis(StrEnum):
    """Whose finished work carries most of an estimate. The value is what a user reads."""

    LIMIT_GUESS = "LimitGuess"
    """Nothing comparable has finished yet: a guess from the declared limit alone."""
    EVERYONE = "Everyone"
    SIMILAR_LIMITS = "SimilarLimits"
    """Anybody's jobs whose declared limit is within the same power of two."""
    PROJECT = "Project"
    PROJECT_SIMILAR_LIMITS = "ProjectSimilarLimits"
    USER = "User"
    USER_SIMILAR_LIMITS = "UserSimilarLimits"
    USER_SAME_LIMIT = "UserSameLimit"
    USER_SAME_SIZE = "UserSameSize"
    """The user's jobs with the same limit, cores, accelerators and members."""
    SAME_TEMPLATE = "SameTemplate"
    """The user's jobs with the same limit, size, memory and application."""


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What is known of a job when it is submitted. Empty text and None mean unknown."""

    user_id: str
    project_id: str = ""
    application: str = ""
    """Class key, image, or whatever tells two kinds of work of one user apart."""
    cpu_milli: int = 0
    memory_mib: int = 0
    accelerator_milli: int = 0
    members: int = 1
    declared_limit_s: int | None = None
    limit_enforced: bool = True
    """The job is killed at its limit, so no bound of an estimate lies above it."""
    submitted_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """low ≤ median ≤ high, in seconds. Keep it with the job and return it to `observe`."""

    median_s: int
    low_s: int
    high_s: int
    confidence_percent: int
    basis: Basis
    evidence: int = 0
    """Effective number of finished jobs behind the basis; old ones and siblings count less."""
