"""Pages out of templates: who looks at them, in which language, and how figures are written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import quote, urlencode

import jinja2
from fastapi import Depends, Request
from sqlalchemy.engine import Connection
from starlette.responses import HTMLResponse, RedirectResponse, Response

import suanwang
from suanwang.edge.api.auth import current_session
from suanwang.edge.api.context import Context
from suanwang.edge.api.money import exact_yuan
from suanwang.edge.portal import catalogue, formats, navigation, reasons
from suanwang.kernel.errors import SuanwangError, Unauthenticated
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.access import Known
from suanwang.tenancy.model import Action, Organisation, Principal
from suanwang.tenancy.rules import may

HERE = Path(__file__).parent
STATIC = HERE / "static"
LANGUAGE_COOKIE = "suan_language"
SCRIPTS = {
    "htmx": "vendor/htmx-2.0.11.min.js",
    "echarts": "vendor/echarts.common-6.1.0.min.js",
    "portal": "portal.js",
    "job": "job.js",
    "charts": "charts.js",
    "auction": "auction.js",
    "submit": "submit.js",
    "what_if": "what_if.js",
    "market": "market.js",
}


@cache
def asset(path: str) -> str:
    """The address of a static file; it changes with the content, so caches may keep it."""
    digest = hashlib.sha256((STATIC / path).read_bytes()).hexdigest()[:12]
    return f"/static/{path}?v={digest}"


@cache
def environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        asset=asset,
        scripts=SCRIPTS,
        version=suanwang.__version__,
        percent=formats.percent,
        at_ms=formats.at_ms,
        place_of=formats.place,
    )
    made.filters.update(
        yuan=formats.yuan,
        exact=formats.exact,
        plain=exact_yuan,
        number=formats.number,
        milli=formats.milli,
        memory=formats.memory,
        size=formats.size,
        instant=formats.instant,
        detail=formats.detail,
        path=partial(quote, safe=""),
    )
    return made


def language_of(request: Request) -> str:
    """The browser's choice, else the platform's."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    if chosen in catalogue.LANGUAGES:
        return chosen
    default = context_of(request).settings.language
    return default if default in catalogue.LANGUAGES else catalogue.LANGUAGES[0]


def context_of(request: Request) -> Context:
    return cast(Context, request.app.state.context)


@dataclass
class Page:
    """One request for a page by somebody, or by nobody yet."""

    request: Request
    known: Known | None

    @property
    def context(self) -> Context:
        return context_of(self.request)

    @property
    def language(self) -> str:
        return language_of(self.request)

    @property
    def principal(self) -> Principal:
        if self.known is None:
            raise Unauthenticated("NotSignedIn", "This page is for those signed in.")
        return self.known.principal

    @property
    def is_fragment(self) -> bool:
        return self.request.headers.get("hx-request") == "true"

    @property
    def now_ms(self) -> int:
        return self.context.clock.now_ms()

    def may(self, action: Action, organisation_id: str, project_id: str | None = None) -> bool:
        return self.known is not None and bool(
            may(self.known.principal, action, organisation_id, project_id)
        )

    def say(self, key: str, **values: Any) -> str:
        return catalogue.say(self.language, key, **values)

    async def form(self) -> dict[str, str]:
        """The posted fields, of which each has one value; several are joined by commas."""
        found = await self.request.form()
        return {
            key: ",".join(str(value).strip("\r") for value in found.getlist(key)) for key in found
        }

    def values(self, **more: Any) -> dict[str, Any]:
        language, now_ms = self.language, self.now_ms
        principal = self.known.principal if self.known else None
        is_admin = principal is not None and self.may(Action.READ_AUDIT, principal.organisation_id)
        return {
            "t": self.say,
            "t_or": partial(catalogue.say_or, language),
            "language": language,
            "now_ms": now_ms,
            "principal": principal,
            "is_rehearsal": self.context.settings.rehearsal,
            "is_admin": is_admin,
            "groups": navigation.shown(
                navigation.GROUPS,
                is_admin=is_admin,
                is_operator=principal is not None and principal.is_operator,
            ),
            "tabs": navigation.TABS,
            "csrf_token": (self.known.csrf_token or "") if self.known else "",
            "address": self.request.url.path,
            "here": self._here(),
            "done": self._done(),
            "duration": partial(formats.duration, language=language),
            "ago": partial(formats.ago, now_ms=now_ms, language=language),
            "short_instant": partial(formats.short_instant, now_ms=now_ms),
            "sentence": partial(reasons.sentence, language),
            "query": self.query,
            "origin": self.context.settings.public_url or str(self.request.base_url).rstrip("/"),
            "problem": None,
            **more,
        }

    def _here(self) -> str:
        url = self.request.url
        return url.path + (f"?{url.query}" if url.query else "")

    def _done(self) -> str | None:
        key = f"done.{self.request.query_params.get('done', '')}"
        return self.say(key) if catalogue.has(key) else None

    def query(self, **changes: Any) -> str:
        """This page's query with some parameters changed; None takes one away."""
        kept = [
            (key, value)
            for key, value in self.request.query_params.multi_items()
            if key not in changes and key != "done"
        ]
        kept += [(key, str(value)) for key, value in changes.items() if value is not None]
        return "?" + urlencode(kept)

    def render(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        text = environment().get_template(template).render(self.values(**values))
        return HTMLResponse(text, status)

    def redirect(self, to: str) -> Response:
        """Also out of a fragment: the whole page goes there."""
        if self.is_fragment:
            return Response(status_code=204, headers={"HX-Redirect": to})
        return RedirectResponse(to, 303)

    def problem(self, error: SuanwangError) -> reasons.Problem:
        return reasons.problem(self.language, error)


async def any_page(
    request: Request, known: Annotated[Known | None, Depends(current_session)]
) -> Page:
    return Page(request, known)


async def signed_in(page: Annotated[Page, Depends(any_page)]) -> Page:
    """Raises Unauthenticated, which the portal's routes answer with the login page."""
    _ = page.principal
    return page


AnyPage = Annotated[Page, Depends(any_page)]
SignedIn = Annotated[Page, Depends(signed_in)]
"""Parameter type of the routes that show something of somebody."""


def owners_of(conn: Connection, principal: Principal) -> dict[str, Organisation]:
    """The organisations that he may see, by id: they tell projects of one name apart."""
    return {one.id: one for one in tenancy.organisations(conn, principal, limit=500)}


def own_path(text: str | None, otherwise: str = "/") -> str:
    """A path on this host; nothing that a browser would take for another one."""
    usable = text and text.startswith("/") and not text.startswith(("//", "/\\"))
    clean = usable and all(c not in (text or "") for c in "\r\n\t\\")
    return text if text and clean else otherwise
