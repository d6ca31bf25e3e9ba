"""Which route a request is for, found by the beginning of its path.

Routes are tried in their order, as ever; but of a hundred only those are tried that have the
request's method and whose path begins as the request's does. Whatever none of these takes (a
wrong method, a missing slash, nothing at all) goes the router's own way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from starlette.convertors import StringConvertor
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

DEPTH = 3
"""Segments of a path that are looked at, at most: `/agent/v1/poll`."""
Key = tuple[str, ...]
Found = tuple[BaseRoute, dict[str, Any]]


class Pattern:
    """A route's path by its segments; None in `names` where the segment is the path's own."""

    __slots__ = ("_literals", "_names", "route")

    def __init__(self, route: BaseRoute) -> None:
        self.route = route
        self._literals: list[str] = []
        self._names: list[str | None] | None = []
        plain = isinstance(route, Route) and all(
            type(one) is StringConvertor for one in route.param_convertors.values()
        )
        for segment in getattr(route, "path", "").split("/"):
            whole = segment[:1] == "{" and segment[-1:] == "}" and segment.count("{") == 1
            if not plain or (not whole and "{" in segment):
                self._names = None
                return
            self._names.append(segment[1:-1].partition(":")[0] if whole else None)
            self._literals.append(segment)

    def match(self, scope: Scope, segments: Sequence[str]) -> dict[str, Any] | None:
        """The path's parameters, or None. The method is known to be one of the route's."""
        names = self._names
        if names is None:
            match, found = self.route.matches(scope)
            return found.get("path_params", {}) if match is Match.FULL else None
        if len(names) != len(segments):
            return None
        params = {}
        for name, literal, segment in zip(names, self._literals, segments, strict=True):
            if name is None:
                if segment != literal:
                    return None
            elif segment:
                params[name] = segment
            else:
                return None
        return params


class Directory(APIRouter):
    """A router with an index."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._index: dict[Key, list[Pattern]] = {}
        self._indexed = 0

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope.get("root_path"):
            found = self.find(scope)
            if found is not None:
                route = found[0]
                match, known = route.matches(scope)
                if match is Match.FULL:
                    scope.setdefault("router", self)
                    scope.update(known)
                    await route.handle(scope, receive, send)
                    return
        await super().app(scope, receive, send)

    def find(self, scope: Scope) -> Found | None:
        """The first route that takes the request, with the path's parameters."""
        if self._indexed != len(self.routes):
            self._index = index_of(self.routes)
            self._indexed = len(self.routes)
        segments = scope["path"].split("/")
        for pattern in self._candidates(scope["method"], segments):
            params = pattern.match(scope, segments)
            if params is not None:
                return pattern.route, params
        return None

    def _candidates(self, method: str, segments: Sequence[str]) -> Sequence[Pattern]:
        key = (method, *segments[1 : DEPTH + 1])
        index = self._index
        while key:
            patterns = index.get(key)
            if patterns is not None:
                return patterns
            key = key[:-1]
        return ()


def index_of(routes: Sequence[BaseRoute]) -> dict[Key, list[Pattern]]:
    """By method and the path's first literal segments; a longer key has what a shorter one has."""
    placed = [
        (methods_of(route), literals(getattr(route, "path", "")), Pattern(route))
        for route in routes
    ]
    methods = {method for found, _, _ in placed for method in found or ()}
    keys = {
        (method, *start[:length])
        for found, start, _ in placed
        for method in (found or methods)
        for length in range(len(start) + 1)
    }
    return {
        key: [
            pattern
            for found, start, pattern in placed
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
