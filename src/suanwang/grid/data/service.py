"""Use cases of data, each a function of a connection or a transaction.

What moves bytes is in `depot`; here is who owns them, where copies lie and what links cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy.engine import Connection, Row

from suanwang.grid.data import rules, store
from suanwang.grid.data.model import STORE, BlobKind, Fact, Limits, Link, Usage
from suanwang.kernel.errors import Conflict, InvalidInput, NotFound, Unavailable
from suanwang.kernel.time import MS_PER_DAY
from suanwang.kernel.trees import Tree
from suanwang.platform.blobs import check_digest
from suanwang.platform.database import Tx

MAX_DIGESTS = 10_000


class Place(Protocol):
    """A site, as far as distance is concerned; (0, 0) means that its place is not known."""

    @property
    def site_id(self) -> str: ...
    @property
    def latitude(self) -> float: ...
    @property
    def longitude(self) -> float: ...


def facts(conn: Connection, organisation_id: str, digests: Sequence[str]) -> dict[str, Fact]:
    """What is known of those digests that the organisation owns; others are left out."""
    rows = store.owned(conn, organisation_id, digests)
    copies = store.copies(conn, rows)
    return {
        digest: Fact(
            kind=BlobKind(rows[digest].kind),
            size_bytes=rows[digest].size_bytes,
            total_bytes=rows[digest].total_bytes,
            at_sites=tuple(copies.get(digest, ())),
        )
        for digest in sorted(rows)
    }


def require_owned(conn: Connection, organisation_id: str, digest: str) -> Fact:
    """The fact, or NotFound: the same whether others own it or nobody does."""
    found = facts(conn, organisation_id, [digest]).get(digest)
    if found is None:
        raise NotFound(
            "BlobNotFound", f"Your organisation has no blob {digest}.", hint="Upload it first."
        )
    return found


def missing(conn: Connection, organisation_id: str, digests: Sequence[str]) -> list[str]:
    """Those that the organisation itself has not got, in the order given, each once."""
    owned = store.owned(conn, organisation_id, _checked(digests))
    return [digest for digest in dict.fromkeys(digests) if digest not in owned]


def keep(tx: Tx, organisation_id: str, digests: Sequence[str]) -> list[str]:
    """As `missing`, by somebody who is going to use those that are there: they stay."""
    store.touch_owned(
        tx.conn, organisation_id, _checked(digests), tx.now_ms, tx.now_ms - MS_PER_DAY
    )
    return missing(tx.conn, organisation_id, digests)


def _checked(digests: Sequence[str]) -> Sequence[str]:
    if len(digests) > MAX_DIGESTS:
        raise InvalidInput(
            "TooManyDigests",
            f"One call asks about at most {MAX_DIGESTS:,} digests.",
            hint="Ask in several calls.",
            field="digests",
        )
    for digest in digests:
        check_digest(digest)
    return digests


def usage(conn: Connection, organisation_id: str, limits: Limits) -> tuple[Usage, int]:
    """What the organisation keeps, and its quota in bytes."""
    kept, own_quota = store.usage(conn, organisation_id)
    return kept, rules.quota_of(limits, own_quota)


def set_quota(tx: Tx, organisation_id: str, quota_bytes: int | None) -> None:
    """The organisation's own quota; None = the platform's default again."""
    if quota_bytes is not None and quota_bytes < 0:
        raise InvalidInput("InvalidQuota", "A quota is not negative.", field="quota_bytes")
    store.set_quota(tx.conn, organisation_id, quota_bytes)


def reserve(tx: Tx, digests: Iterable[str]) -> None:
    """Before bytes are published: keeps the garbage collector off until they are claimed."""
    condemned = store.touch_blobs(tx.conn, digests, tx.now_ms)
    if condemned:
        raise Unavailable(
            "BlobBeingDeleted",
            f"{condemned[0]} had expired and is being removed just now.",
            hint="Send it again in a few seconds.",
        )


def claim(tx: Tx, organisation_id: str, sizes: Mapping[str, int], limits: Limits) -> None:
    """The organisation has sent these bytes: they are its own. Claiming twice changes nothing."""
    store.ensure_usage(tx.conn, organisation_id)
    before, own_quota = store.usage(tx.conn, organisation_id, lock=True)
    added = store.add_owner(tx.conn, organisation_id, sizes, tx.now_ms)
    if added:
        rules.check_quota(before, 0, added, rules.quota_of(limits, own_quota))


def register_tree(tx: Tx, organisation_id: str, digest: str, tree: Tree) -> Fact:
    """Make an owned manifest a tree; every file in it must be the organisation's own."""
    contents = tree.blobs()
    # before the look: the garbage collector keeps what was used, or was here first and it is gone.
    # To the day is enough and spares rewriting rows
    store.touch_owned(
        tx.conn, organisation_id, [*contents, digest], tx.now_ms, tx.now_ms - MS_PER_DAY
    )
    owned = store.owned(tx.conn, organisation_id, [*contents, digest])
    if digest not in owned:
        raise NotFound("BlobNotFound", f"{digest} was not uploaded.", hint="Upload it first.")
    lacking = [blob for blob in contents if blob not in owned]
    if lacking:
        raise Conflict(
            "TreeIncomplete",
            f"{len(lacking):,} of the tree's files were not uploaded, {lacking[0]} among them.",
            hint="Ask POST /v1/blobs/missing and upload what it names, then register again.",
        )
    wrong = [blob for blob in contents if owned[blob].size_bytes != contents[blob]]
    if wrong:
        raise InvalidInput(
            "TreeMalformed", f"The tree states another size for {wrong[0]}.", field="tree"
        )
    total = tree.total_bytes
    store.make_tree(tx.conn, organisation_id, digest, total)
    return facts(tx.conn, organisation_id, [digest])[digest]


def note_used(tx: Tx, organisation_id: str, digests: Iterable[str]) -> None:
    """Somebody names these (a job is submitted): their retention begins anew.

    Look at them afterwards: then they are there to stay, or gone.
    """
    store.touch_owned(tx.conn, organisation_id, digests, tx.now_ms, tx.now_ms - MS_PER_DAY)


def note_at_site(tx: Tx, site_id: str, digests: Iterable[str]) -> None:
    """The site keeps copies of these."""
    store.note_copies(tx.conn, site_id, digests, tx.now_ms)


def drop_at_site(tx: Tx, site_id: str, digests: Iterable[str] | None = None) -> None:
    """The site no longer keeps these; None = its cache is empty."""
    store.drop_copies(tx.conn, site_id, digests)


def links(
    conn: Connection, places: Sequence[Place], *, also_from: Sequence[str] = ()
) -> list[Link]:
    """What planning may reckon with: from every site that keeps copies, or has a stated link.

    Stated by the operator, else by distance; a destination measured to be slower than that is
    taken at its measured time. A pair with an unknown place is left out.
    """
    known = {place.site_id: place for place in places}
    rows = {(row.from_site, row.to_site): row for row in store.all_links(conn)}
    sources = {site for site in (*store.sites_with_copies(conn), *also_from) if site in known}
    stated = {pair for pair, row in rows.items() if row.ms_per_gib is not None and pair[0] != STORE}
    pairs = {(a, b) for a in sources for b in known} | stated
    found = []
    for pair in sorted(pairs):
        if pair[0] == pair[1] or pair[0] not in known or pair[1] not in known:
            continue
        link = _link(known[pair[0]], known[pair[1]], rows)
        if link is not None:
            found.append(link)
    return found


def _link(source: Place, to: Place, rows: Mapping[tuple[str, str], Row[Any]]) -> Link | None:
    row = rows.get((source.site_id, to.site_id))
    if row is not None and row.ms_per_gib is not None:
        return Link(source.site_id, to.site_id, row.micro_yuan_per_gib, row.ms_per_gib, "operator")
    if _unplaced(source) or _unplaced(to):
        return None
    km = rules.distance_km(source.latitude, source.longitude, to.latitude, to.longitude)
    link = rules.link_by_distance(source.site_id, to.site_id, km)
    arrival = rows.get((STORE, to.site_id))
    if arrival is None or arrival.measured_ms_per_gib is None:
        return link
    if arrival.measured_ms_per_gib <= link.ms_per_gib:
        return link
    return Link(
        link.from_site,
        link.to_site,
        link.micro_yuan_per_gib,
        arrival.measured_ms_per_gib,
        "measured",
    )


def _unplaced(place: Place) -> bool:
    return place.latitude == 0.0 and place.longitude == 0.0


def stated_links(conn: Connection) -> list[Link]:
    """What operators stated and agents measured; `STORE` stands for the platform's own store."""
    found = []
    for row in store.all_links(conn):
        if row.ms_per_gib is not None:
            found.append(
                Link(row.from_site, row.to_site, row.micro_yuan_per_gib, row.ms_per_gib, "operator")
            )
        if row.measured_ms_per_gib is not None:
            found.append(Link(row.from_site, row.to_site, 0, row.measured_ms_per_gib, "measured"))
    return found


def set_link(
    tx: Tx, from_site: str, to_site: str, micro_yuan_per_gib: int, ms_per_gib: int
) -> Link:
    """State a link's cost, one way."""
    rules.check_link(micro_yuan_per_gib, ms_per_gib)
    if from_site == to_site:
        raise InvalidInput("InvalidLink", "A link joins two sites.", field="to_site")
    store.set_link(
        tx.conn,
        from_site,
        to_site,
        micro_yuan_per_gib=micro_yuan_per_gib,
        ms_per_gib=ms_per_gib,
    )
    return Link(from_site, to_site, micro_yuan_per_gib, ms_per_gib, "operator")


def clear_link(tx: Tx, from_site: str, to_site: str) -> None:
    """Back to distance and measurement."""
    store.set_link(tx.conn, from_site, to_site, micro_yuan_per_gib=None, ms_per_gib=None)


def note_transfer(
    tx: Tx, to_site: str, size_bytes: int, ms: int, *, from_site: str = STORE
) -> None:
    """An agent moved so many bytes in so long; small transfers are not counted."""
    row = store.link(tx.conn, from_site, to_site, lock=True)
    earlier = row.measured_ms_per_gib if row is not None else None
    measured = rules.measured_ms_per_gib(earlier, size_bytes, ms)
    if measured is not None:
        store.set_link(
            tx.conn,
            from_site,
            to_site,
            measured_ms_per_gib=measured,
            measured_at_ms=tx.now_ms,
        )
