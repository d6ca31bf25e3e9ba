"""Blobs for agents: the inputs that their leases name, and room for those leases' outputs.

A call names its lease; the lease's organisation is whose blobs are read and written. A site reads
exactly what an open lease there names: a blob, a tree's manifest, or a file of such a tree.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from sqlalchemy.engine import Connection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from suanwang.edge.api.blob_bodies import (
    blob_response,
    content,
    framed_response,
    length_of,
    small_body,
    upload_headers,
)
from suanwang.grid.data import service
from suanwang.grid.data.depot import Depot, Sender
from suanwang.kernel.errors import Forbidden, InvalidInput, SuanwangError
from suanwang.platform.blobs import OffsetMismatch, check_digest
from suanwang.platform.database import Tx
from suanwang.protocol.blobs import (
    LEASE_HEADER,
    CopiesReport,
    FetchRequest,
    MissingReply,
    MissingRequest,
    StoredReply,
)
from suanwang.protocol.messages import ProtocolError, decode, encode

T = TypeVar("T")
MEDIA_TYPE = "application/msgpack"
MAX_REPORTED = 20_000


class LeaseHooks(Protocol):
    """What data must know of leases; jobs answers, bootstrap joins them."""

    def owner_of_lease(self, conn: Connection, site_id: str, lease_id: str) -> str:
        """Organisation of an open lease of that site; raises Forbidden or NotFound."""
        ...

    def may_read(self, conn: Connection, site_id: str, digest: str) -> bool:
        """Whether an open lease of that site names this digest as an input."""
        ...


class AgentBlobRoutes:
    """`site_of` authenticates the agent: the site that its credential speaks for."""

    def __init__(
        self,
        depot: Depot,
        site_of: Callable[[Request], Awaitable[str]],
        hooks: LeaseHooks,
    ) -> None:
        self._depot = depot
        self._site_of = site_of
        self._hooks = hooks

    def routes(self) -> list[BaseRoute]:
        table: list[tuple[str, str, Handler]] = [
            ("POST", "blobs/missing", self.missing),
            ("POST", "blobs/batch", self.put_batch),
            ("POST", "blobs/fetch", self.fetch),
            ("POST", "blobs/copies", self.copies),
            ("GET", "blobs/{digest}", self.get),
            ("PUT", "blobs/{digest}", self.put),
            ("GET", "blobs/{digest}/upload", self.progress),
            ("PATCH", "blobs/{digest}/upload", self.append),
            ("POST", "trees/{digest}", self.register_tree),
        ]
        return [
            Route(f"/agent/v1/{path}", _guarded(handler), methods=[method])
            for method, path, handler in table
        ]

    async def _lease(self, request: Request) -> tuple[str, str]:
        """The site, and the organisation of the lease that the call names."""
        site_id = await self._site_of(request)
        lease_id = request.headers.get(LEASE_HEADER, "")
        organisation_id = await self._depot.database.read(
            lambda conn: self._hooks.owner_of_lease(conn, site_id, lease_id)
        )
        return site_id, organisation_id

    async def _sender(self, request: Request) -> Sender:
        site_id, organisation_id = await self._lease(request)
        return Sender(organisation_id, f"{organisation_id}/{site_id}")

    async def _reader(self, request: Request, digests: Sequence[str], tree: str | None) -> str:
        """The organisation in whose name these may be read; raises Forbidden."""
        site_id, organisation_id = await self._lease(request)
        for digest in [*digests, tree] if tree else digests:
            check_digest(digest)
        named = [tree] if tree else digests

        def all_named(conn: Connection) -> bool:
            return all(self._hooks.may_read(conn, site_id, digest) for digest in named)

        allowed = await self._depot.database.read(all_named)
        if allowed and tree is not None:
            allowed = await self._depot.in_tree(organisation_id, tree, digests)
        if not allowed:
            raise Forbidden(
                "BlobNotLeased",
                "No open lease of this site names that blob.",
                hint="Agents read only the inputs of their own leases.",
            )
        return organisation_id

    async def missing(self, request: Request) -> Response:
        sender = await self._sender(request)
        message = await _body(request, MissingRequest)
        return _reply(
            MissingReply(await self._depot.missing(sender.organisation_id, message.digests))
        )

    async def put_batch(self, request: Request) -> Response:
        sender = await self._sender(request)
        return _reply(StoredReply(await self._depot.put_batch(sender, content(request))))

    async def fetch(self, request: Request) -> Response:
        await self._site_of(request)  # strangers are refused before their message is read
        message = await _body(request, FetchRequest)
        organisation_id = await self._reader(request, message.digests, message.tree)
        return await framed_response(self._depot, organisation_id, message.digests)

    async def get(self, request: Request) -> Response:
        digest = request.path_params["digest"]
        tree = request.query_params.get("tree")
        organisation_id = await self._reader(request, [digest], tree)
        fact = await self._depot.fact(organisation_id, digest)
        return blob_response(self._depot, request, digest, fact.size_bytes)

    async def put(self, request: Request) -> Response:
        sender = await self._sender(request)
        digest = request.path_params["digest"]
        size = await self._depot.put(sender, digest, length_of(request), content(request))
        return _reply(StoredReply(size))

    async def progress(self, request: Request) -> Response:
        sender = await self._sender(request)
        found = await self._depot.progress(sender, request.path_params["digest"])
        return Response(status_code=204, headers=upload_headers(found))

    async def append(self, request: Request) -> Response:
        sender = await self._sender(request)
        offset, length = _number(request, "upload-offset"), _number(request, "upload-length")
        digest = request.path_params["digest"]
        try:
            found = await self._depot.append(sender, digest, offset, length, content(request))
        except OffsetMismatch as error:
            refusal = _refuse(error)
            refusal.headers["Upload-Offset"] = str(error.offset)
            return refusal
        return Response(status_code=204, headers=upload_headers(found))

    async def register_tree(self, request: Request) -> Response:
        sender = await self._sender(request)
        fact = await self._depot.register_tree(sender, request.path_params["digest"])
        return _reply(StoredReply(fact.total_bytes))

    async def copies(self, request: Request) -> Response:
        """What the site's cache holds now, and how fast it was filled."""
        site_id = await self._site_of(request)
        report = await _body(request, CopiesReport)
        if len(report.kept) + len(report.dropped) > MAX_REPORTED:
            raise InvalidInput("TooManyDigests", f"One report names at most {MAX_REPORTED:,}.")
        for digest in [*report.kept, *report.dropped]:
            check_digest(digest)

        def note(tx: Tx) -> None:
            service.drop_at_site(tx, site_id, None if report.forget_others else report.dropped)
            service.note_at_site(tx, site_id, report.kept)
            for size_bytes, ms in report.transfers[:100]:
                service.note_transfer(tx, site_id, size_bytes, ms)

        await self._depot.database.write(note)
        return _reply(StoredReply(len(report.kept)))


Handler = Callable[[Request], Awaitable[Response]]


def _guarded(handler: Handler) -> Handler:
    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except SuanwangError as error:
            return _refuse(error)

    return guarded


def _refuse(error: SuanwangError) -> Response:
    body = encode(ProtocolError(error.reason, error.message, error.hint))
    return Response(body, status_code=error.status, media_type=MEDIA_TYPE)


def _reply(message: msgspec.Struct) -> Response:
    return Response(encode(message), media_type=MEDIA_TYPE)


async def _body(request: Request, kind: type[T]) -> T:
    try:
        return decode(await small_body(request), kind)
    except msgspec.MsgspecError as error:
        raise InvalidInput("MessageUnreadable", str(error)) from error


def _number(request: Request, header: str) -> int:
    text: Any = request.headers.get(header, "")
    if not text.isdecimal() or len(text) > 18:
        raise InvalidInput("HeaderMissing", f"{header} must be a whole number.", field=header)
    return int(text)
