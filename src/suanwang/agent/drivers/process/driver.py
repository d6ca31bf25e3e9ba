"""The process driver: runs on this machine, in the care of a warden that outlives the agent."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suanwang.agent.config import PoolConfig
from suanwang.agent.drivers.process import accelerators, orders, sandbox
from suanwang.agent.drivers.process.link import Link, Tag, View
from suanwang.agent.drivers.process.orders import Confinement
from suanwang.agent.drivers.process.pools import (
    WHOLE,
    MachineSize,
    Pool,
    Refused,
    deal,
    find_pool,
    nodes_of,
)
from suanwang.agent.port import Host, Observation, PreparedRun
from suanwang.kernel.errors import Unavailable
from suanwang.protocol.messages import (
    FailureClass,
    Meters,
    NodeReport,
    Phase,
    PoolReport,
    PriceReport,
)

_MICRO = 1_000_000


class ProcessDriver:
    """Keeps a mirror of what the warden says, so that looking is free."""

    name = "process"
    outlives_machine = False

    def __init__(
        self,
        state_folder: Path,
        pools: Sequence[PoolConfig],
        host: Host,
        *,
        linger_s: float = 15.0,
    ) -> None:
        """`linger_s`: how long a warden without runs waits for an agent before it leaves."""
        self._state = state_folder.resolve()
        self._host = host
        self._configs = [config for config in pools if config.driver == self.name]
        self._pools: list[Pool] = []
        self._confinements: dict[str, Confinement] = {}
        self._words: dict[str, str] = {}
        self._seen: dict[str, Observation] = {}
        self._changed: dict[str, None] = {}
        self._news = asyncio.Event()
        self._link = Link(
            self._state / "process", host, linger_s, synced=self._synced, changed=self._apply
        )

    async def open(self) -> None:
        size = _machine_size(self._state)
        needs_cards = any(config.accelerator is None for config in self._configs)
        found = await asyncio.to_thread(accelerators.find) if needs_cards else None
        hands = deal(self._configs, found)
        self._pools = [
            Pool(config, size, hand) for config, hand in zip(self._configs, hands, strict=True)
        ]
        await self._link.open()
        trouble = await sandbox.trial(self._host)
        for pool in self._pools:
            self._confine(pool, trouble)

    async def close(self) -> None:
        await self._link.close()

    async def inventory(self) -> list[PoolReport]:
        return [self._report(pool) for pool in self._pools]

    async def start(self, runs: Sequence[PreparedRun]) -> list[Observation]:
        answers: dict[str, Observation] = {}
        batch = []
        for run in runs:
            lease = run.spec.lease_id
            known = self._seen.get(lease)
            if known is not None:
                answers[lease] = known
            elif lease not in answers:
                try:
                    batch.append(self._order(run))
                except Refused as refusal:
                    answers[lease] = self._refused(lease, refusal)
        if batch:
            for view in await self._hand_over(batch):
                self._see(view)
                answers[view.lease] = self._seen[view.lease]
        return [answers[run.spec.lease_id] for run in runs]

    async def stop(self, lease_id: str, grace_s: int, failure: FailureClass) -> None:
        known = self._seen.get(lease_id)
        if known is None or known.phase is not Phase.ENDED:
            # Also when unknown: it may be among those the warden is about to start.
            message = {"op": "stop", "lease": lease_id, "grace_s": grace_s, "failure": failure}
            await self._link.send(message)

    async def observe(self) -> list[Observation]:
        return list(self._seen.values())

    async def changes(self, timeout_s: float) -> list[Observation]:
        if not self._changed:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), timeout_s)
            except TimeoutError:
                return []
        changed, self._changed = self._changed, {}
        return [self._seen[lease] for lease in changed if lease in self._seen]

    async def contact(self, at_ms: int) -> None:
        self._link.contact(at_ms)

    async def forget(self, lease_id: str) -> None:
        known = self._seen.get(lease_id)
        if known is not None and known.phase is Phase.ENDED:
            del self._seen[lease_id]
            self._changed.pop(lease_id, None)
            await self._link.send({"op": "forget", "lease": lease_id})

    # -- the mirror --------------------------------------------------------------------------

    def _synced(self, views: list[View]) -> None:
        """After each connection: the warden's list is complete, so what it lacks has vanished."""
        listed = {view.lease for view in views}
        for lease, known in list(self._seen.items()):
            if lease not in listed and known.phase is not Phase.ENDED:
                lost = View(
                    lease,
                    Phase.ENDED,
                    started_at_ms=known.started_at_ms,
                    ended_at_ms=self._host.monotonic_ms(),
                    failure=FailureClass.VANISHED,
                    detail="the warden's record of it is gone",
                )
                self._apply([lost])
        self._apply(views)

    def _apply(self, views: list[View]) -> None:
        for view in views:
            if self._see(view):
                self._changed[view.lease] = None
        if self._changed:
            self._news.set()

    def _see(self, view: View) -> bool:
        """Take over a view unless it is no news; states only move forward."""
        known = self._seen.get(view.lease)
        ended = view.phase is Phase.ENDED
        if known is not None and (known.phase is Phase.ENDED or not ended):
            return False
        self._seen[view.lease] = _observation(view, self._cards(view.tag))
        for pool in self._pools:
            if ended:
                pool.release(view.lease)
            elif view.tag is not None and view.tag.pool == pool.config.name:
                pool.hold(view.lease, view.tag)
        return True

    def _refused(self, lease: str, refusal: Refused) -> Observation:
        now = self._host.monotonic_ms()
        observation = Observation(
            lease,
            Phase.ENDED,
            ended_at_ms=now,
            failure=refusal.failure,
            detail=str(refusal),
        )
        self._seen[lease] = observation
        return observation

    async def _hand_over(self, batch: list[dict[str, Any]]) -> list[View]:
        try:
            return await self._link.start(batch)
        except Unavailable:
            for order in batch:
                for pool in self._pools:
                    pool.release(order["lease"])
            raise

    # -- pools -------------------------------------------------------------------------------

    def _order(self, run: PreparedRun) -> dict[str, Any]:
        """Raises Refused. Cards are taken at once, so that a batch does not get the same twice."""
        pool = find_pool(self._pools, run.spec.pool)
        tag = pool.place(run.spec)
        order = orders.build(run, tag, self._confinements[run.spec.pool])
        pool.hold(run.spec.lease_id, tag)
        return order

    def _confine(self, pool: Pool, trouble: str) -> None:
        """Settle how a pool's runs are held in. Raises Unavailable if the config demands more."""
        config = pool.config
        limits = config.limits != "none" and bool(self._link.limits)
        if config.limits == "cgroup" and not limits:
            raise Unavailable(
                "LimitsUnavailable",
                f"Pool {config.name} demands limits and there is no cgroup this agent may write.",
                hint="Delegate a cgroup to the agent's service, or set `limits: auto`.",
            )
        if config.isolation == "bubblewrap" and trouble:
            raise Unavailable(
                "IsolationUnavailable",
                f"Pool {config.name} demands isolation: {trouble}.",
                hint="Install the package `bubblewrap`, or set `isolation: auto`.",
            )
        wall = "" if config.isolation == "none" or trouble else shutil.which(sandbox.PROGRAM) or ""
        vendor = pool.accelerator.vendor.lower() if pool.accelerator is not None else ""
        self._confinements[config.name] = Confinement(
            wall, limits, self._state, config.options, vendor, pool.card_files
        )
        off = "switched off"
        why_open = off if config.isolation == "none" else trouble
        why_free = off if config.limits == "none" else "no cgroup that may be written"
        self._words[config.name] = ", ".join(
            (
                self._link.limits if limits else f"no limits ({why_free})",
                "bubblewrap" if wall else f"no isolation ({why_open})",
            )
        )

    def _cards(self, tag: Tag | None) -> tuple[tuple[int, ...], ...]:
        if tag is None:
            return ()
        return next((p.cards_of(tag) for p in self._pools if p.config.name == tag.pool), ())

    def _report(self, pool: Pool) -> PoolReport:
        config = pool.config
        prices = config.prices
        return PoolReport(
            name=config.name,
            driver=self.name,
            architecture=platform.machine(),
            kind=config.kind,
            nodes=[
                NodeReport(node.name, node.capacity, cards=[WHOLE] * len(node.own))
                for node in pool.nodes.values()
            ],
            accelerator=pool.accelerator,
            interconnect=config.interconnect,
            max_runtime_s=config.max_runtime_s,
            prices=None
            if prices is None
            else PriceReport(
                round(prices.core_hour * _MICRO),
                round(prices.memory_gib_hour * _MICRO),
                round(prices.accelerator_hour * _MICRO),
            ),
            isolation=self._words[config.name],
            engine_version=f"{platform.system()} {platform.release()}",
        )


def _observation(view: View, cards: tuple[tuple[int, ...], ...]) -> Observation:
    return Observation(
        view.lease,
        view.phase,
        view.started_at_ms,
        view.ended_at_ms,
        view.exit_code,
        view.failure,
        view.detail,
        str(view.pid) if view.pid else "",
        nodes_of(view.tag),
        Meters(view.duration_ms, view.cpu_ms, view.max_rss_mib),
        cards,
    )


def _machine_size(state: Path) -> MachineSize:
    """Cores this process may use, the machine's memory, the disk the runs' folders lie on."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    state.mkdir(parents=True, exist_ok=True)
    disk = shutil.disk_usage(state).total
    return MachineSize(len(os.sched_getaffinity(0)) * 1000, memory >> 20, disk >> 20)
