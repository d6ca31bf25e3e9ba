"""FastAPI, with our own layers around all of it and a short way to the routes that need little.

Middleware that is added to this application lies outside everything of FastAPI's: outside its
last resort too, so that the answer to an unforeseen error has a request id and is counted. Inside
of ours a request that a direct route can answer goes to it at once. What is left goes on through
FastAPI's layers, which answer all that they would have answered without us.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from suanwang.edge.api.direct import DirectRoute
from suanwang.edge.api.directory import Directory


class Application(FastAPI):
    """Its router is a Directory."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.directory = Directory(
            routes=self.router.routes,
            lifespan=self.router.lifespan_context,
            dependency_overrides_provider=self,
        )
        self.router = self.directory

    def build_middleware_stack(self) -> ASGIApp:
        ours, self.user_middleware = self.user_middleware, []
        try:
            app: ASGIApp = _ShortWay(self, super().build_middleware_stack())
        finally:
            self.user_middleware = ours
        for layer, args, kwargs in reversed(ours):
            app = layer(app, *args, **kwargs)
        return app


class _ShortWay:
    def __init__(self, application: Application, app: ASGIApp) -> None:
        self._application = application
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = None
        if scope["type"] == "http" and not scope.get("root_path"):
            response = await self._response(scope, receive, send)
        await (self._app if response is None else response)(scope, receive, send)

    async def _response(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        application = self._application
        found = application.directory.find(scope)
        if found is None or application.dependency_overrides:
            return None
        route, path_params = found
        if not isinstance(route, DirectRoute):
            return None
        values = route.read(path_params, scope["query_string"])
        if values is None:
            return None
        scope["route"] = route
        scope["path_params"] = path_params
        request = Request(scope, receive, send)
        try:
            return await route.respond(request, values)
        except Exception as error:
            return await self._failed(scope, receive, send, request, error)

    async def _failed(
        self, scope: Scope, receive: Receive, send: Send, request: Request, error: Exception
    ) -> Response:
        """As FastAPI's layers do: the handler of the error's own kind, or of the nearest."""
        handlers = self._application.exception_handlers
        kind = next((one for one in type(error).__mro__ if one in handlers), None)
        if kind is None:
            raise error
        response: Response = await handlers[kind](request, error)  # type: ignore[misc]
        if kind is Exception:  # nobody foresaw it: answered, and told to the server
            await response(scope, receive, send)
            raise error
        return response
