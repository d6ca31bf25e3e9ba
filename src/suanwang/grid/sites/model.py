"""A site: one place with machines, one operator, one agent; its pools, its session, its state."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from suanwang.protocol.messages import AcceleratorReport, NodeReport


class SiteState(StrEnum):
    """Moves down, but for DRAINING ⇄ ACTIVE, which is the operator's switch."""

    INVITED = "invited"
    """A one-time token is out; no agent has come yet."""
    ACTIVE = "active"
    DRAINING = "draining"
    """What runs may end; nothing new starts."""
    REMOVED = "removed"


class Site(msgspec.Struct, frozen=True):
    """`last_contact_ms` is when its agent was last heard, on our clock."""

    site_id: str
    organisation_id: str
    """The provider's."""
    name: str
    display_name: str
    region: str
    city: str
    kind: str
    operator: str
    latitude: float
    longitude: float
    state: SiteState
    session: int
    instance_id: str
    sequence: int
    """Of the instance's last reconciliation."""
    revision: int
    last_contact_ms: int
    agent_version: str
    created_at_ms: int
    tariff: list[int]
    """Electricity, micro-yuan per kWh for each hour of the local day (24), empty if unknown."""


class PoolRow(msgspec.Struct, frozen=True):
    """A pool as last reported. Its nodes' names are unique in it."""

    pool_id: str
    site_id: str
    name: str
    driver: str
    architecture: str
    kind: str
    interconnect: str
    isolation: str
    engine_version: str
    accelerator: AcceleratorReport | None
    nodes: list[NodeReport]
    cordoned: list[str]
    max_runtime_s: int | None
    backlog_s: int
    price_list_id: str
    present: bool
    """False once a report no longer lists it."""


CONTACT_EVERY_MS = 10_000
"""An agent is heard at least this often (long polls are answered by then)."""
UNREACHABLE_AFTER_MS = 3 * CONTACT_EVERY_MS
"""No new work goes to a site silent for so long."""
TAKEOVER_AFTER_MS = UNREACHABLE_AFTER_MS
"""A second agent instance may take the site over once the first was silent for so long."""


def is_reachable(site: Site, now_ms: int) -> bool:
    return now_ms - site.last_contact_ms <= UNREACHABLE_AFTER_MS
