"""What the tenancy's routes take and give."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from suanwang.kernel.resources import Resources
from suanwang.tenancy.access import TOKEN_DAYS, TOKEN_MAX_DAYS
from suanwang.tenancy.model import (
    Membership,
    NewToken,
    OrganisationKind,
    OrganisationState,
    Principal,
    ProjectState,
    Role,
    Scope,
    ScoreWeights,
    User,
    UserState,
)

Name = Annotated[str, Field(min_length=2, max_length=40, examples=["physics"])]
Text = Annotated[str, Field(min_length=1, max_length=120)]
Weight = Annotated[int, Field(ge=1, le=1_000_000, description="Fair share against its siblings.")]
Reference = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]+$")]
"""An id or a name."""


class Request(BaseModel):
    """Refuses fields that it does not know: a misspelt one would be lost silently."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)


class View(BaseModel):
    """Shows a value of the model, field by field of the same name."""

    model_config = ConfigDict(from_attributes=True)

    @classmethod
    def of(cls, one: object) -> Self:
        return cls.model_validate(one)


class LoginRequest(Request):
    login: Annotated[str, Field(max_length=254)]
    password: Annotated[str, Field(max_length=1_024)]


class SessionView(BaseModel):
    """Who I am and what I may use."""

    user_id: str
    login: str
    organisation_id: str
    role: Role
    projects: list[str]
    read_only_projects: list[str]
    scopes: list[Scope]
    suspended: bool
    token_id: str | None
    csrf_token: str | None = Field(
        description="For browsers: send it as X-CSRF-Token with everything that changes something."
    )

    @classmethod
    def of(cls, principal: Principal, csrf_token: str | None) -> SessionView:
        return cls(
            user_id=principal.user_id,
            login=principal.user_name,
            organisation_id=principal.organisation_id,
            role=principal.role,
            projects=list(principal.projects),
            read_only_projects=list(principal.read_only_projects),
            scopes=sorted(principal.scopes),
            suspended=principal.suspended,
            token_id=principal.token_id,
            csrf_token=csrf_token,
        )


class ScoreWeightsBody(Request):
    """How the scheduler weighs money, waiting and moving data for this organisation."""

    money_percent: Annotated[int, Field(ge=0, le=10_000)] = 100
    wait_micro_yuan_per_hour: Annotated[int, Field(ge=0, le=1_000_000_000_000)] = 1_000_000
    transfer_percent: Annotated[int, Field(ge=0, le=10_000)] = 100

    def to_model(self) -> ScoreWeights:
        return ScoreWeights(
            self.money_percent, self.wait_micro_yuan_per_hour, self.transfer_percent
        )


class OrganisationRequest(Request):
    name: Name
    display_name: Text
    kinds: Annotated[list[OrganisationKind], Field(min_length=1, max_length=3)] = Field(
        default=[OrganisationKind.CONSUMER]
    )
    weight: Weight = 100
    score_weights: ScoreWeightsBody | None = None


class OrganisationChangeRequest(Request):
    """What is left out stays. Weight and state take an operator."""

    display_name: Text | None = None
    score_weights: ScoreWeightsBody | None = None
    weight: Weight | None = None
    state: OrganisationState | None = None


class OrganisationView(View):
    id: str
    name: str
    display_name: str
    kinds: list[OrganisationKind]
    weight: int
    score_weights: ScoreWeightsBody
    state: OrganisationState
    created_at_ms: int


_Amount = Annotated[int, Field(ge=0, le=1_000_000_000_000)]


class QuotaBody(Request):
    """At most this much at once over the whole grid."""

    cpu_milli: _Amount
    memory_mib: _Amount
    disk_mib: _Amount
    accelerator_milli: _Amount

    def to_model(self) -> Resources:
        return Resources(self.cpu_milli, self.memory_mib, self.disk_mib, self.accelerator_milli)


GraceSeconds = Annotated[
    int,
    Field(ge=0, le=366 * 86_400, description="How long work goes on when the money has run out."),
]


class ProjectRequest(Request):
    name: Name
    display_name: Text | None = None
    organisation: Reference | None = Field(default=None, description="Yours if left out.")
    weight: Weight = 100
    quota: QuotaBody | None = None
    arrears_grace_s: GraceSeconds = 86_400


class ProjectChangeRequest(Request):
    """What is left out stays; `no_quota` takes the quota away."""

    display_name: Text | None = None
    weight: Weight | None = None
    quota: QuotaBody | None = None
    no_quota: bool = False
    arrears_grace_s: GraceSeconds | None = None
    state: ProjectState | None = None


class ProjectView(View):
    id: str
    organisation_id: str
    name: str
    display_name: str
    weight: int
    quota: QuotaBody | None
    arrears_grace_s: int
    state: ProjectState
    created_at_ms: int


class UserRequest(Request):
    login: Annotated[str, Field(min_length=2, max_length=63, examples=["li.hua"])]
    display_name: Text | None = None
    email: Annotated[str, Field(max_length=254)] | None = None
    role: Role = Role.MEMBER
    password: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Without one the user can only come through OpenID Connect."
    )
    organisation: Reference | None = Field(default=None, description="Yours if left out.")
    weight: Weight = 100


class UserChangeRequest(Request):
    """What is left out stays."""

    display_name: Text | None = None
    email: Annotated[str, Field(max_length=254)] | None = None
    role: Role | None = None
    weight: Weight | None = None
    state: UserState | None = None


class PasswordRequest(Request):
    password: Annotated[str, Field(max_length=256, examples=["four unrelated words"])]
    current_password: Annotated[str, Field(max_length=1_024)] | None = Field(
        default=None, description="Needed when it is your own."
    )


class IdentityRequest(Request):
    issuer: Annotated[str, Field(min_length=1, max_length=255)]
    subject: Annotated[str, Field(min_length=1, max_length=255)]


class UserView(View):
    id: str
    organisation_id: str
    login: str
    display_name: str
    email: str | None
    role: Role
    weight: int
    state: UserState
    has_password: bool
    created_at_ms: int


class MembershipRequest(Request):
    """Of a user in a project: `member` acts, `viewer` looks, null has left."""

    role: Role | None


class MemberView(BaseModel):
    project_id: str
    user_id: str
    login: str
    display_name: str
    role: Role

    @classmethod
    def of(cls, one: tuple[Membership, User]) -> MemberView:
        membership, user = one
        return cls(
            project_id=membership.project_id,
            user_id=user.id,
            login=user.login,
            display_name=user.display_name,
            role=membership.role,
        )


class TokenRequest(Request):
    name: Text
    scopes: Annotated[list[Scope], Field(min_length=1)] | None = Field(
        default=None, description="All of yours if left out."
    )
    project: Reference | None = Field(default=None, description="Binds the token to one project.")
    days: Annotated[int, Field(ge=1, le=TOKEN_MAX_DAYS)] = TOKEN_DAYS


class TokenView(View):
    id: str
    user_id: str
    name: str
    scopes: list[Scope]
    project_id: str | None
    created_at_ms: int
    expires_at_ms: int
    last_used_at_ms: int | None = Field(description="To the hour.")
    revoked_at_ms: int | None

    @field_validator("scopes", mode="before")
    @classmethod
    def _in_order(cls, scopes: Iterable[Scope]) -> list[Scope]:
        return sorted(scopes)


class NewTokenView(TokenView):
    """The only answer that holds the secret: it cannot be asked for again."""

    secret: str

    @classmethod
    def made(cls, made: NewToken) -> Self:
        return cls(secret=made.secret, **TokenView.of(made.token).model_dump())


class WaysView(BaseModel):
    """How one may sign in here."""

    password: bool = True
    browser: bool = True
    single_sign_on: str | None = Field(
        description="What users call the organisation's provider, if there is one."
    )


class DeviceRequest(Request):
    machine: Annotated[str, Field(min_length=1, max_length=60, examples=["laptop"])]
    scopes: Annotated[list[Scope], Field(min_length=1)] | None = Field(
        default=None, description="All that the user has if left out."
    )
    days: Annotated[int, Field(ge=1, le=TOKEN_MAX_DAYS)] = TOKEN_DAYS


class DeviceView(BaseModel):
    """The names are those of RFC 8628, section 3.2."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


class DevicePollRequest(Request):
    device_code: Annotated[str, Field(min_length=8, max_length=100)]


class DeviceState(StrEnum):
    PENDING = "authorization_pending"
    SLOW_DOWN = "slow_down"
    GRANTED = "granted"


class DevicePollView(BaseModel):
    """`token` is there once, when the user has confirmed."""

    state: DeviceState
    interval: int
    token: NewTokenView | None = None


class AuditView(View):
    id: str
    at_ms: int
    actor_user_id: str
    actor: str | None = Field(default=None, description="Login name; the platform has none.")
    organisation_id: str
    token_id: str | None
    action: str
    target_kind: str
    target_id: str
    detail: dict[str, object]
    request_id: str | None
    address: str | None
