"""An exchange as programs meet it: a served platform, a site with a real agent, a seller and two
buyers with money, and nothing but the SDK between them. Its clock is put forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

from rig import LiveGrid, LiveSite, until
from sdk_words import choices, names_known
from suanwang import Client
from suanwang.demo.platform import Account, Running, admit
from suanwang.demo.stage import Party
from suanwang.platform.settings import Seller

HOUR = timedelta(hours=1)
CORES = 8
PRODUCT = "core:henan"
SETTINGS: dict[str, Any] = {
    "rehearsal": True,
    "contract_look_every_s": 1,
    "contact_every_ms": 10_000,
    "close_after_hours": 0,
    "seller": Seller(name="Platform", code="91350100M000100Y43"),
}
"""A busy machine's agent is not taken for a silent one, and books are closed by hand. The credit
code is the worked example of GB 32100-2015."""
SELLER = Party("centre", "Computing centre", "sales", "zhao", "5000", kinds=("provider",))
FIRM = Party("firm", "Design firm", "wings", "wang", "5000")
LAB = Party("lab", "Laboratory", "genomes", "sun", "5000")


@dataclass
class Exchange:
    operator: Client
    seller: Client
    firm: Client
    lab: Client
    grid: LiveGrid
    pool: str
    """Id of the seller's pool: eight cores."""
    tokens: dict[str, str]
    """By organisation."""

    @property
    def now(self) -> datetime:
        told = self.operator.rehearsal.clock()["now"]
        assert told is not None
        return datetime.fromisoformat(told)

    @property
    def month(self) -> str:
        """In Shanghai, as statements count."""
        return f"{self.now + 8 * HOUR:%Y-%m}"

    def hour(self, ahead: int) -> datetime:
        """The beginning of an hour, so many after this one."""
        return self.now.replace(minute=0, second=0, microsecond=0) + ahead * HOUR

    def instrument(self, ahead: int) -> str:
        return f"{PRODUCT}:{self.hour(ahead):%Y%m%d%H}:1"

    def advance(self, to: datetime) -> None:
        self.operator.rehearsal.advance(to)
        site = self.grid.sites[0]
        until(lambda: site.view()["reachable"], "the site is heard at the new time")


def open_round(exchange: Exchange, at_least: timedelta) -> tuple[str, datetime]:
    """(day, first hour) of the round that closes first, but not within so long."""

    def found() -> Any:
        return [
            one
            for one in exchange.operator.auctions.rounds()
            if one["state"] == "open"
            and datetime.fromisoformat(one["closes_at"] or "") > exchange.now + at_least
        ]

    first = min(until(found, "a round is open"), key=lambda one: str(one["closes_at"]))
    return str(first["day"]), datetime.fromisoformat(first["starts_at"])


@contextmanager
def exchange_in(folder: Path) -> Iterator[Exchange]:
    with LiveGrid(folder, **SETTINGS) as grid:
        running = Running(grid.url, Account("admin", "", grid.token), {})
        running = admit(folder, running, (SELLER, FIRM, LAB))
        site = _site(grid)
        clients = [
            running.client(running.users[party.name], party.project)
            for party in (SELLER, FIRM, LAB)
        ]
        with Client(grid.url, grid.token) as operator:
            [pool] = site.view()["pools"]
            tokens = {name: account.token for name, account in running.users.items()}
            yield Exchange(operator, *clients, grid=grid, pool=pool["id"], tokens=tokens)
        for client in clients:
            client.close()


def _site(grid: LiveGrid) -> LiveSite:
    pool = {
        "name": "cpu",
        "cpus": CORES,
        "memory_gib": 4,
        "disk_gib": 10,
        "isolation": "none",
        "limits": "none",
        "prices": {"core_hour": 1.0},
    }
    site = LiveSite(grid, "zhengzhou", [pool], grid.url)
    grid.sites.append(site)
    about = {"name": site.name, "region": "henan", "organisation": SELLER.name}
    return site.start(grid.call("POST", "/v1/sites", about)["enrolment_token"]).ready()


def misfits(value: Any, hint: Any, at: str = "") -> list[str]:
    """Where a real answer is not of the shape that the SDK says it has."""
    if value is None or type(None) in choices(hint):
        if value is None:
            return [] if type(None) in choices(hint) or hint is Any else [f"{at} is null"]
        (hint,) = (one for one in choices(hint) if one is not type(None))
    if is_typeddict(hint):
        return _fields(value, hint, at)
    of: Sequence[Any] = get_args(hint)
    if get_origin(hint) is list:
        return [one for n, item in enumerate(value) for one in misfits(item, of[0], f"{at}[{n}]")]
    if get_origin(hint) is dict:
        return [one for key in value for one in misfits(value[key], of[1], f"{at}.{key}")]
    fits = hint is Any or isinstance(value, (int, float) if hint is float else hint)
    return [] if fits else [f"{at} is {value!r}, not {hint}"]


def _fields(value: dict[str, Any], shape: Any, at: str) -> list[str]:
    hints = get_type_hints(shape, names_known())
    wrong = [f"{at}.{name} is missing" for name in sorted(shape.__required_keys__ - set(value))]
    wrong += [f"{at}.{name} is not foreseen" for name in sorted(set(value) - set(hints))]
    for name in sorted(set(value) & set(hints)):
        wrong += misfits(value[name], hints[name], f"{at}.{name}")
    return wrong
