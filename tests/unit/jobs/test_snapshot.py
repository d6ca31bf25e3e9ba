"""The snapshot of a round adds up what open leases use, lease by lease or in one go."""

from __future__ import annotations

from grid_world import GridWorld, PlayedSite
from suanwang.grid.jobs import leases_store
from suanwang.grid.jobs.snapshot import _used_so_far, share_amounts, totals_of
from suanwang.tenancy.model import user_share_id


def test_usage_of_open_leases_is_the_sum_of_each(world: GridWorld, site: PlayedSite) -> None:
    jobs = [world.submit(resources={"cpus": cpus}) for cpus in (1, 0.3, 2)]
    world.round()
    site.running(world.lease(jobs[0]))
    world.clock.advance(ms=1_777_777)
    gathered = world.gather()
    totals, now_ms = totals_of(gathered.snapshot.pools), world.clock.now_ms()
    leases = world.read(leases_store.occupying)
    assert len(leases) == 3
    each = [share_amounts(lease, totals, now_ms) for lease in leases]
    for (organisation, project, user), amount in _used_so_far(leases, totals, now_ms):
        for share in (organisation, project, user_share_id(project, user)):
            assert amount == sum(one[share] for one in each) > 0
            shown = [s.usage for s in gathered.snapshot.shares if s.share_id == share]
            assert shown == [amount]
