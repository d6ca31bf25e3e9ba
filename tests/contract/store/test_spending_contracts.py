"""Over both databases: work runs on a contract and costs nothing, its hours are charged, what was
not there is credited."""

from __future__ import annotations

import random as stdlib_random
from typing import Any

import pytest

from contract_world import PRICE, YUAN, Place, sign
from jobs_world import Grid, SiteBook, ended, running, spec, wanted
from manual_clock import ManualClock
from suanwang.grid.jobs.contracted import contracted
from suanwang.grid.jobs.delivery import Deliveries
from suanwang.grid.jobs.housekeeping import tidy
from suanwang.grid.jobs.model import Lease, Outcome, TaskState
from suanwang.grid.jobs.submission import Owner
from suanwang.grid.sites import service as sites
from suanwang.kernel.errors import InvalidInput
from suanwang.kernel.time import MS_PER_HOUR, hour_of
from suanwang.protocol.messages import FailureClass
from suanwang.tenancy import people
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Role, system_principal
from suanwang.trade.catalogue.model import Period
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract, ContractState, Party
from suanwang.trade.ledger import service as ledger

_STOPPED = FailureClass.STOPPED
CREDIT = 1_000 * YUAN


class Ground:
    """A grid with one site of eight cores, its buyer (the grid's project) and a neighbour."""

    def __init__(self, grid: Grid, clock: ManualClock) -> None:
        self.grid, self.clock = grid, clock
        self.deliveries = Deliveries(grid.database, clock, grid.signals, grid.outbox)
        self.site: SiteBook
        self.place: Place
        self.other: Owner
        self.seller: Party

    async def settle_in(self) -> None:
        grid = self.grid
        self.site = await grid.site()
        [pool] = await grid.database.read(lambda c: sites.pools_of_site(c, self.site.site_id))
        self.place = Place(self.site.site_id, pool.pool_id, 8)
        self.other = await self.project("firm")
        seller = await self.project("provider")
        self.seller = Party(seller.organisation_id, seller.project_id, seller.user_id)
        self.clock.advance(s=60)  # the sites have been listened to for long enough
        await self.heard()

    async def heard(self) -> None:
        site = self.site
        await self.grid.database.write(lambda tx: sites.contact(tx, site.site_id, site.session))

    async def project(self, name: str) -> Owner:
        def use_case(tx: Any) -> Owner:
            system = system_principal()
            organisation = tenancy.create_organisation(tx, system, name=name, display_name=name)
            made = tenancy.create_project(
                tx, system, name="default", organisation_id=organisation.id
            )
            user = people.create_user(tx, system, login=name, organisation_id=organisation.id)
            people.set_membership(tx, system, made.id, user.id, Role.MEMBER)
            ledger.project_accounts(tx, [made.id])
            ledger.set_credit_limit(tx, made.id, CREDIT)
            return Owner(organisation.id, made.id, user.id)

        return await self.grid.database.write(use_case)

    def party(self, owner: Owner | None = None) -> Party:
        owner = owner or self.grid.owner
        return Party(owner.organisation_id, owner.project_id, owner.user_id)

    async def sign(self, lots: int, *, buyer: Owner | None = None, **terms: Any) -> Contract:
        seller = terms.pop("seller", self.seller)
        return await self.grid.database.write(
            lambda tx: sign(tx, self.place, self.party(buyer), seller, lots=lots, **terms)
        )

    async def submit(self, owner: Owner | None = None, **fields: Any) -> str:
        grid = self.grid
        mine, grid.owner = grid.owner, owner or grid.owner
        try:
            [job_id] = await grid.submit(spec(**{"max_runtime": 600} | fields))
        finally:
            grid.owner = mine
        return job_id

    async def lease(self, job_id: str) -> Lease:
        [(_, leases)] = await self.grid.tasks(job_id)
        return leases[-1]

    async def wait(self, seconds: int) -> None:
        """Minute by minute, with the site heard and the contracts looked at."""
        for _ in range(seconds // 60):
            self.clock.advance(s=60)
            await self.heard()
            await self.deliveries.step()
        await self.grid.deliver()

    async def account(self, project_id: str) -> tuple[int, int]:
        found = await self.grid.database.read(lambda c: ledger.project_account(c, project_id))
        assert found is not None
        return found.balance_micro_yuan, found.held_micro_yuan

    async def contract(self, one: Contract) -> Contract:
        return await self.grid.database.read(lambda c: contracts.get(c, one.id))

    async def check(self) -> None:
        assert await self.grid.violations() == []


@pytest.fixture
async def ground(any_database: Any, clock: ManualClock) -> Ground:
    grid = await Grid(any_database, clock, dice=stdlib_random.Random(3)).found()
    made = Ground(grid, clock)
    await made.settle_in()
    return made


async def test_work_on_a_contract_costs_nothing_and_its_hour_is_charged(ground: Ground) -> None:
    grid = ground.grid
    signed = await ground.sign(3)
    job = await ground.submit(resources={"cpus": 2})
    rival = await ground.submit(ground.other, resources={"cpus": 4}, array=2)
    await grid.dispatcher.round()
    lease = await ground.lease(job)
    assert (lease.contract_id, lease.rate, lease.hold) == (signed.id, 0, 0)
    held = [len(leases) for _, leases in await grid.tasks(rival)]
    assert sorted(held) == [0, 1], "five of eight cores are free for others"
    orders = [one for one in wanted(await ground.site.poll()) if one.lease_id == lease.lease_id]
    await ground.site.poll([running(order) for order in orders])
    ground.clock.advance(s=300)
    await ground.site.poll([ended(order, seconds=300) for order in orders])
    await grid.deliver()
    assert await grid.balance() == (0, 2 * 3 * PRICE)
    await ground.wait(3_600)
    await ground.check()
    assert await grid.balance() == (-3 * PRICE, 3 * PRICE)
    hours = await grid.database.read(lambda c: contracts.hours_of(c, signed.id))
    first = hours[-1]
    assert first.delivered == 3 * first.samples > 0
    assert (first.charged, first.credited) == (3 * PRICE, 0)
    assert (await grid.job(job)).state is TaskState.SUCCEEDED


async def test_a_silent_site_delivers_nothing_and_pays_the_credit(ground: Ground) -> None:
    signed = await ground.sign(3, hours=1)
    for _ in range(60):
        ground.clock.advance(s=60)
        await ground.deliveries.step()
    ground.clock.advance(s=60)
    await ground.deliveries.step()
    await ground.grid.deliver()
    assert (await ground.contract(signed)).state is ContractState.COMPLETED
    credit = 3 * PRICE * 20 // 100
    assert await ground.grid.balance() == (credit, 0)
    assert await ground.account(ground.seller.project_id) == (-credit, 0)
    await ground.check()


async def test_nobody_is_in_the_way_when_a_contract_begins(ground: Ground) -> None:
    grid = ground.grid
    signed = await ground.sign(6, begins=1)
    long = await ground.submit(ground.other, resources={"cpus": 1}, array=8, max_runtime=7_200)
    short = await ground.submit(ground.other, resources={"cpus": 1}, array=8, max_runtime=1_800)
    await grid.dispatcher.round()
    counts = [sum(len(leases) for _, leases in await grid.tasks(job)) for job in (long, short)]
    assert counts == [2, 6]
    site = ground.site
    await site.finish(wanted(await site.poll()), seconds=1_500)
    ground.clock.advance(s=3_600)
    await ground.heard()
    mine = await ground.submit(resources={"cpus": 1}, array=8, contract=signed.id)
    await grid.dispatcher.round()
    on = [leases[0].contract_id for _, leases in await grid.tasks(mine) if leases]
    assert on == [signed.id] * 6
    await ground.check()


async def test_preemptible_work_makes_way_and_is_queued_again(ground: Ground) -> None:
    grid, site = ground.grid, ground.site
    guest = await ground.submit(
        ground.other, resources={"cpus": 4}, array=2, preemptible=True, max_runtime=36_000
    )
    await grid.dispatcher.round()
    orders = wanted(await site.poll())
    await site.poll([running(order) for order in orders])
    ground.clock.advance(s=120)
    await ground.heard()
    await ground.sign(3)
    await ground.deliveries.step()
    stops = [order for order in await site.poll() if order.reason == "preempted"]
    assert len(stops) == 1
    left = next(order for order in orders if order.lease_id == stops[0].lease_id)
    await site.poll([ended(left, failure=_STOPPED, exit_code=-15)])
    states = {(await grid.tasks(guest))[i][0].state for i in range(2)}
    assert states == {TaskState.QUEUED, TaskState.RUNNING}
    await ground.wait(60)
    [gone] = [
        lease
        for _, leases in await grid.tasks(guest)
        for lease in leases
        if lease.outcome is Outcome.PREEMPTED
    ]
    assert gone.lease_id == left.lease_id
    await ground.check()


async def test_work_on_a_contract_that_was_withdrawn_goes_on_elsewhere(ground: Ground) -> None:
    grid, site = ground.grid, ground.site
    signed = await ground.sign(3)
    job = await ground.submit(resources={"cpus": 2})
    await grid.dispatcher.round()
    [order] = wanted(await site.poll())
    await site.poll([running(order)])
    await grid.database.write(lambda tx: contracts.withdraw(tx, signed.id))
    await ground.wait(60)
    stops = [one for one in await site.poll() if one.reason == "preempted"]
    lease = await ground.lease(job)
    assert lease.stop.value == "preempted" or stops
    await site.poll([ended(order, failure=_STOPPED, exit_code=-15)])
    await grid.dispatcher.round()
    again = await ground.lease(job)
    assert again.contract_id is None
    assert again.rate > 0
    await ground.check()


async def test_what_is_sold_on_is_the_buyers_and_delivered_by_the_first_seller(
    ground: Ground,
) -> None:
    grid = ground.grid
    first = await ground.sign(4, hours=1)
    sold = await ground.sign(3, buyer=ground.other, seller=ground.party(), backing=first, hours=1)
    mine = await ground.submit(resources={"cpus": 1}, array=4, contract=first.id)
    theirs = await ground.submit(ground.other, resources={"cpus": 1}, array=4, contract=sold.id)
    await grid.dispatcher.round()
    counts = [sum(len(leases) for _, leases in await grid.tasks(job)) for job in (mine, theirs)]
    assert counts == [1, 3]
    await ground.wait(3_660)
    for one, lots in ((first, 4), (sold, 3)):
        [hour] = await grid.database.read(lambda c, of=one: contracts.hours_of(c, of.id))
        assert (hour.delivered, hour.charged) == (lots * hour.samples, lots * PRICE)
    assert await grid.balance() == (-4 * PRICE, 0)
    assert await ground.account(ground.other.project_id) == (-3 * PRICE, 0)
    await ground.check()


async def test_a_job_names_only_a_contract_of_its_project(ground: Ground) -> None:
    signed = await ground.sign(1)
    with pytest.raises(InvalidInput) as refused:
        await ground.submit(ground.other, contract=signed.id)
    assert (refused.value.reason, refused.value.field) == ("NoSuchContract", "contract")
    await ground.grid.database.write(lambda tx: contracts.withdraw(tx, signed.id))
    with pytest.raises(InvalidInput, match="terminated"):
        await ground.submit(contract=signed.id)


async def test_pledges_of_hours_long_over_are_forgotten(ground: Ground) -> None:
    signed = await ground.sign(1, hours=1)
    hours = signed.period
    pledged = await ground.grid.database.read(
        lambda c: contracts.pledged(c, [ground.place.pool_id], hours)
    )
    assert list(pledged.values()) == [1]
    ground.clock.advance(s=4 * 86_400)
    await ground.grid.database.write(tidy)
    assert (
        await ground.grid.database.read(
            lambda c: contracts.pledged(c, [ground.place.pool_id], hours)
        )
        == {}
    )


async def test_claims_of_every_hour_are_what_the_pool_has_sold_of_it(ground: Ground) -> None:
    """Contracts that have begun, that have not, sold on before and after, named and not."""
    first = await ground.sign(3, hours=4)
    sold = await ground.sign(
        2, buyer=ground.other, seller=ground.party(), backing=first, begins=1, hours=2
    )
    third = await ground.sign(1, seller=ground.party(ground.other), backing=sold, begins=2, hours=1)
    later = [await ground.sign(1, begins=at, hours=3) for at in (2, 2, 5)]
    resold = await ground.sign(
        1, buyer=ground.other, seller=ground.party(), backing=later[0], begins=3, hours=1
    )
    far = await ground.sign(4, begins=24 * 7 + 5, hours=2)
    now_ms = ground.clock.now_ms()
    hour = hour_of(now_ms)
    bought = [first, *later]
    for named in ([], [far.id], [third.id], [resold.id, later[0].id]):
        bound = await ground.grid.database.read(lambda c, of=named: contracted(c, [], now_ms, of))
        claims = bound.claims[ground.place.pool_id]
        names = {claim.contract_id for claim in claims} - {""}
        assert names >= {first.id, *named}
        counted = [*bought, far] if far.id in named else bought
        for at in range(hour, hour + 24 * 7 + 8):
            claimed = [c.lots for c in claims if c.from_ms <= at * MS_PER_HOUR < c.until_ms]
            sums = [one.lots for one in counted if one.period.covers(Period(at, 1))]
            assert sum(claimed) == sum(sums), (named, at - hour)
    soon = await ground.grid.database.read(lambda c: contracted(c, [], now_ms, until_ms=now_ms))
    assert {c.contract_id for c in soon.claims[ground.place.pool_id]} == {first.id}
