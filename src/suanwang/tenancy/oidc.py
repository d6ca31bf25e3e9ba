"""Sign-in through an OpenID Connect provider: authorisation code, PKCE, state and nonce.

Two network steps, `OidcClient.start` and `.finish`, both outside any transaction; then the use
case `sign_in` finds or makes the user. What must survive between the steps, `Pending`, travels
sealed in a short-lived cookie. Accounts are matched by (issuer, subject) only: matching by login
or e-mail would let a provider's user take over somebody's account.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from suanwang.kernel.errors import (
    Forbidden,
    InvalidInput,
    Unauthenticated,
    Unavailable,
)
from suanwang.kernel.time import MS_PER_HOUR, MS_PER_SECOND
from suanwang.platform.database import Tx
from suanwang.platform.entropy import secret_text
from suanwang.tenancy import access, access_store, people, rules, service, store
from suanwang.tenancy.access import NewSession, SessionPolicy
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import (
    Action,
    Organisation,
    Principal,
    ProjectState,
    Role,
    User,
    system_principal,
)
from suanwang.tenancy.tokens import hex_digest

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")
PENDING_S = 600
_METADATA_MS = MS_PER_HOUR
_LEEWAY_S = 60
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """Where new users belong: the organisation that the claim names, else the fixed one."""

    issuer: str
    client_id: str
    client_secret: str
    organisation: str | None = None
    """Name of the organisation of those whose claims name none."""
    organisation_claim: str | None = None
    """Claim that holds the name of the user's organisation."""
    auto_provision: bool = True
    """Make users at their first sign-in; else an admin links them beforehand."""
    project: str | None = service.DEFAULT_PROJECT
    """New users become members of this project of their organisation, if there is one."""
    scopes: str = "openid profile email"

    def __post_init__(self) -> None:
        parts = urlsplit(self.issuer)
        if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise InvalidInput(
                "IssuerNotHttps",
                f"The issuer {self.issuer!r} is not reached by https.",
                hint="Only a provider on this very machine may do without.",
                field="issuer",
            )
        if self.organisation is None and self.organisation_claim is None:
            raise InvalidInput(
                "OrganisationMapping",
                "Say to which organisation the users of the provider belong.",
                hint="organisation = 'name', or organisation_claim = 'claim'.",
                field="organisation",
            )


@dataclass(frozen=True, slots=True)
class Pending:
    """A sign-in under way, kept by the browser, sealed."""

    state: str
    nonce: str
    verifier: str
    next_path: str
    started_at_ms: int

    def to_secrets(self) -> dict[str, str]:
        return {
            "state": self.state,
            "nonce": self.nonce,
            "verifier": self.verifier,
            "next_path": self.next_path,
            "started_at_ms": str(self.started_at_ms),
        }

    @classmethod
    def from_secrets(cls, secrets: Mapping[str, str]) -> Pending:
        return cls(
            secrets["state"],
            secrets["nonce"],
            secrets["verifier"],
            secrets["next_path"],
            int(secrets["started_at_ms"]),
        )


def safe_path(path: str | None) -> str:
    """Where to go after the sign-in: a path of ours, never another site's address."""
    if path is None or not re.fullmatch(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*", path):
        return "/"
    return path


class OidcClient:
    """Speaks with one provider; keeps its description and keys for an hour."""

    def __init__(self, settings: OidcSettings) -> None:
        self.settings = settings
        self._metadata: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._read_at_ms = -_METADATA_MS

    async def start(
        self, redirect_uri: str, next_path: str | None, now_ms: int
    ) -> tuple[str, Pending]:
        """The provider's address to send the browser to, and what to keep meanwhile."""
        metadata = await self._description(now_ms)
        pending = Pending(
            secret_text(40), secret_text(40), secret_text(64), safe_path(next_path), now_ms
        )
        async with _oauth_client(self.settings, redirect_uri) as client:
            url, _state = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=pending.state,
                nonce=pending.nonce,
                code_verifier=pending.verifier,
            )
        return url, pending

    async def finish(
        self, code: str, pending: Pending, redirect_uri: str, now_ms: int
    ) -> dict[str, Any]:
        """The user's claims, from the verified ID token and the provider's user information."""
        metadata = await self._description(now_ms)
        import httpx  # here: a platform without a provider starts a tenth of a second sooner
        from authlib.integrations.base_client.errors import (  # type: ignore[import-untyped]
            OAuthError,
        )

        try:
            async with _oauth_client(self.settings, redirect_uri) as client:
                answer = await client.fetch_token(
                    metadata["token_endpoint"], code=code, code_verifier=pending.verifier
                )
                claims = await self._verified(answer.get("id_token", ""), pending, now_ms)
                if "userinfo_endpoint" in metadata:
                    more = (await client.get(metadata["userinfo_endpoint"])).json()
                    if more.get("sub") == claims["sub"]:
                        claims = {**more, **claims}
        except (OAuthError, ValueError, KeyError) as error:
            raise _refused(f"The provider answered: {error}.") from error
        except httpx.HTTPError as error:
            raise _unreachable() from error
        return claims

    async def _verified(self, id_token: str, pending: Pending, now_ms: int) -> dict[str, Any]:
        """Signature, issuer, audience, nonce and times; new keys are fetched once."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        checks = jwt.JWTClaimsRegistry(
            now=now_ms // MS_PER_SECOND,
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": self._metadata["issuer"]},
            aud={"essential": True, "value": self.settings.client_id},
            nonce={"essential": True, "value": pending.nonce},
            sub={"essential": True},
            exp={"essential": True},
        )
        try:
            try:
                decoded = jwt.decode(id_token, await self._keyset(), list(ALGORITHMS))
            except (JoseError, ValueError):
                self._keys = None  # the provider may have changed its keys
                decoded = jwt.decode(id_token, await self._keyset(), list(ALGORITHMS))
            checks.validate(decoded.claims)
            _check_authorised_party(decoded.claims, self.settings.client_id)
        except (JoseError, ValueError) as error:
            raise _refused("Its ID token does not hold.") from error
        return dict(decoded.claims)

    async def _description(self, now_ms: int) -> dict[str, Any]:
        if now_ms - self._read_at_ms >= _METADATA_MS:
            issuer = self.settings.issuer.rstrip("/")
            metadata = await _get_json(f"{issuer}/.well-known/openid-configuration")
            if str(metadata.get("issuer", "")).rstrip("/") != issuer:
                raise _refused("It calls itself by another name than the configured issuer.")
            self._metadata, self._keys, self._read_at_ms = metadata, None, now_ms
        return self._metadata

    async def _keyset(self) -> KeySet:
        from joserfc.jwk import KeySet

        if self._keys is None:
            found = await _get_json(self._metadata["jwks_uri"])
            self._keys = KeySet.import_key_set(found)  # type: ignore[arg-type]
        return self._keys


def _oauth_client(settings: OidcSettings, redirect_uri: str) -> Any:
    # imported here: it takes a tenth of a second and announces its next major version, which
    # only a platform with a provider should have to bear
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from authlib.integrations.httpx_client import (  # type: ignore[import-untyped]
            AsyncOAuth2Client,
        )

    return AsyncOAuth2Client(
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        scope=settings.scopes,
        redirect_uri=redirect_uri,
        code_challenge_method="S256",
        timeout=_TIMEOUT_S,
    )


async def _get_json(url: str) -> dict[str, Any]:
    import httpx

    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S) as client:
            answer = await client.get(url)
            answer.raise_for_status()
            found = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise _unreachable() from error
    if not isinstance(found, dict):
        raise _unreachable()
    return found


def _check_authorised_party(claims: Mapping[str, Any], client_id: str) -> None:
    """OpenID Connect Core 3.1.3.7: a token for several audiences names the one it is for."""
    audience = claims.get("aud")
    several = isinstance(audience, list) and len(audience) > 1
    if (several or "azp" in claims) and claims.get("azp") != client_id:
        raise _refused("Its ID token is for another client.")


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated(
        "OidcRefused",
        f"The sign-in through the provider failed. {why}",
        hint="Begin the sign-in again.",
    )


def _unreachable() -> Unavailable:
    return Unavailable(
        "OidcUnavailable",
        "The sign-in provider does not answer as it should.",
        hint="Try again shortly, or sign in with a password.",
    )


# --- use cases -------------------------------------------------------------------------------


def sign_in(
    tx: Tx,
    settings: OidcSettings,
    claims: Mapping[str, Any],
    policy: SessionPolicy,
    *,
    replaces: str | None = None,
) -> NewSession:
    """Open a session for the user with this (issuer, subject), made now if need be."""
    subject = str(claims["sub"])
    user = access_store.user_of_identity(tx.conn, settings.issuer, subject)
    if user is None:
        user = _provision(tx, settings, claims, subject)
    return access.open_session(tx, user.id, policy, how="oidc", replaces=replaces)


def link_identity(
    tx: Tx, principal: Principal, id_or_login: str, *, issuer: str, subject: str
) -> User:
    """An admin says that the provider's user is this one of ours."""
    user = people.user_of(tx.conn, principal, id_or_login, Action.WRITE_USERS)
    if user.id != principal.user_id:
        rules.enforce(rules.may_change_user(principal, user.id, user.role), "user", id_or_login)
    issuer = rules.check_text(issuer, "issuer", 255)
    subject = rules.check_text(subject, "subject", 255)
    with store.unique("IdentityTaken", "This identity is linked already.", "Unlink it first."):
        access_store.insert_identity(tx.conn, issuer, subject, user.id, tx.now_ms)
    detail = {"issuer": issuer, "subject": subject}
    audit(tx, principal, "user.link", "user", user.id, detail, organisation_id=user.organisation_id)
    return user


def _provision(tx: Tx, settings: OidcSettings, claims: Mapping[str, Any], subject: str) -> User:
    if not settings.auto_provision:
        raise Forbidden(
            "NotProvisioned",
            "Nobody here is linked with your account at the provider.",
            hint=f"Ask an admin to link the subject {subject!r}.",
        )
    owner = _organisation(tx, settings, claims)
    system = system_principal(owner.id)
    user = people.create_user(
        tx,
        system,
        login=_free_login(tx, claims, settings.issuer, subject),
        display_name=_display_name(claims),
        email=_email(claims),
        role=Role.MEMBER,
        organisation_id=owner.id,
    )
    access_store.insert_identity(tx.conn, settings.issuer, subject, user.id, tx.now_ms)
    if settings.project is not None:
        project = store.project_by_name(tx.conn, owner.id, settings.project)
        if project is not None and project.state is ProjectState.ACTIVE:
            people.set_membership(tx, system, project.id, user.id, Role.MEMBER)
    return user


def _organisation(tx: Tx, settings: OidcSettings, claims: Mapping[str, Any]) -> Organisation:
    name = settings.organisation
    if settings.organisation_claim is not None:
        value = claims.get(settings.organisation_claim)
        name = value if isinstance(value, str) and value else name
    found = None if name is None else store.organisation_by(tx.conn, name)
    if found is None:
        raise Forbidden(
            "OrganisationUnknown",
            "The provider does not say an organisation of this platform for you.",
            hint="Ask the platform's operator to admit your organisation.",
        )
    return found


def _free_login(tx: Tx, claims: Mapping[str, Any], issuer: str, subject: str) -> str:
    """The provider's user name if it is free, else with a few letters of the identity's digest."""
    wished = str(claims.get("preferred_username") or claims.get("email") or subject).lower()
    wished = re.sub(r"[^a-z0-9._@+-]", "-", wished).lstrip("._@+-")[:50] or "user"
    suffix = hex_digest(f"{issuer} {subject}")[:8]
    if len(wished) < 2 or wished.startswith("usr_") or store.user_by(tx.conn, wished) is not None:
        return f"{wished.replace('_', '-')}-{suffix}"
    return wished


def _display_name(claims: Mapping[str, Any]) -> str | None:
    name = " ".join(str(claims.get("name") or "").split())[:120]
    return name if name.isprintable() and name else None


def _email(claims: Mapping[str, Any]) -> str | None:
    email = str(claims.get("email") or "")
    verified = claims.get("email_verified") in (True, "true")
    return email if verified and rules.EMAIL.fullmatch(email) else None
