"""Where the pages are: groups of places in the order of the side bar, and who sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """`name` is its text below `nav`, and what a template calls `place`; `key` follows a g."""

    url: str
    name: str
    icon: str
    key: str = ""
    for_admins: bool = False
    for_operators: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """`name` is its heading's text below `nav`; the first has none.

    What is seldom wanted is folded up in the side bar, unless one is there.
    """

    name: str
    places: tuple[Place, ...]
    is_folded: bool = False


GROUPS = (
    Group(
        "",
        (
            Place("/", "overview", "overview", "o"),
            Place("/jobs", "jobs", "jobs", "j"),
            Place("/jobs/new", "submit", "submit", "n"),
            Place("/sites", "sites", "sites", "s"),
            Place("/offers", "offers", "offers", "m"),
            Place("/catalogue", "catalogue", "catalogue", "c"),
        ),
    ),
    Group(
        "market",
        (
            Place("/market", "trading", "trading", "x"),
            Place("/market/listings", "listings", "listings", "l"),
            Place("/auctions", "auctions", "auctions", "u"),
            Place("/quotations", "quotations", "quotations", "r"),
            Place("/deals", "deals", "deals", "e"),
            Place("/contracts", "contracts", "contracts", "d"),
            Place("/market/alerts", "alerts", "alerts", "w", for_operators=True),
        ),
    ),
    Group(
        "finance",
        (
            Place("/statement", "statement", "statement", "b"),
            Place("/programmes", "programmes", "programmes", "p"),
            Place("/vouchers", "vouchers", "vouchers", "v"),
            Place("/finance/invoices", "invoices", "invoices", for_admins=True),
            Place("/finance/payouts", "payouts", "payouts", for_admins=True),
            Place("/finance/disputes", "disputes", "warn", for_admins=True),
            Place("/finance/closes", "closes", "closes", for_operators=True),
            Place("/admin/ledger", "ledger", "ledger", for_operators=True),
        ),
    ),
    Group(
        "admin",
        (
            Place("/admin/organisations", "organisations", "house", for_admins=True),
            Place("/admin/projects", "projects", "wallet", "a"),
            Place("/admin/users", "users", "admin", for_admins=True),
            Place("/admin/tokens", "tokens", "key", "t"),
            Place("/admin/audit", "audit", "audit", for_admins=True),
            Place("/admin/programmes", "desk", "ok", for_operators=True),
            Place("/admin/links", "links", "link", for_operators=True),
        ),
        is_folded=True,
    ),
)
TABS = 4
"""On a phone the first places are tabs; the others are behind the fifth."""


def shown(groups: Sequence[Group], *, is_admin: bool, is_operator: bool) -> list[Group]:
    """What somebody sees of them; no empty groups."""
    seen = [
        Group(
            group.name,
            tuple(
                place
                for place in group.places
                if (is_admin or not place.for_admins) and (is_operator or not place.for_operators)
            ),
            group.is_folded,
        )
        for group in groups
    ]
    return [group for group in seen if group.places]
