"""Which routes are for everybody, or for more than their owner, and what scopes they take.

A new route that is for everybody is written down here; every other one is expected to refuse.
"""

from __future__ import annotations

from suanwang.tenancy.model import Scope

PUBLIC = {
    ("GET", "/v1/openapi.json"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/v1/version"),
    ("POST", "/v1/session"),
    ("GET", "/v1/session/ways"),
    ("POST", "/v1/session/device"),
    ("POST", "/v1/session/device/token"),
    ("GET", "/v1/session/oidc/start"),
    ("GET", "/v1/session/oidc/callback"),
    ("POST", "/agent/v1/enrol"),
    ("GET", "/v1/rehearsal"),
    *(
        ("GET", f"/v1/market/{path}")
        for path in (
            "products",
            "instruments",
            "books/{instrument}",
            "trades",
            "history",
            "index",
            "glance",
            "sellers",
            "listings",
            "listings/{listing}",
        )
    ),
    *(
        ("GET", f"/v1/auctions{path}")
        for path in ("", "/links", "/{round}", "/{round}/prices", "/{round}/curves")
    ),
}
"""Answer without any credential. Each says nothing of anybody, but a listing: who lists it."""

SELLER_NAMED = {
    ("GET", "/v1/market/listings"),
    ("GET", "/v1/market/listings/{listing}"),
    ("POST", "/v1/market/listings/{listing}/buy"),
}
"""Who lists is told to everybody: one buys from a named seller."""

MARKET = {
    ("GET", "/v1/sites"),
    ("GET", "/v1/sites/{name}"),
    ("GET", "/v1/offers"),
    ("GET", "/v1/catalogue/accelerators"),
    ("GET", "/v1/catalogue/accelerators/{unit_class}"),
    ("GET", "/v1/benches"),
    ("GET", "/v1/benches/{bench}"),
    ("GET", "/v1/links"),
    ("GET", "/v1/prices"),
    ("GET", "/v1/pools/{pool}/prices"),
}
"""The grid's supply is for all users to see."""

FOR_ALL_TO_READ = {
    ("GET", "/v1/programmes/{programme}"),
    ("POST", "/v1/programmes/{programme}/check"),
    ("POST", "/v1/programmes/{programme}/applications"),
    ("POST", "/v1/market/listings/{listing}/buy"),
    ("POST", "/v1/auctions/{round}/orders"),
    ("GET", "/v1/auctions/{round}/orders"),
}
"""A programme, a listing and a round are for all: everybody applies, buys and bids for himself."""

SEEN_BY_ALL = {"name", "listing", "round", "instrument"}
"""That one of these exists is no secret: to refuse it in other words than none tells nothing."""

OWN_NAMESPACE = {
    ("POST", "/v1/blobs/missing"),
    ("PUT", "/v1/blobs/{digest}"),
    ("GET", "/v1/blobs/{digest}/upload"),
    ("HEAD", "/v1/blobs/{digest}/upload"),
    ("PATCH", "/v1/blobs/{digest}/upload"),
    ("DELETE", "/v1/blobs/{digest}/upload"),
}
"""A digest names one's own copy, whoever else has it; no refusal, but no difference either."""

SCOPES = {
    "jobs": {Scope.JOBS_READ, Scope.JOBS_WRITE},
    "data": {Scope.JOBS_READ, Scope.JOBS_WRITE},
    "sites": {Scope.SITES_READ, Scope.SITES_WRITE},
    "catalogue": {Scope.SITES_READ, Scope.SITES_WRITE},
    "billing": {Scope.BILLING_READ, Scope.BILLING_WRITE},
    "tenancy": {Scope.TENANCY_READ, Scope.TENANCY_WRITE},
    "market": {Scope.MARKET_READ, Scope.MARKET_WRITE},
    "settlement": {Scope.BILLING_READ, Scope.BILLING_WRITE},
    "rehearsal": {Scope.TENANCY_READ, Scope.TENANCY_WRITE},
}
"""By the route's tag: without all of these a token gets nothing from it."""

TAGS_WITHOUT_SCOPE = {"session", "health"}
