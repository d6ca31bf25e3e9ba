"""Sessions, inventory, drain and removal: one agent speaks for a site, and its last word counts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from grid_world import GridWorld, PlayedSite, pool_report
from suanwang.grid.jobs import agents, reading
from suanwang.grid.jobs.model import LeaseState, TaskState
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.model import TAKEOVER_AFTER_MS, SiteState, is_reachable
from suanwang.kernel.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from suanwang.protocol.messages import NodeReport, PollRequest, PoolReport, PriceReport, Quantity


def looked(world: GridWorld, site: PlayedSite) -> Any:
    return world.read(lambda conn: sites.require_site(conn, site.site_id))


def refused(action: Any) -> str:
    with pytest.raises((Conflict, InvalidInput, Unauthenticated)) as caught:
        action()
    return caught.value.reason


# --- sessions ---------------------------------------------------------------------------------


def test_each_reconciliation_opens_a_session_and_ends_the_one_before(
    world: GridWorld, site: PlayedSite
) -> None:
    first = site.session
    site.reconcile()
    assert site.session == first + 1
    request = PollRequest(session=first, revision=0)
    reason = refused(
        lambda: world.read(lambda conn: agents.news(conn, site.site_id, request, lambda *_: {}))
    )
    assert reason == "SessionSuperseded"
    assert (
        refused(lambda: world.write(lambda tx: sites.contact(tx, site.site_id, first)))
        == "SessionSuperseded"
    )
    site.heard()


@pytest.mark.parametrize("sequence", [0, 1])
def test_a_delayed_reconciliation_is_refused(
    world: GridWorld, site: PlayedSite, sequence: int
) -> None:
    session = looked(world, site).session
    assert refused(lambda: site.reconcile(sequence=sequence)) == "ReconciliationOutdated"
    assert looked(world, site).session == session


def test_a_second_agent_is_refused_while_the_first_is_heard(
    world: GridWorld, site: PlayedSite
) -> None:
    world.clock.advance(ms=TAKEOVER_AFTER_MS - 1)
    assert refused(lambda: site.reconcile(instance="other", sequence=1)) == "SiteClaimed"
    site.heard()
    world.clock.advance(ms=TAKEOVER_AFTER_MS - 1)
    assert refused(lambda: site.reconcile(instance="other", sequence=1)) == "SiteClaimed"
    world.clock.advance(ms=1)
    site.reconcile(instance="other", sequence=1)
    assert looked(world, site).instance_id == "other"


def test_work_of_a_silent_agent_is_given_up_before_another_takes_its_site(
    world: GridWorld, site: PlayedSite
) -> None:
    """The newcomer's empty list ended runs that went on at the first, and they began anew."""
    job = world.submit()
    world.round()
    site.running(world.lease(job))
    world.clock.advance(ms=TAKEOVER_AFTER_MS + 1)
    assert refused(lambda: site.reconcile(instance="other", sequence=1)) == "SiteClaimed"
    assert world.lease(job).state is LeaseState.RUNNING
    world.clock.advance(s=31)
    world.sweep()
    site.reconcile(instance="other", sequence=1)
    assert world.task(job).state is TaskState.QUEUED


def test_the_first_agent_is_told_when_it_comes_back(world: GridWorld, site: PlayedSite) -> None:
    world.clock.advance(ms=TAKEOVER_AFTER_MS + 1)
    site.reconcile(instance="other", sequence=1)
    assert refused(lambda: site.reconcile(sequence=9)) == "SiteClaimed"


def test_a_new_instance_counts_from_the_beginning(world: GridWorld, site: PlayedSite) -> None:
    for _ in range(5):
        site.reconcile()
    world.clock.advance(ms=TAKEOVER_AFTER_MS + 1)
    site.reconcile(instance="other", sequence=1)
    assert refused(lambda: site.reconcile(instance="other", sequence=1)) == "ReconciliationOutdated"


def test_reachability_follows_contact(world: GridWorld, site: PlayedSite) -> None:
    assert is_reachable(looked(world, site), world.clock.now_ms())
    world.clock.advance(s=31)
    assert not is_reachable(looked(world, site), world.clock.now_ms())
    site.heard()
    assert is_reachable(looked(world, site), world.clock.now_ms())


def test_a_removed_site_has_no_sessions(world: GridWorld, site: PlayedSite) -> None:
    world.write(lambda tx: sites.remove(tx, site.site_id, reading.open_leases_at))
    assert refused(site.reconcile) == "SiteRemoved"


# --- inventory --------------------------------------------------------------------------------


def pools(world: GridWorld, site: PlayedSite) -> list[Any]:
    return world.read(lambda conn: sites.pools_of_site(conn, site.site_id))


def take(world: GridWorld, site: PlayedSite, *reports: PoolReport) -> bool:
    return world.write(lambda tx: sites.take_inventory(tx, site.site_id, list(reports)))


def test_an_equal_report_changes_nothing(world: GridWorld, site: PlayedSite) -> None:
    assert take(world, site, pool_report()) is False


def test_nodes_come_and_go(world: GridWorld, site: PlayedSite) -> None:
    assert take(world, site, pool_report(3)) is True
    assert [node.name for node in pools(world, site)[0].nodes] == ["n0", "n1", "n2"]
    assert take(world, site, pool_report(1)) is True
    assert [node.name for node in pools(world, site)[0].nodes] == ["n0"]


def test_pools_come_go_and_come_back_as_themselves(world: GridWorld, site: PlayedSite) -> None:
    [before] = pools(world, site)
    assert take(world, site, pool_report(name="gpu")) is True
    assert [pool.name for pool in pools(world, site)] == ["gpu"]
    assert take(world, site, pool_report(), pool_report(name="gpu")) is True
    assert before.pool_id in {pool.pool_id for pool in pools(world, site)}


def test_prices_change_with_a_new_list_and_stay_without(world: GridWorld, site: PlayedSite) -> None:
    [before] = pools(world, site)
    take(world, site, pool_report(prices=None))
    assert pools(world, site)[0].price_list_id == before.price_list_id
    take(world, site, pool_report(prices=PriceReport(core_hour=7)))
    assert pools(world, site)[0].price_list_id != before.price_list_id


def node(name: str, **figures: int) -> NodeReport:
    return NodeReport(name, msgspec.structs.replace(Quantity(1, 1, 1, 0), **figures))


@pytest.mark.parametrize(
    "reports",
    [
        [pool_report(), pool_report()],
        [pool_report(name="")],
        [pool_report(name="x" * 61)],
        [pool_report(name="a\nb")],
        [pool_report(name="b", nodes=[node("n"), node("n")])],
        [pool_report(name="b", nodes=[node("n", cpu_milli=-1)])],
        [pool_report(name="b", nodes=[node("n", memory_mib=1 << 60)])],
        [pool_report(name="b", nodes=[NodeReport("n", Quantity(), Quantity(-5))])],
        [pool_report(name="b", backlog_s=-1)],
        [pool_report(name="b", max_runtime_s=-1)],
    ],
    ids=range(10),
)
def test_nonsense_is_refused_whole_and_named(
    world: GridWorld, site: PlayedSite, reports: list[PoolReport]
) -> None:
    """Two pools of one name broke every session of their site without a word to its operator."""
    before = pools(world, site)
    assert refused(lambda: take(world, site, *reports)) == "InventoryInvalid"
    assert refused(lambda: site.reconcile(pools=reports)) == "InventoryInvalid"
    assert pools(world, site) == before


# --- drain, cordon, removal -------------------------------------------------------------------


def test_a_draining_site_lets_runs_end_and_starts_nothing(
    world: GridWorld, site: PlayedSite
) -> None:
    first = world.submit()
    world.round()
    site.running(world.lease(first))
    world.write(lambda tx: sites.set_draining(tx, site.site_id, True))
    second = world.submit()
    world.round()
    assert world.task(second).state is TaskState.QUEUED
    assert site.reconcile().reply.draining
    site.reconcile()
    world.write(lambda tx: sites.set_draining(tx, site.site_id, False))
    world.round()
    assert world.task(second).state is TaskState.LEASED


def test_a_site_without_an_agent_cannot_drain(world: GridWorld) -> None:
    from test_enrolment import invite

    site_id, _ = invite(world)
    with pytest.raises(Conflict) as caught:
        world.write(lambda tx: sites.set_draining(tx, site_id, True))
    assert caught.value.reason == "SiteNotEnrolled"


def test_new_work_keeps_off_a_cordoned_node(world: GridWorld, site: PlayedSite) -> None:
    world.write(lambda tx: sites.cordon_node(tx, site.site_id, "cpu", "n0", True))
    site.reconcile()
    job = world.submit(resources={"cpus": 1})
    world.round()
    assert [name for name, _ in world.lease(job).node_members] == ["n1"]
    pool = world.write(lambda tx: sites.cordon_node(tx, site.site_id, "cpu", "n0", False))
    assert pool.cordoned == []


@pytest.mark.parametrize(("pool", "name"), [("cpu", "n9"), ("gpu", "n0")])
def test_what_is_not_there_cannot_be_cordoned(
    world: GridWorld, site: PlayedSite, pool: str, name: str
) -> None:
    with pytest.raises(NotFound):
        world.write(lambda tx: sites.cordon_node(tx, site.site_id, pool, name, True))


def test_a_site_with_work_is_not_removed(world: GridWorld, site: PlayedSite) -> None:
    job = world.submit()
    world.round()
    with pytest.raises(Conflict, match="1 leases"):
        world.write(lambda tx: sites.remove(tx, site.site_id, reading.open_leases_at))
    site.ended(world.lease(job))
    world.write(lambda tx: sites.remove(tx, site.site_id, reading.open_leases_at))
    states = {s.site_id: s.state for s in world.read(sites.sites)}
    assert states.get(site.site_id) in (None, SiteState.REMOVED)


def test_revisions_are_taken_in_order(world: GridWorld, site: PlayedSite) -> None:
    first = world.write(lambda tx: sites.next_revisions(tx, site.site_id, 3))
    assert world.write(lambda tx: sites.next_revisions(tx, site.site_id, 1)) == first + 3
