"""A market with something in it: two buyers with money, books on both sides, trades, listings."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from portal_world import PASSWORD, Plane

A800, DCU = "a800-80g:gansu", "hygon-z100-32g:henan"
BUYERS = {
    "henu": "河南大学计算与人工智能研究院",
    "startup": "Startup of Long Names and Large Models",
}
BUYER = "zhang.wei"
"""A member of the first buyer's."""


def periods(plane: Plane, hours: int) -> list[str]:
    """Suffixes of the instruments that begin soonest."""
    found = plane.call("GET", "/v1/market/products")["periods"]
    return [str(one["suffix"]) for one in found if one["hours"] == hours]


def pool(plane: Plane, site: str, name: str) -> str:
    found = plane.call("GET", f"/v1/sites/{site}")["pools"]
    return str(next(one["id"] for one in found if one["name"] == name))


def settle_in(plane: Plane) -> None:
    """Organisations with a project and money; the first has a user who may trade."""
    for name, display in BUYERS.items():
        made = {"name": name, "display_name": display, "kinds": ["consumer"]}
        plane.call("POST", "/v1/organisations", made)
        plane.call("POST", "/v1/projects", {"name": "default", "organisation": name})
    user = {"login": BUYER, "display_name": "张伟", "role": "admin", "password": PASSWORD}
    plane.call("POST", "/v1/users", {**user, "organisation": "henu"})
    own = {one["name"]: one["id"] for one in plane.call("GET", "/v1/organisations")["items"]}
    for one in plane.call("GET", "/v1/projects")["items"]:
        if one["organisation_id"] in own.values():
            paid = {"amount": {"yuan": "200000"}, "payment_reference": f"first-{one['id']}"}
            plane.call("POST", f"/v1/projects/{one['id']}/top-up", paid)


def order(
    plane: Plane, instrument: str, side: str, lots: int, yuan: float, of: str = ""
) -> dict[str, Any]:
    """A seller's order names its source as `of`, a buyer's his organisation."""
    body: dict[str, Any] = {"instrument": instrument, "side": side, "lots": lots}
    body["price"] = {"yuan": f"{yuan:.3f}"}
    body |= {"source": of} if side == "sell" else {"project": f"{of or 'henu'}/default"}
    found: dict[str, Any] = plane.call("POST", "/v1/market/orders", body)
    return found


def trade(plane: Plane) -> dict[str, str]:
    """Fill the books; name → address of what to look at."""
    settle_in(plane)
    cards, dcus = pool(plane, "qingyang-1", "a800"), pool(plane, "zhengzhou-1", "dcu")
    day, hour = f"{A800}:{periods(plane, 24)[0]}", f"{A800}:{periods(plane, 1)[3]}"
    for at, (lots, yuan) in enumerate(
        ((6, 6.2), (4, 6.25), (8, 6.4), (10, 6.6), (3, 6.15), (12, 7.0))
    ):
        order(plane, day, "sell", lots, yuan, cards)
        order(plane, day, "buy", 2 + at * 2, 6.05 - at * 0.06, "startup")
    contract = ""
    for lots, yuan in ((2, 6.15), (1, 6.2), (4, 6.2), (2, 6.25), (1, 6.25)):
        filled = order(plane, day, "buy", lots, yuan, "henu")
        contract = filled["fills"][0]["contract_id"]
    order(plane, day, "buy", 3, 6.08, "henu")
    order(plane, hour, "sell", 8, 7.2, cards)
    order(plane, hour, "buy", 8, 7.2, "startup")
    order(plane, hour, "sell", 5, 7.35, cards)
    order(plane, f"{DCU}:{periods(plane, 168)[1]}", "sell", 8, 2.85, dcus)
    listing = _listings(plane, cards, dcus)
    return {
        "instrument": f"/market/{day}",
        "fresh": f"/market/{DCU}:{periods(plane, 24)[1]}",
        "listing": f"/market/listings/{listing}",
        "contract": f"/contracts/{contract}",
    }


def _listings(plane: Plane, cards: str, dcus: str) -> str:
    begins = plane.call("GET", "/v1/market/products")["periods"][0]["starts_at"]
    start = datetime.fromisoformat(begins.replace("Z", "+00:00")) + timedelta(hours=2)
    offers = (
        (cards, 32, 72, "6.300", "A800 八卡整机，RoCE 4×200G，绿电直供（含数据预取与技术支持）", 8),
        (dcus, 12, 336, "2.900", "DCU two weeks, take as much as you like", 1),
        (pool(plane, "hami-1", "general"), 200, 168, "0.045", "哈密风光基地通用核，夜间低谷", 16),
    )
    made = []
    for source, lots, hours, yuan, title, least in offers:
        body = {
            "source": source,
            "starts_at": start.isoformat(),
            "hours": hours,
            "lots": lots,
            "min_lots": least,
            "price": {"yuan": yuan},
            "title": title,
        }
        made.append(str(plane.call("POST", "/v1/market/listings", body)["id"]))
    for after, hours, lots in ((0, 24, 8), (12, 30, 8), (40, 8, 16)):
        bought = {
            "project": "henu/default",
            "starts_at": (start + timedelta(hours=after)).isoformat(),
            "hours": hours,
            "lots": lots,
        }
        plane.call("POST", f"/v1/market/listings/{made[0]}/buy", bought)
    return made[0]
