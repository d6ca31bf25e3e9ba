"""The independent judge: recomputes from accepted rows and true events, trusts no cache."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from suanwang.grid.jobs.tables import jobs, leases, tasks
from suanwang.kernel.money import scale
from suanwang.platform.outbox import outbox
from suanwang.sim.world import World
from suanwang.trade.billing import reports as billing_reports
from suanwang.trade.billing.store import charges, reliefs, usage
from suanwang.trade.contracts.store import contracts
from suanwang.trade.contracts.store import hours as contract_hours
from suanwang.trade.ledger.model import EntryKind
from suanwang.trade.ledger.store import accounts, postings

STATES = (
    "waiting",
    "queued",
    "leased",
    "running",
    "succeeded",
    "failed",
    "cancelled",
    "refused",
)
SKEWS_MS = 4_000
"""Two lives of the server may tell the time so differently."""
ROUNDING = 3
FINAL = ("succeeded", "failed", "cancelled", "refused")


def audit_always(conn: Connection) -> list[str]:
    """True at any instant: books balance, holds are those of open leases, counts are true."""
    found = [f"Ledger: {difference}" for difference in billing_reports.verify(conn)]
    found.extend(_books(conn))
    found.extend(_holds(conn))
    found.extend(_counts(conn))
    found.extend(_current_leases(conn))
    found.extend(_contracts(conn))
    return found


def _books(conn: Connection) -> list[str]:
    """Sums made here, row by row: what is posted is what balances say and what was charged."""
    balance: dict[str, int] = defaultdict(int)
    of_entry: dict[str, int] = defaultdict(int)
    charged: dict[str, int] = defaultdict(int)
    for row in conn.execute(sa.select(postings)):
        balance[row.account_id] += row.amount
        if row.kind == EntryKind.CHARGE.value:
            charged[row.account_id] += row.amount
        of_entry[row.entry_id] += row.amount
    found = [f"EntryUnbalanced: {entry} by {left}" for entry, left in of_entry.items() if left]
    paid: dict[str, int] = defaultdict(int)
    for charge in conn.execute(sa.select(charges.c.project_id, charges.c.amount)):
        paid[charge.project_id] -= charge.amount
    for relief in conn.execute(sa.select(reliefs.c.project_id, reliefs.c.amount)):
        paid[relief.project_id] += relief.amount
    for account in conn.execute(sa.select(accounts)):
        posted = balance[account.id]
        if account.balance != posted:
            found.append(f"BalanceWrong: {account.id} has {account.balance}, posted {posted}")
        booked, asked = charged[account.id], paid[account.owner_id]
        if account.kind == "prepaid" and booked != asked:
            found.append(
                f"ChargesWrong: {account.owner_id} was booked {booked}, charges say {asked}"
            )
    return found


def _counts(conn: Connection) -> list[str]:
    """A job's counts are those of its tasks; a leased task has its lease."""
    of_tasks: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    leased: dict[str, str] = {}
    for row in conn.execute(sa.select(tasks.c.id, tasks.c.job_id, tasks.c.state, tasks.c.lease_id)):
        of_tasks[row.job_id][row.state] += 1
        if row.state in ("leased", "running"):
            leased[row.id] = row.lease_id
    found = []
    for job in conn.execute(sa.select(jobs)):
        for state in STATES:
            if getattr(job, state) != of_tasks[job.id][state]:
                found.append(f"CountsWrong: {job.id} {state}")
    open_ones = set(conn.execute(sa.select(leases.c.id).where(leases.c.state != "ended")).scalars())
    for task_id, lease_id in leased.items():
        if lease_id not in open_ones:
            found.append(f"TaskWithoutLease: {task_id} is under {lease_id}")
    return found


def _holds(conn: Connection) -> list[str]:
    """Held money = what open leases hold + what recorded usage will release when charged + what
    contracts hold of both sides."""
    held: dict[str, int] = defaultdict(int)
    for row in conn.execute(sa.select(contracts)):
        held[row.buyer_project_id] += row.buyer_held + row.rent_held
        held[row.seller_project_id] += row.seller_held
    for row in conn.execute(sa.select(leases.c.project_id, leases.c.hold)):
        held[row.project_id] += row.hold
    on_its_way = (
        sa.select(usage.c.project_id, usage.c.hold_release_micro_yuan)
        .outerjoin(
            charges,
            sa.and_(
                charges.c.source == usage.c.source,
                charges.c.usage_id == usage.c.id,
            ),
        )
        .where(charges.c.usage_id.is_(None))
    )
    for project_id, amount in conn.execute(on_its_way):
        held[project_id] += amount
    found = []
    query = sa.select(accounts.c.owner_id, accounts.c.held).where(accounts.c.kind == "prepaid")
    for owner, amount in conn.execute(query):
        if held.get(owner, 0) != amount:
            found.append(f"HoldsWrong: {owner} holds {amount}, leases say {held.get(owner, 0)}")
    return found


def _contracts(conn: Connection) -> list[str]:
    """One that has ended holds nothing; nothing that runs on one costs anything; what its hours
    charged is in proportion to what was there, and the rest is credited by its terms."""
    found = []
    by_id = {row.id: row for row in conn.execute(sa.select(contracts))}
    for row in by_id.values():
        if row.state != "signed" and (row.buyer_held or row.rent_held or row.seller_held):
            found.append(f"ContractHolds: {row.id} is {row.state} and holds money")
        if not 0 <= row.settled_hours <= row.hours:
            found.append(f"ContractHours: {row.id} settled {row.settled_hours} of {row.hours}")
    for hour in conn.execute(sa.select(contract_hours).where(contract_hours.c.settled_at_ms > 0)):
        of = by_id[hour.contract_id]
        promised = of.lots * hour.samples
        whole = of.lots * of.price
        charged = whole * hour.delivered // promised if promised else 0
        missing = whole - hour.charged if promised else 0
        credited = missing * of.credit_percent // 100
        rent = of.lots * of.rent * hour.delivered // promised if promised else 0
        if abs(hour.rent - rent) > ROUNDING:
            found.append(f"ContractRentWrong: {of.id} {hour.hour}: {hour.rent} of {rent}")
        if abs(hour.charged - charged) > ROUNDING or abs(hour.credited - credited) > ROUNDING:
            found.append(f"ContractHourWrong: {of.id} {hour.hour}: {hour.charged}, {hour.credited}")
    query = sa.select(leases.c.id, leases.c.project_id, leases.c.rate, leases.c.contract_id)
    for lease in conn.execute(query.where(leases.c.contract_id.is_not(None))):
        if lease.rate:
            found.append(f"ContractLeaseCosts: {lease.id} costs {lease.rate}")
        if lease.project_id != by_id[lease.contract_id].buyer_project_id:
            found.append(f"ContractLeaseOfOther: {lease.id} on {lease.contract_id}")
    return found


def _current_leases(conn: Connection) -> list[str]:
    """At most one fenced open lease per task."""
    query = (
        sa.select(leases.c.task_id, sa.func.count())
        .where(leases.c.state != "ended", leases.c.stop_after_s.is_not(None))
        .group_by(leases.c.task_id)
        .having(sa.func.count() > 1)
    )
    return [f"TwoLeases: {task} has {count}" for task, count in conn.execute(query)]


def unsettled(conn: Connection) -> list[str]:
    """What is still under way on the books; nothing of it may be left in the end."""
    found = []
    for row in conn.execute(sa.select(jobs.c.id, jobs.c.state).where(jobs.c.state.not_in(FINAL))):
        found.append(f"JobStuck: {row.id} is {row.state}")
    for row in conn.execute(
        sa.select(tasks.c.id, tasks.c.state).where(tasks.c.state.not_in(FINAL))
    ):
        found.append(f"TaskStuck: {row.id} is {row.state}")
    open_leases = sa.select(leases.c.id, leases.c.state).where(leases.c.state != "ended")
    found.extend(f"LeaseLeaked: {row.id} is {row.state}" for row in conn.execute(open_leases))
    signed = sa.select(contracts.c.id).where(contracts.c.state == "signed")
    found.extend(f"ContractOpen: {one}" for one in conn.execute(signed).scalars())
    waiting = conn.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one()
    if waiting:
        found.append(f"OutboxLeft: {waiting} facts")
    holding = sa.select(accounts.c.owner_id, accounts.c.held).where(accounts.c.held != 0)
    found.extend(f"HoldLeaked: {row.owner_id} holds {row.held}" for row in conn.execute(holding))
    return found


def audit_end(conn: Connection, world: World) -> list[str]:
    """True once all is healed and quiet."""
    found = [*audit_always(conn), *unsettled(conn), *world.violations]
    for task_id, still in world.running.items():
        found.extend(f"RunLeaked: {task_id} still runs at {run.site}" for run in still)
    found.extend(_truth(conn, world))
    found.extend(_requests(conn, world))
    found.extend(_usage(conn, world))
    found.extend(_prices(conn))
    found.extend(_kept_free(conn, world))
    return found


def _kept_free(conn: Connection, world: World) -> list[str]:
    """While a contract ran, what was given to others since it was signed left room for it."""
    found = []
    given = list(
        conn.execute(
            sa.select(
                leases.c.id,
                leases.c.job_id,
                leases.c.pool_id,
                leases.c.contract_id,
                leases.c.granted_at_ms,
                leases.c.ended_at_ms,
                (leases.c.cpu_milli * leases.c.members).label("cores"),
            )
        )
    )
    family = {
        row.id: row.backing_id or row.id
        for row in conn.execute(sa.select(contracts.c.id, contracts.c.backing_id))
    }
    ends = {row.id: row for row in conn.execute(sa.select(contracts))}
    for one in world.signed.values():
        until_ms = min(one.period.until_ms, ends[one.id].ended_at_ms or one.period.until_ms)
        site = next(name for name in world.places if world.site_ids[name] == one.site_id)
        cores = sum(node.cpu_milli for node in world.places[site].nodes.values())
        for lease in given:
            at_ms = max(one.period.from_ms, lease.granted_at_ms)
            if lease.pool_id != one.pool_id or not one.signed_at_ms < at_ms < until_ms:
                continue
            held = sum(
                other.cores
                for other in given
                if other.pool_id == one.pool_id
                and other.granted_at_ms > one.signed_at_ms
                and family.get(other.contract_id) != one.id
                and other.granted_at_ms <= at_ms < _declared_end(other, world)
            )
            if held > cores - one.lots * 1_000:
                found.append(f"ContractCapacityTaken: {one.id} at {at_ms}: others hold {held}")
    return found


def _declared_end(lease: Any, world: World) -> int:
    """When it had to be over by what its job declared, or was."""
    asked = world.accepted.get(lease.job_id)
    longest = asked.spec.max_runtime * 1_000 if asked is not None else 0
    ends: int = lease.granted_at_ms + longest
    return ends if lease.ended_at_ms is None else min(ends, lease.ended_at_ms)


def _truth(conn: Connection, world: World) -> list[str]:
    """A success on the books happened; and none was thrown away twice over."""
    succeeded: dict[str, int] = defaultdict(int)
    for run in world.runs:
        succeeded[run.task_id] += run.succeeded
    query = sa.select(tasks.c.id).where(tasks.c.state == "succeeded")
    return [
        f"SuccessInvented: {task_id}"
        for task_id in conn.execute(query).scalars()
        if not succeeded[task_id]
    ]


def _requests(conn: Connection, world: World) -> list[str]:
    """Each accepted job is on the books as it was asked for, and nothing else is."""
    found: list[str] = []
    of_job: dict[str, list[Any]] = defaultdict(list)
    for task in conn.execute(sa.select(tasks.c.job_id, tasks.c.state, tasks.c.failures)):
        of_job[task.job_id].append(task)
    for job_id, asked in world.accepted.items():
        mine = of_job[job_id]
        if len(mine) != (asked.spec.array or 1):
            found.append(f"TasksMissing: {job_id} has {len(mine)}")
        most = asked.spec.retries.max
        for task in mine:
            if task.failures > most + 1:
                found.append(f"RetriedTooOften: {job_id} failed {task.failures}, retries {most}")
            if task.state == "cancelled" and asked.cancelled_ms is None and not asked.needs:
                found.append(f"CancelledUnasked: {job_id}")
            if task.state == "failed" and task.failures <= most and asked.spec.partition.replace:
                found.append(f"GivenUpEarly: {job_id}")
    columns = (leases.c.id, leases.c.job_id, leases.c.granted_at_ms, leases.c.rate)
    for lease in conn.execute(sa.select(*columns)):
        whose = world.accepted.get(lease.job_id)
        if whose is None:
            continue
        cap = whose.spec.max_price
        if cap is not None and lease.rate > cap:
            found.append(f"TooDear: {lease.id} costs {lease.rate}, at most {cap}")
        if whose.cancelled_ms is not None and lease.granted_at_ms > whose.cancelled_ms + SKEWS_MS:
            found.append(f"GrantedAfterCancel: {lease.id}")
    return found


def _prices(conn: Connection) -> list[str]:
    """What was charged is the grant's rate times the seconds."""
    of_usage = sa.and_(charges.c.source == usage.c.source, charges.c.usage_id == usage.c.id)
    query = (
        sa.select(leases.c.id, leases.c.rate, usage.c.billable_seconds, charges.c.amount)
        .select_from(usage)
        .join(leases, leases.c.id == usage.c.lease_id)
        .outerjoin(charges, of_usage)
    )
    found = []
    for row in conn.execute(query):
        expected = scale(row.rate, row.billable_seconds, 3600)
        if row.amount is None or abs(row.amount - expected) > ROUNDING:
            found.append(f"PriceWrong: {row.id} charged {row.amount}, by its rate {expected}")
    return found


def _usage(conn: Connection, world: World) -> list[str]:
    """One record for each lease and hour, the last of a lease that was reported is its final one;
    never more time than it truly took."""
    found: list[str] = []
    finals: dict[tuple[str, int], int] = defaultdict(int)
    hours: dict[tuple[str, int, int], int] = defaultdict(int)
    last: dict[tuple[str, int], int] = defaultdict(int)
    seconds: dict[str, int] = defaultdict(int)
    no_contract = usage.c.lease_id.not_in(sa.select(contracts.c.id))
    for row in conn.execute(
        sa.select(
            usage.c.lease_id,
            usage.c.epoch,
            usage.c.hour,
            usage.c.final,
            usage.c.billable_seconds,
        ).where(no_contract)
    ):
        attempt = (row.lease_id, row.epoch)
        finals[attempt] += bool(row.final)
        hours[(*attempt, row.hour)] += 1
        last[attempt] = max(last[attempt], 2 * row.hour + bool(row.final))
        seconds[row.lease_id] += row.billable_seconds
    true_ms = {run.lease_id: (run.ended_ms or 0) - run.started_ms for run in world.runs}
    # a run that was lost and never heard of again has its hours, but no end
    lost = set(conn.execute(sa.select(leases.c.id).where(leases.c.outcome == "lost")).scalars())
    found.extend(
        f"UsageTwice: {lease} has {count} final records"
        for (lease, _), count in finals.items()
        if count != 1 and not (count == 0 and lease in lost)
    )
    found.extend(
        f"UsageTwice: {lease} has {count} records of hour {hour}"
        for (lease, _, hour), count in hours.items()
        if count != 1
    )
    found.extend(
        f"UsageAfterTheEnd: {lease} has records after its final one"
        for (lease, epoch), place in last.items()
        if finals[lease, epoch] and not place % 2
    )
    for lease_id, billed in sorted(seconds.items()):
        # a site's clock may drift by a hundredth, and a started second counts whole
        most = scale(true_ms.get(lease_id, 0), 102, 100_000) + 2
        if billed > most:
            found.append(
                f"Overcharged: {lease_id} billed {billed} s, ran {true_ms.get(lease_id, 0)} ms"
            )
    query = sa.select(leases.c.id).where(leases.c.outcome == "succeeded")
    for lease_id in conn.execute(query).scalars():
        if lease_id not in seconds:
            found.append(f"UsageMissing: {lease_id} succeeded without a usage record")
    return found
