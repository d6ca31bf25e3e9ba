"""Errors as problem+json (RFC 9457): a stable `reason`, a sentence, a hint, the field if any."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from suanwang.kernel.errors import SuanwangError

log = logging.getLogger("suanwang.api")
MEDIA_TYPE = "application/problem+json"


def problem(
    status: int,
    reason: str,
    detail: str,
    *,
    hint: str = "",
    field: str | None = None,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    body: dict[str, Any] = {
        "type": f"urn:suanwang:problem:{reason}",
        "title": reason,
        "status": status,
        "detail": detail,
        "reason": reason,
    }
    if hint:
        body["hint"] = hint
    if field:
        body["field"] = field
    if errors:
        body["errors"] = errors
    return Response(
        msgspec.json.encode(body), status_code=status, media_type=MEDIA_TYPE, headers=headers
    )


def of_error(error: SuanwangError) -> Response:
    retry_after_s = getattr(error, "retry_after_s", None)
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s else None
    return problem(
        error.status,
        error.reason,
        error.message,
        hint=error.hint,
        field=error.field,
        headers=headers,
    )


def field_errors(found: list[Any]) -> list[dict[str, str]]:
    """Pydantic's findings as (field, message), in the user's words."""
    errors = []
    for item in found[:20]:
        where = ".".join(str(part) for part in item["loc"] if part != "body")
        message = str(item["msg"]).removeprefix("Value error, ")
        errors.append({"field": where, "message": message})
    return errors


def invalid(found: list[Any]) -> Response:
    errors = field_errors(found)
    first = errors[0] if errors else {"field": "", "message": "invalid"}
    where = f"{first['field']}: " if first["field"] else ""
    return problem(
        422,
        "InvalidInput",
        f"{where}{first['message']}",
        hint="Mend the field and send it again.",
        field=first["field"] or None,
        errors=errors,
    )


def install(app: FastAPI) -> None:
    """Every error of the application leaves in this form."""

    @app.exception_handler(SuanwangError)
    async def _known(_request: Request, error: SuanwangError) -> Response:
        if error.status >= 500:
            log.error("%s: %s", error.reason, error.message)
        return of_error(error)

    @app.exception_handler(RequestValidationError)
    async def _request(_request: Request, error: RequestValidationError) -> Response:
        return invalid(list(error.errors()))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return problem(404, "NoSuchRoute", f"There is nothing at {request.url.path}.")
        if error.status_code == 405:
            return problem(405, "MethodNotAllowed", f"{request.method} does not apply here.")
        return problem(error.status_code, "HttpError", str(error.detail))

    @app.exception_handler(Exception)
    async def _unknown(request: Request, error: Exception) -> Response:
        log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem(
            500,
            "InternalError",
            "The server failed; the change was not made.",
            hint="Try again, and report it with the X-Request-Id of this answer.",
        )
