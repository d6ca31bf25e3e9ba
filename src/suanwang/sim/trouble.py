"""What goes wrong, at instants drawn from the seed: sites, server, store, provider, money."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from suanwang.grid.jobs.reconciler import ROUND_SIGNAL
from suanwang.grid.sites import service as sites
from suanwang.platform.database import Tx
from suanwang.protocol.messages import PriceReport, Quantity
from suanwang.sim.engine import Behaviour
from suanwang.sim.grid import Grid
from suanwang.sim.ground import LEAN, PLENTY, submitters
from suanwang.sim.network import Weather
from suanwang.sim.site import SimSite
from suanwang.trade.ledger import service as ledger

ODDS_PM = {"read": 2, "before_commit": 5, "after_commit": 5}
SILENCE_ONE_IN = 3
"""Runs, of which one has a long silence."""
SKEW_MS = 2_000
"""How far the clocks of two servers, or of one before and after a restart, lie apart."""


class Trouble:
    """All of it; `begin` it, then `heal`."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        people = grid.database.read_now(submitters)
        self._may_fail = asyncio.Event()
        """Server and store; not during a long silence."""
        self._may_fail.set()
        self._lean = next(one.owner.project_id for one in people if one.project is LEAN)

    def begin(self) -> None:
        grid = self._grid
        grid.faults.odds_pm = dict(ODDS_PM)
        for sim_site in grid.sites:
            grid.spawn(self._site(sim_site))
        if grid.dice.randrange(SILENCE_ONE_IN) == 0:
            grid.spawn(self._silence())
        grid.spawn(self._server())
        grid.spawn(self._store())
        grid.spawn(self._provider())
        grid.spawn(self._squeeze())

    async def heal(self) -> None:
        """Everything works again and is on offer; nobody is short of money."""
        grid = self._grid
        await grid.end_spawned()
        grid.faults.odds_pm, grid.faults.away = {}, False
        for sim_site in grid.sites:
            sim_site.wire.cut_up = sim_site.wire.cut_down = sim_site.wire.silent = False
            sim_site.wire.weather = Weather()
            sim_site.engine.behaviour = Behaviour(0, 0, 0)
            sim_site.engine.offer_all()
            sim_site.start_agent()
        if grid.plane is None:
            grid.start_plane(grid.clock.skew_ms)
        await grid.database.write(self._restore)
        grid.notify(ROUND_SIGNAL)
        grid.note("healed")

    def _restore(self, tx: Tx) -> None:
        ledger.set_credit_limit(tx, self._lean, PLENTY)
        for sim_site in self._grid.sites:
            sites.set_draining(tx, sim_site.site_id, False)
            for pool in sites.pools_of_site(tx.conn, sim_site.site_id):
                for node in pool.cordoned:
                    sites.cordon_node(tx, sim_site.site_id, pool.name, node, False)

    # --- sites --------------------------------------------------------------------------------

    async def _site(self, sim_site: SimSite) -> None:
        actions: list[Callable[[SimSite], Awaitable[None]]] = [
            self._cut,
            self._cut,
            self._cut,
            self._crash_agent,
            self._crash_agent,
            self._crash_agent,
            self._wipe,
            self._lose_records,
            self._offer_less,
            self._offer_less,
        ]
        while True:
            await asyncio.sleep(5 + sim_site.dice.random() * 40)
            await sim_site.dice.choice(actions)(sim_site)

    async def _cut(self, sim_site: SimSite) -> None:
        dice = sim_site.dice
        kind = dice.randrange(3)
        sim_site.wire.cut_up = kind in (0, 2)
        sim_site.wire.cut_down = kind in (1, 2)
        self._grid.note(f"cut {sim_site.name} {kind}")
        await asyncio.sleep(dice.choice([2, 15, 40, 80]) * (0.5 + dice.random()))
        sim_site.wire.cut_up = sim_site.wire.cut_down = False
        self._grid.note(f"joined {sim_site.name}")

    async def _silence(self) -> None:
        """The busiest site is unheard for longer than any fenced lease lives, while the server
        listens: what ran there is replaced elsewhere."""
        grid, dice = self._grid, self._grid.dice
        await asyncio.sleep(30)
        while True:
            await asyncio.sleep(dice.random() * 25)
            if grid.plane is not None and not grid.faults.away:
                break
        sim_site = max(grid.sites, key=lambda one: one.engine.working())
        self._may_fail.clear()
        sim_site.wire.silent = True
        grid.note(f"silent {sim_site.name}")
        await asyncio.sleep(45 + dice.random() * 20)
        sim_site.wire.silent = False
        self._may_fail.set()
        grid.note(f"heard {sim_site.name}")

    async def _crash_agent(self, sim_site: SimSite) -> None:
        self._grid.note(f"agent killed {sim_site.name}")
        sim_site.crash_agent()
        await asyncio.sleep(sim_site.dice.choice([0.1, 5, 60]) * sim_site.dice.random())
        sim_site.start_agent()

    async def _wipe(self, sim_site: SimSite) -> None:
        self._grid.note(f"site wiped {sim_site.name}")
        sim_site.wipe()
        await asyncio.sleep(sim_site.dice.random() * 30)
        sim_site.start_agent()

    async def _lose_records(self, sim_site: SimSite) -> None:
        self._grid.note(f"agent's disk lost {sim_site.name}")
        sim_site.lose_records()
        await asyncio.sleep(sim_site.dice.random() * 30)
        sim_site.start_agent()

    async def _offer_less(self, sim_site: SimSite) -> None:
        """Nodes go down, others take room on them, or the pool is withdrawn."""
        dice, engine = sim_site.dice, sim_site.engine
        names = [node.name for node in engine.pool.nodes]
        kind = dice.randrange(3)
        if kind == 0:
            engine.withdrawn = True
        elif kind == 1:
            engine.down = frozenset(dice.sample(names, dice.randrange(1, len(names) + 1)))
        else:
            engine.busy = {name: Quantity(dice.choice([1000, 3000, 4000])) for name in names}
        self._grid.note(f"offers less {sim_site.name} {kind}")
        await asyncio.sleep(10 + dice.random() * 40)
        engine.offer_all()
        self._grid.note(f"offers all {sim_site.name}")

    # --- the control plane --------------------------------------------------------------------

    async def _server(self) -> None:
        grid, dice = self._grid, self._grid.dice
        while True:
            await asyncio.sleep(10 + dice.random() * 60)
            await self._may_fail.wait()
            if grid.plane is not None:
                grid.note("server killed")
                grid.plane.crash()
                grid.plane = None
            await asyncio.sleep(dice.choice([0.1, 5, 50]) * dice.random())
            grid.start_plane(dice.randrange(-SKEW_MS, SKEW_MS + 1))

    async def _store(self) -> None:
        grid, dice = self._grid, self._grid.dice
        while True:
            await asyncio.sleep(20 + dice.random() * 100)
            await self._may_fail.wait()
            grid.note("store away")
            grid.faults.away = True
            await asyncio.sleep(dice.choice([0.5, 5, 40]) * dice.random())
            grid.faults.away = False
            grid.note("store back")

    # --- people with power --------------------------------------------------------------------

    async def _provider(self) -> None:
        """Drains sites, keeps work off nodes, asks other prices."""
        dice = self._grid.dice
        actions = [self._drain, self._cordon, self._reprice]
        while True:
            await asyncio.sleep(5 + dice.random() * 40)
            await dice.choice(actions)(dice.choice(self._grid.sites))

    async def _drain(self, sim_site: SimSite) -> None:
        grid = self._grid
        grid.note(f"drained {sim_site.name}")
        await grid.persist(lambda tx: sites.set_draining(tx, sim_site.site_id, True))
        await asyncio.sleep(grid.dice.random() * 30)
        await grid.persist(lambda tx: sites.set_draining(tx, sim_site.site_id, False))

    async def _cordon(self, sim_site: SimSite) -> None:
        pool = sim_site.engine.pool
        node = self._grid.dice.choice(pool.nodes).name
        self._grid.note(f"cordoned {sim_site.name} {node}")
        await self._grid.persist(
            lambda tx: sites.cordon_node(tx, sim_site.site_id, pool.name, node, True), _gone
        )

    async def _reprice(self, sim_site: SimSite) -> None:
        prices = PriceReport(core_hour=self._grid.dice.choice([40_000, 400_000]))
        name = sim_site.engine.pool.name
        self._grid.note(f"repriced {sim_site.name}")
        await self._grid.persist(
            lambda tx: sites.set_prices(tx, sim_site.site_id, name, prices), _gone
        )

    async def _squeeze(self) -> None:
        """A project's credit is taken away, and given back."""
        grid, dice = self._grid, self._grid.dice
        while True:
            await asyncio.sleep(10 + dice.random() * 100)
            grid.note("credit taken away")
            await grid.persist(lambda tx: ledger.set_credit_limit(tx, self._lean, 0))
            await asyncio.sleep(5 + dice.random() * 80)
            await grid.persist(lambda tx: ledger.set_credit_limit(tx, self._lean, LEAN.credit))


def _gone(error: Exception) -> bool:
    """The site has not reported its pool, or not this node, yet."""
    return getattr(error, "reason", "") in ("PoolNotFound", "NodeNotFound")
