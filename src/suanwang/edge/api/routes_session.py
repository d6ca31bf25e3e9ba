"""Routes of signing in and out: by password, through OpenID Connect, of programs by a browser."""

from __future__ import annotations

from hmac import compare_digest
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from suanwang.edge.api.auth import (
    Caller,
    address_of,
    clear_session_cookie,
    gate_of,
    session_cookie,
    set_session_cookie,
)
from suanwang.edge.api.security import is_https
from suanwang.edge.api.tenancy_models import (
    DevicePollRequest,
    DevicePollView,
    DeviceRequest,
    DeviceState,
    DeviceView,
    LoginRequest,
    NewTokenView,
    SessionView,
    WaysView,
)
from suanwang.kernel.errors import NotFound, SuanwangError, Unauthenticated
from suanwang.platform.settings import Settings
from suanwang.tenancy import login_requests, oidc
from suanwang.tenancy.oidc import OidcClient, OidcSettings, Pending
from suanwang.tenancy.secrets_box import SecretsBox

router = APIRouter(prefix="/v1", tags=["session"])

OIDC_COOKIE = "suan_oidc"
_CONTEXT = "oidc"


@router.post("/session", summary="Sign in by password")
async def sign_in(request: Request, response: Response, body: LoginRequest) -> SessionView:
    """Sets the session cookie; any session the browser had before ends."""
    made = await gate_of(request).sign_in(request, body.login, body.password)
    set_session_cookie(request, response, made)
    return SessionView.of(made.principal, made.session.csrf_token)


@router.get("/session", summary="Who am I?")
async def who_am_i(request: Request) -> SessionView:
    known = await gate_of(request).known(request)
    return SessionView.of(known.principal, known.csrf_token)


@router.delete("/session", status_code=204, summary="Sign out")
async def sign_out(request: Request, response: Response, principal: Caller) -> None:
    await gate_of(request).sign_out(request, principal)
    clear_session_cookie(request, response)


@router.get("/session/ways", summary="How may one sign in here?")
async def ways(request: Request) -> WaysView:
    found = request.app.state.context.settings.oidc
    return WaysView(single_sign_on=found.label if found.issuer else None)


@router.post("/session/device", summary="Begin to sign a program in by a browser")
async def device_begin(request: Request, body: DeviceRequest) -> DeviceView:
    """RFC 8628: show the user code, send the user to the address, poll with the device code."""
    gate = gate_of(request)
    address = address_of(request)
    gate.count_login(address)
    begun = await gate.database.write(
        lambda tx: login_requests.begin(
            tx, machine=body.machine, scopes=body.scopes, days=body.days, address=address
        )
    )
    public_url: str = request.app.state.context.settings.public_url
    uri = f"{(public_url or str(request.base_url)).rstrip('/')}/device"
    return DeviceView(
        device_code=begun.device_code,
        user_code=begun.user_code,
        verification_uri=uri,
        verification_uri_complete=f"{uri}?code={begun.user_code}",
        expires_in=begun.expires_in_s,
        interval=begun.interval_s,
    )


@router.post("/session/device/token", summary="Has the user confirmed?")
async def device_poll(request: Request, body: DevicePollRequest) -> DevicePollView:
    """No oftener than once an interval, which grows for those who do."""
    gate = gate_of(request)
    gate.count_poll(address_of(request))
    found = await gate.database.write(lambda tx: login_requests.poll(tx, body.device_code))
    if found.made is not None:
        token = NewTokenView.made(found.made)
        return DevicePollView(state=DeviceState.GRANTED, interval=found.interval_s, token=token)
    state = DeviceState.SLOW_DOWN if found.slower else DeviceState.PENDING
    return DevicePollView(state=state, interval=found.interval_s)


@router.get("/session/oidc/start", summary="Sign in through the provider")
async def oidc_start(
    request: Request, next: Annotated[str | None, Query(max_length=500)] = None
) -> RedirectResponse:
    """Sends the browser to the provider; `next` is the page of ours to come back to."""
    gate = gate_of(request)
    gate.count_login(address_of(request))
    client = _client(request)
    url, pending = await client.start(_redirect_uri(request), next, gate.clock.now_ms())
    response = RedirectResponse(url, 303)
    response.set_cookie(
        OIDC_COOKIE,
        _box(request).seal(pending.to_secrets(), _CONTEXT).hex(),
        max_age=oidc.PENDING_S,
        path="/",
        secure=is_https(request.scope, gate.settings),
        httponly=True,
        samesite="lax",
    )
    return response


@router.get("/session/oidc/callback", summary="Back from the provider")
async def oidc_callback(
    request: Request,
    state: Annotated[str, Query(max_length=500)] = "",
    code: Annotated[str, Query(max_length=4_000)] = "",
    error: Annotated[str, Query(max_length=500)] = "",
) -> RedirectResponse:
    """Only the browser that began the sign-in can end it: it holds the sealed state."""
    gate = gate_of(request)
    client = _client(request)
    now_ms = gate.clock.now_ms()
    pending = _pending(request, now_ms)
    if not compare_digest(pending.state.encode(), state.encode()):
        raise _broken("Its state is another one.")
    if error or not code:
        raise _broken("The provider refused.")
    claims = await client.finish(code, pending, _redirect_uri(request), now_ms)
    replaces = session_cookie(request, gate.settings)
    made = await gate.database.write(
        lambda tx: oidc.sign_in(
            tx, client.settings, claims, gate.settings.session, replaces=replaces
        )
    )
    response = RedirectResponse(pending.next_path, 303)
    set_session_cookie(request, response, made)
    response.delete_cookie(OIDC_COOKIE, path="/")
    return response


def oidc_settings(settings: Settings) -> OidcSettings | None:
    """None while no issuer is set."""
    found = settings.oidc
    if not found.issuer:
        return None
    return OidcSettings(
        issuer=found.issuer,
        client_id=found.client_id,
        client_secret=found.client_secret,
        organisation=found.organisation or None,
        organisation_claim=found.organisation_claim or None,
        auto_provision=found.provision,
    )


def _client(request: Request) -> OidcClient:
    state = request.app.state
    client: OidcClient | None = getattr(state, "oidc_client", None)
    if client is None:
        settings = oidc_settings(state.context.settings)
        if settings is None:
            raise NotFound(
                "OidcNotConfigured",
                "This platform has no OpenID Connect provider.",
                hint="Sign in with a password.",
            )
        client = state.oidc_client = OidcClient(settings)
    return client


def _box(request: Request) -> SecretsBox:
    box: SecretsBox = request.app.state.context.secrets
    return box


def _redirect_uri(request: Request) -> str:
    public_url: str = request.app.state.context.settings.public_url
    url = request.url_for("oidc_callback")
    if public_url:
        return public_url.rstrip("/") + url.path
    if is_https(request.scope, gate_of(request).settings):
        url = url.replace(scheme="https")
    return str(url)


def _pending(request: Request, now_ms: int) -> Pending:
    try:
        sealed = bytes.fromhex(request.cookies.get(OIDC_COOKIE, ""))
        pending = Pending.from_secrets(_box(request).open(sealed, _CONTEXT))
    except (SuanwangError, ValueError, KeyError) as error:
        raise _broken("This browser has none under way.") from error
    if now_ms - pending.started_at_ms > oidc.PENDING_S * 1_000:
        raise _broken("It took too long.")
    return pending


def _broken(why: str) -> Unauthenticated:
    return Unauthenticated(
        "OidcRefused", f"The sign-in cannot be ended. {why}", hint="Begin the sign-in again."
    )
