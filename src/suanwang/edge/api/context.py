"""What the routes are given: the parts of the running control plane."""

from __future__ import annotations

from dataclasses import dataclass, field

from suanwang.edge.api.security import SecuritySettings
from suanwang.grid.jobs.desk import AgentDesk
from suanwang.grid.jobs.estimates import RuntimeEstimates
from suanwang.grid.jobs.reconciler import Dispatcher
from suanwang.kernel.time import Clock, Random
from suanwang.platform.blobs import BlobStore
from suanwang.platform.database import Database
from suanwang.platform.leader import Leader
from suanwang.platform.outbox import Outbox
from suanwang.platform.settings import Settings
from suanwang.platform.signals import Signals
from suanwang.platform.telemetry import Telemetry
from suanwang.tenancy.secrets_box import SecretsBox
from suanwang.trade.market.auction_clearing import Auctioneer
from suanwang.trade.market.books import Books
from suanwang.trade.market.quotations_rules import Figures, no_figures


@dataclass(slots=True)
class Context:
    """Made in bootstrap, kept in `app.state.context`."""

    settings: Settings
    security: SecuritySettings
    database: Database
    clock: Clock
    random: Random
    outbox: Outbox
    signals: Signals
    secrets: SecretsBox
    dispatcher: Dispatcher
    estimates: RuntimeEstimates
    desk: AgentDesk
    blobs: BlobStore
    auctioneer: Auctioneer
    books: Books = field(default_factory=Books)
    figures: Figures = no_figures
    """Class → normalised units in a lot, by which unlike classes' quotes compare."""
    telemetry: Telemetry = field(default_factory=Telemetry)
    leader: Leader | None = None
    """Of several processes over one PostgreSQL; without it this process leads alone."""
