"""Use cases of sites: invite, enrol, sessions, inventory, drain, removal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from suanwang.grid.sites import store
from suanwang.grid.sites.model import (
    TAKEOVER_AFTER_MS,
    PoolRow,
    Site,
    SiteState,
)
from suanwang.kernel.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from suanwang.kernel.ids import base32
from suanwang.kernel.time import MS_PER_DAY, Random
from suanwang.platform.database import Tx
from suanwang.protocol.messages import (
    EnrolReply,
    EnrolRequest,
    PoolReport,
    PriceReport,
    ReconcileRequest,
)
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import HourlyPrices

INVITATION_LIFETIME_MS = 7 * MS_PER_DAY
MAX_FIGURE = 1 << 45
MILLI_PER_CARD = 1000
KINDS = ("supercomputing", "ai", "general")


@dataclass(frozen=True, slots=True)
class SiteDescription:
    """What the operator says of a site when inviting it."""

    name: str
    region: str
    display_name: str = ""
    city: str = ""
    kind: str = "general"
    operator: str = ""
    latitude: float = 0.0
    longitude: float = 0.0
    tariff: tuple[int, ...] = ()


def new_secret(prefix: str, random: Random) -> str:
    """A bearer secret with 160 bits of randomness."""
    return f"{prefix}_{base32(random.getrandbits(160), 32)}"


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def check_description(description: SiteDescription) -> None:
    if not description.name or not description.name.replace("-", "").isalnum():
        raise InvalidInput(
            "InvalidSiteName",
            f"{description.name!r} cannot name a site.",
            hint="Use letters, digits and hyphens, such as zhengzhou-1.",
            field="name",
        )
    if description.kind not in KINDS:
        raise InvalidInput(
            "InvalidSiteKind",
            f"{description.kind!r} is not a kind of site.",
            hint=f"Use one of {', '.join(KINDS)}.",
            field="kind",
        )
    in_range = abs(description.latitude) <= 90 and abs(description.longitude) <= 180
    if not in_range:
        raise InvalidInput(
            "InvalidLocation",
            "Latitude lies within ±90 and longitude within ±180 degrees.",
            field="latitude",
        )
    if description.tariff and len(description.tariff) != 24:
        raise InvalidInput("InvalidTariff", "A tariff has 24 hourly prices.", field="tariff")


def invite(
    tx: Tx, organisation_id: str, description: SiteDescription, random: Random
) -> tuple[Site, str]:
    """Create the site and a one-time enrolment token, shown once."""
    check_description(description)
    tx.serialise(f"site:{description.name}")
    if store.site_by_name(tx.conn, description.name) is not None:
        raise Conflict(
            "SiteNameTaken",
            f"There is a site named {description.name!r} already.",
            hint="Choose another name, or `suan site rm` the old one first.",
        )
    site_id = tx.ids.new("site")
    store.insert_site(
        tx.conn,
        {
            "id": site_id,
            "organisation_id": organisation_id,
            "name": description.name,
            "display_name": description.display_name or description.name,
            "region": description.region,
            "city": description.city,
            "kind": description.kind,
            "operator": description.operator,
            "latitude": description.latitude,
            "longitude": description.longitude,
            "state": SiteState.INVITED,
            "session": 0,
            "instance_id": "",
            "sequence": 0,
            "revision": 0,
            "last_contact_ms": 0,
            "agent_version": "",
            "created_at_ms": tx.now_ms,
            "tariff": list(description.tariff),
        },
    )
    token = _issue(tx, site_id, "invitation", random)
    return require_site(tx.conn, site_id), token


def _issue(tx: Tx, site_id: str, kind: str, random: Random) -> str:
    secret = new_secret("swi" if kind == "invitation" else "swa", random)
    store.insert_credential(
        tx.conn,
        {
            "digest": digest_of(secret),
            "site_id": site_id,
            "kind": kind,
            "created_at_ms": tx.now_ms,
            "expires_at_ms": tx.now_ms + INVITATION_LIFETIME_MS if kind == "invitation" else None,
            "ended_at_ms": None,
        },
    )
    return secret


def reinvite(tx: Tx, site_id: str, random: Random) -> str:
    """A fresh one-time token for a site whose token or credential was lost; old tokens end."""
    require_site(tx.conn, site_id)
    store.end_credentials(tx.conn, site_id, tx.now_ms, kind="invitation")
    return _issue(tx, site_id, "invitation", random)


def enrol(tx: Tx, request: EnrolRequest, random: Random) -> EnrolReply:
    """Trade the one-time token for the site's credential; earlier credentials end."""
    digest = digest_of(request.token)
    row = store.credential(tx.conn, digest, lock=True)
    if row is None or row.kind != "invitation":
        raise Unauthenticated(
            "TokenUnknown",
            "This enrolment token is not known.",
            hint="Ask the platform's operator for a new one: `suan site enrol NAME`.",
        )
    expired = row.expires_at_ms is not None and row.expires_at_ms < tx.now_ms
    if row.ended_at_ms is not None or expired:
        raise Unauthenticated(
            "TokenSpent",
            "This enrolment token was used already or has expired.",
            hint="Ask the platform's operator for a new one: `suan site enrol NAME --again`.",
        )
    site = require_site(tx.conn, row.site_id)
    store.end_credentials(tx.conn, site.site_id, tx.now_ms)
    credential = _issue(tx, site.site_id, "credential", random)
    if site.state is SiteState.INVITED:
        store.update_site(tx.conn, site.site_id, state=SiteState.ACTIVE.value)
    return EnrolReply(site_id=site.site_id, site_name=site.name, credential=credential)


def rotate_credential(tx: Tx, site_id: str, presented: str, random: Random) -> str:
    """A new credential for the agent that presented one; its first use ends the old one.

    Until then both are good: an answer that is lost on its way locks nobody out. One that was
    given before and never used ends now.
    """
    store.end_credentials(tx.conn, site_id, tx.now_ms, keep=digest_of(presented), kind="credential")
    return _issue(tx, site_id, "credential", random)


def revoke_credentials(tx: Tx, site_id: str) -> int:
    return store.end_credentials(tx.conn, site_id, tx.now_ms)


@dataclass(frozen=True, slots=True)
class Speaker:
    """The site that a credential speaks for."""

    site_id: str
    succeeds: bool
    """An earlier credential is still good: `settle_rotation` is due."""


def speaker_of_credential(conn: Connection, secret: str) -> Speaker:
    """Raises Unauthenticated for a credential that is unknown, revoked or superseded."""
    row = store.credential(conn, digest_of(secret))
    if row is None or row.kind != "credential" or row.ended_at_ms is not None:
        raise Unauthenticated(
            "CredentialInvalid",
            "The agent's credential is wrong or was revoked.",
            hint="Enrol again with a new one-time token.",
        )
    return Speaker(row.site_id, store.has_earlier_credential(conn, row))


def settle_rotation(tx: Tx, secret: str) -> None:
    """The new credential has come into use: those before it end."""
    row = store.credential(tx.conn, digest_of(secret), lock=True)
    if row is not None and row.ended_at_ms is None:
        store.end_credentials(tx.conn, row.site_id, tx.now_ms, keep=row.digest, kind="credential")


def site_if_there(conn: Connection, site_id: str) -> Site | None:
    site = store.site_by_id(conn, site_id)
    return site if site is not None and site.state is not SiteState.REMOVED else None


def require_site(conn: Connection, site_id: str) -> Site:
    site = site_if_there(conn, site_id)
    if site is None:
        raise NotFound("SiteNotFound", f"There is no site {site_id}.", hint="See `suan site ls`.")
    return site


def find_site(conn: Connection, name_or_id: str) -> Site:
    site = store.site_by_id(conn, name_or_id) or store.site_by_name(conn, name_or_id)
    if site is None or site.state is SiteState.REMOVED:
        raise NotFound(
            "SiteNotFound", f"There is no site {name_or_id!r}.", hint="See `suan site ls`."
        )
    return site


def find_pool(conn: Connection, text: str) -> tuple[Site, PoolRow]:
    """A pool written SITE/POOL."""
    site_name, slash, pool_name = text.partition("/")
    if not slash:
        raise InvalidInput(
            "PoolUnclear", f"{text!r} names no pool.", hint="Write it as SITE/POOL.", field="pool"
        )
    site = find_site(conn, site_name)
    pool = _pool_named(conn, site.site_id, pool_name)
    if not pool.present:
        raise NotFound("PoolNotFound", f"{site.name} has no pool {pool_name!r} any more.")
    return site, pool


def place_id(conn: Connection, text: str) -> str:
    """The id of a site, or of a pool written SITE/POOL."""
    return find_pool(conn, text)[1].pool_id if "/" in text else find_site(conn, text).site_id


def open_session(
    tx: Tx, site_id: str, request: ReconcileRequest, *, has_work: bool = False
) -> Site:
    """Begin or confirm the agent's session and take its inventory.

    A restarted agent (same instance) goes on at once with a new session number. Another instance
    is refused while the first is heard, and while work that may still run there (`has_work`) has
    not been given up: the newcomer knows nothing of it.
    """
    site = store.site_by_id(tx.conn, site_id, lock=True)
    if site is None or site.state is SiteState.REMOVED:
        raise Unauthenticated("SiteRemoved", "This site was removed.", hint="Enrol a new site.")
    silent_ms = tx.now_ms - site.last_contact_ms
    other = site.instance_id not in ("", request.instance_id)
    if other and (silent_ms < TAKEOVER_AFTER_MS or has_work):
        raise Conflict(
            "SiteClaimed",
            f"Another agent speaks for site {site.name}; it was heard {silent_ms} ms ago.",
            hint="Stop that agent, or wait until it has been silent for "
            f"{TAKEOVER_AFTER_MS // 1000} s and its work is given up; each site has one agent.",
        )
    if not other and site.instance_id and request.sequence <= site.sequence:
        raise Conflict(
            "ReconciliationOutdated",
            "A later reconciliation of this agent has been taken already.",
            hint="Reconcile again.",
        )
    store.update_site(
        tx.conn,
        site_id,
        session=site.session + 1,
        instance_id=request.instance_id,
        sequence=request.sequence,
        last_contact_ms=tx.now_ms,
        agent_version=request.agent_version[:40],
    )
    take_inventory(tx, site_id, request.pools)
    return require_site(tx.conn, site_id)


def contact(tx: Tx, site_id: str, session: int) -> None:
    """Note that the session's agent was heard."""
    if not store.touch(tx.conn, site_id, session, tx.now_ms):
        raise _superseded()


def leap(tx: Tx, by_ms: int) -> None:
    """The clock is put forward: that is no silence of the sites'."""
    store.shift_contacts(tx.conn, by_ms)


def take_inventory(tx: Tx, site_id: str, reports: list[PoolReport]) -> bool:
    """Bring the stored pools up to a full report; True if anything changed."""
    check_inventory(reports)
    known = {pool.name: pool for pool in store.pools_of(tx.conn, site_id)}
    changed = False
    for report in reports:
        pool = known.pop(report.name, None)
        values = _pool_values(report)
        if pool is None:
            pool_id = tx.ids.new("pool")
            values["price_list_id"] = _publish(tx, pool_id, report.prices or PriceReport())
            extra = {"id": pool_id, "site_id": site_id, "name": report.name, "cordoned": []}
            store.insert_pool(tx.conn, values | extra)
            changed = True
            continue
        if report.prices is not None:
            values["price_list_id"] = _publish(tx, pool.pool_id, report.prices)
        if any(getattr(pool, key) != value for key, value in values.items()):
            store.update_pool(tx.conn, pool.pool_id, **values)
            changed = True
    for pool in known.values():
        if pool.present:
            store.update_pool(tx.conn, pool.pool_id, present=False)
            changed = True
    return changed


def check_inventory(reports: list[PoolReport]) -> None:
    """Raises InvalidInput, so that the agent's own log names what is wrong with its report."""

    def refuse(what: str) -> InvalidInput:
        hint = "Mend the agent's configuration; nothing of this report was taken."
        return InvalidInput("InventoryInvalid", what, hint=hint, field="pools")

    names = [report.name for report in reports]
    if len(set(names)) != len(names):
        raise refuse("Two pools of the site have the same name.")
    for report in reports:
        if not 1 <= len(report.name) <= 60 or not report.name.isprintable():
            raise refuse(f"{report.name[:60]!r} cannot name a pool (1 to 60 characters).")
        nodes = [node.name for node in report.nodes]
        if len(set(nodes)) != len(nodes):
            raise refuse(f"Two nodes of pool {report.name} have the same name.")
        limits = [report.backlog_s, report.max_runtime_s or 0]
        for node in report.nodes:
            for amount in (node.capacity, node.foreign):
                limits += [amount.cpu_milli, amount.memory_mib]
                limits += [amount.disk_mib, amount.accelerator_milli]
            if node.cards and sum(node.cards) > node.capacity.accelerator_milli:
                raise refuse(f"The cards of node {node.name} are more than its capacity.")
            if not all(0 <= milli <= MILLI_PER_CARD for milli in node.cards):
                raise refuse(f"A card of node {node.name} has 0 to 1000 milli.")
        if not all(0 <= figure <= MAX_FIGURE for figure in limits):
            raise refuse(f"A figure of pool {report.name} is negative or beyond all machines.")


def _pool_values(report: PoolReport) -> dict[str, Any]:
    return {
        "driver": report.driver[:20],
        "architecture": report.architecture[:20],
        "kind": report.kind[:20],
        "interconnect": report.interconnect[:120],
        "isolation": report.isolation[:200],
        "engine_version": report.engine_version[:60],
        "accelerator": report.accelerator,
        "nodes": sorted(report.nodes, key=lambda node: node.name),
        "max_runtime_s": report.max_runtime_s,
        "backlog_s": report.backlog_s,
        "present": True,
    }


def _publish(tx: Tx, pool_id: str, prices: PriceReport) -> str:
    return billing.publish_prices(tx, pool_id, prices)


def set_prices(tx: Tx, site_id: str, pool_name: str, prices: HourlyPrices) -> PoolRow:
    """The provider's new list price: it holds for leases granted from now on."""
    pool = _pool_named(tx.conn, site_id, pool_name)
    price_list_id = billing.publish_prices(tx, pool.pool_id, prices)
    store.update_pool(tx.conn, pool.pool_id, price_list_id=price_list_id)
    return _pool_named(tx.conn, site_id, pool_name)


def set_draining(tx: Tx, site_id: str, draining: bool) -> Site:
    site = require_site(tx.conn, site_id)
    if site.state is SiteState.INVITED:
        raise Conflict("SiteNotEnrolled", "No agent has enrolled for this site yet.")
    state = SiteState.DRAINING if draining else SiteState.ACTIVE
    store.update_site(tx.conn, site_id, state=state.value)
    return require_site(tx.conn, site_id)


def cordon_node(tx: Tx, site_id: str, pool_name: str, node: str, cordoned: bool) -> PoolRow:
    """Keep new work off a node (or let it on again); what runs goes on."""
    pool = _pool_named(tx.conn, site_id, pool_name)
    if node not in {known.name for known in pool.nodes}:
        raise NotFound("NodeNotFound", f"Pool {pool_name} has no node {node!r}.")
    names = set(pool.cordoned) | {node} if cordoned else set(pool.cordoned) - {node}
    store.update_pool(tx.conn, pool.pool_id, cordoned=sorted(names))
    return _pool_named(tx.conn, site_id, pool_name)


def _pool_named(conn: Connection, site_id: str, name: str) -> PoolRow:
    for pool in store.pools_of(conn, site_id):
        if pool.name == name:
            return pool
    raise NotFound("PoolNotFound", f"The site has no pool {name!r}.", hint="See `suan site show`.")


def remove(tx: Tx, site_id: str, open_leases: Callable[[Connection, str], int]) -> None:
    """Remove a site that holds no work; its name is free again, its past stays on the books."""
    site = require_site(tx.conn, site_id)
    count = open_leases(tx.conn, site_id)
    if count:
        raise Conflict(
            "SiteBusy",
            f"{count} leases are still open at {site.name}.",
            hint="`suan site drain` it and wait, or cancel what runs there.",
        )
    store.end_credentials(tx.conn, site_id, tx.now_ms)
    for pool in store.pools_of(tx.conn, site_id):
        store.update_pool(tx.conn, pool.pool_id, present=False)
    freed = f"{site.name}~{site_id[-8:]}"
    store.update_site(tx.conn, site_id, state=SiteState.REMOVED.value, name=freed)


def sites(conn: Connection) -> list[Site]:
    return store.all_sites(conn)


def last_contacts(conn: Connection) -> dict[str, int]:
    """Site → when it was last heard, in ms."""
    return store.last_contacts(conn)


def pools(conn: Connection) -> list[PoolRow]:
    return store.present_pools(conn)


def pools_by_id(conn: Connection, pool_ids: Sequence[str]) -> list[PoolRow]:
    """Those of them that are there, by id."""
    found = store.pools_by_id(conn, pool_ids)
    return [pool for _, pool in sorted(found.items()) if pool.present]


def vendors_of(conn: Connection, pool_ids: Sequence[str]) -> dict[str, str]:
    """Pool → maker of its cards; of those that have cards."""
    found = store.pools_by_id(conn, pool_ids)
    return {id_: one.accelerator.vendor for id_, one in found.items() if one.accelerator}


def pools_of_site(conn: Connection, site_id: str) -> list[PoolRow]:
    return [pool for pool in store.pools_of(conn, site_id) if pool.present]


def next_revisions(tx: Tx, site_id: str, count: int) -> int:
    return store.next_revisions(tx.conn, site_id, count)


def names(conn: Connection) -> dict[str, str]:
    """Site and pool ids → their names, those of removed sites too."""
    return store.names(conn)


def names_of(conn: Connection, site_ids: Iterable[str], pool_ids: Iterable[str]) -> dict[str, str]:
    """As `names`, of these alone."""
    return store.names_of(conn, sorted(set(site_ids)), sorted(set(pool_ids)))


def check_session(conn: Connection, site_id: str, session: int) -> None:
    """Raises Conflict unless this session is the site's current one."""
    if store.session_of(conn, site_id) != session:
        raise _superseded()


def _superseded() -> Conflict:
    return Conflict(
        "SessionSuperseded",
        "A newer session of this site's agent has begun.",
        hint="Reconcile again.",
    )
