"""Which route a request is for, found by the beginning of its path.

Routes are tried in their order, as ever; but of a hundred only those are tried that have the
request's method and whose path begins as the request's does. Whatever none of these takes (a
wrong method, a missing slash, nothing at all) goes the router's own way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

DEPTH = 3
"""Segments of a path that are looked at, at most: `/agent/v1/poll`."""
Key = tuple[str, ...]


class Directory(APIRouter):
    """A router with an index; `install` puts it in the place of the application's own."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._index: dict[Key, list[BaseRoute]] = {}
        self._indexed = 0

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope.get("root_path"):
            if self._indexed != len(self.routes):
                self._index = index_of(self.routes)
                self._indexed = len(self.routes)
            for route in self._candidates(scope["method"], scope["path"]):
                match, found = route.matches(scope)
                if match is Match.FULL:
                    scope.setdefault("router", self)
                    scope.update(found)
                    await route.handle(scope, receive, send)
                    return
        await super().app(scope, receive, send)

    def _candidates(self, method: str, path: str) -> Sequence[BaseRoute]:
        key = (method, *path.split("/", DEPTH + 1)[1 : DEPTH + 1])
        index = self._index
        while key:
            routes = index.get(key)
            if routes is not None:
                return routes
            key = key[:-1]
        return ()


def install(app: FastAPI) -> None:
    """To be called before routes are added."""
    made = Directory(
        routes=app.router.routes,
        lifespan=app.router.lifespan_context,
        dependency_overrides_provider=app,
    )
    app.router = made


def index_of(routes: Sequence[BaseRoute]) -> dict[Key, list[BaseRoute]]:
    """By method and the path's first literal segments; a longer key has what a shorter one has."""
    placed = [(methods_of(route), literals(getattr(route, "path", "")), route) for route in routes]
    methods = {method for found, _, _ in placed for method in found or ()}
    keys = {
        (method, *start[:length])
        for found, start, _ in placed
        for method in (found or methods)
        for length in range(len(start) + 1)
    }
    return {
        key: [
            route
            for found, start, route in placed
            if (found is None or key[0] in found) and key[1 : len(start) + 1] == start
        ]
        for key in sorted(keys)
    }


def methods_of(route: BaseRoute) -> set[str] | None:
    """None: any of them may be answered there."""
    found: set[str] | None = getattr(route, "methods", None)
    return found or None


def literals(path: str) -> Key:
    """The first segments of a route's path, as far as they are no parameters."""
    found: list[str] = []
    for segment in path.split("/", DEPTH + 1)[1 : DEPTH + 1]:
        if "{" in segment:
            break
        found.append(segment)
    return tuple(found)
