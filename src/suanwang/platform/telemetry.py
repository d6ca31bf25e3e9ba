"""What Prometheus is told: counters kept as things happen, gauges sampled when it asks.

A counter is of this process, from its start: `sum(increase(…))` over the processes is exact, for
each fact is counted by the one that committed it. Gauges describe the whole grid as the database
has it; every process says the same of them (take `max`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

MEDIA_TYPE = CONTENT_TYPE_LATEST
LATENCIES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
ROUNDS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
KINDS = ("cpu_milli", "memory_mib", "disk_mib", "accelerator_milli")


@dataclass(frozen=True, slots=True)
class Sample:
    """The grid at one instant; resources by kind as in `KINDS`."""

    queued: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    """Waiting tasks by the reason that the last round gave."""
    open_leases: Mapping[str, int] = field(default_factory=dict)
    """By state."""
    sites_reachable: int = 0
    sites_silent: int = 0
    capacity: Sequence[int] = (0, 0, 0, 0)
    used: Sequence[int] = (0, 0, 0, 0)
    outbox: int = 0
    leads: bool = True


class Telemetry:
    """The instruments of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._told_errors: dict[str, int] = {}
        self._counting: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        """What `labels` finds, which it looks for under a lock."""
        self._make_counters()
        self._make_gauges()

    def _make_counters(self) -> None:
        own = self.registry
        self.requests = Counter(
            "suanwang_requests", "Requests answered.", ("method", "route", "status"), registry=own
        )
        self.latency = Histogram(
            "suanwang_request_seconds",
            "Time to the first byte of the answer.",
            ("route",),
            buckets=LATENCIES_S,
            registry=own,
        )
        self.rounds = Histogram(
            "suanwang_round_seconds",
            "Scheduling rounds, from the look at the queue to the commit.",
            buckets=ROUNDS_S,
            registry=own,
        )
        self.placed = Counter("suanwang_placed_tasks", "Leases granted.", registry=own)
        self.stale = Counter(
            "suanwang_stale_placements", "Dropped at the re-check, planned again.", registry=own
        )
        self.troubles = Counter(
            "suanwang_database_errors", "Transient errors, by reason.", ("reason",), registry=own
        )
        self.charged = Counter("suanwang_charged_micro_yuan", "Booked charges.", registry=own)
        self.usage_s = Counter(
            "suanwang_usage_seconds", "Charged use, in unit-seconds.", ("kind",), registry=own
        )

        self.collected = Counter(
            "suanwang_collected_blobs", "Deleted because nobody needs them.", registry=own
        )
        self.freed = Counter(
            "suanwang_collected_bytes", "Freed in the blob store by that.", registry=own
        )

    def _make_gauges(self) -> None:
        own = self.registry
        self._queued = Gauge("suanwang_queued_tasks", "Tasks ready to be placed.", registry=own)
        self._refused = Gauge(
            "suanwang_waiting_tasks", "Not placed by the last round.", ("reason",), registry=own
        )
        self._leases = Gauge("suanwang_open_leases", "Leases, by state.", ("state",), registry=own)
        self._sites = Gauge("suanwang_sites", "Sites that were enrolled.", ("heard",), registry=own)
        self._capacity = Gauge("suanwang_capacity", "What sites report.", ("kind",), registry=own)
        self._used = Gauge("suanwang_capacity_used", "By open leases.", ("kind",), registry=own)
        self._outbox = Gauge("suanwang_outbox_facts", "Not delivered yet.", registry=own)
        self._leads = Gauge("suanwang_leads", "1 in the process that plans.", registry=own)

    def round(self, seconds: float, placed: int, stale: int) -> None:
        self.rounds.observe(seconds)
        self.placed.inc(placed)
        self.stale.inc(stale)

    def garbage(self, blobs: int, freed_bytes: int) -> None:
        self.collected.inc(blobs)
        self.freed.inc(freed_bytes)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        key = (method, route, status)
        counting = self._counting.get(key)
        if counting is None:
            labelled = self.requests.labels(method, route, str(status))
            counting = self._counting[key] = (labelled, self.latency.labels(route))
        counting[0].inc()
        counting[1].observe(seconds)

    def errors(self, seen: Mapping[str, int]) -> None:
        """`seen` counts from the start of the process, by reason."""
        for reason, count in sorted(seen.items()):
            self.troubles.labels(reason).inc(count - self._told_errors.get(reason, 0))
            self._told_errors[reason] = count

    def charges(self, micro_yuan: int, unit_seconds: Mapping[str, float]) -> None:
        self.charged.inc(micro_yuan)
        for kind, amount in unit_seconds.items():
            self.usage_s.labels(kind).inc(amount)

    def show(self, sample: Sample) -> None:
        """Set the gauges. Reasons and states that have gone are gone from the answer too."""
        self._queued.set(sample.queued)
        for gauge, values in ((self._refused, sample.refused), (self._leases, sample.open_leases)):
            gauge.clear()
            for label, count in sorted(values.items()):
                gauge.labels(label).set(count)
        self._sites.labels("yes").set(sample.sites_reachable)
        self._sites.labels("no").set(sample.sites_silent)
        for kind, whole, used in zip(KINDS, sample.capacity, sample.used, strict=True):
            self._capacity.labels(kind).set(whole)
            self._used.labels(kind).set(used)
        self._outbox.set(sample.outbox)
        self._leads.set(int(sample.leads))

    def render(self) -> bytes:
        return generate_latest(self.registry)
