"""The words of policy: a programme as its document says it, and the facts that it is held against.

Amounts in a document are whole yuan and say so (`_yuan`); everywhere else micro-yuan. What the
published text does not tell is None: nothing is granted by a figure that nobody has stated.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum

import msgspec

from suanwang.kernel.money import MICRO_PER_YUAN


class Mode(StrEnum):
    VOUCHER = "voucher"
    """Issued before: an amount that lowers later charges."""
    INSTANT = "instant"
    """Taken off at the charge; nothing is issued but the right to it."""
    REFUND = "refund"
    """Paid out after the fact, on evidence."""


class Payee(StrEnum):
    BUYER = "buyer"
    PROVIDER = "provider"


class Base(StrEnum):
    """Of what a rate is a share."""

    CONTRACT = "contract"
    PAID = "paid"
    """What is left after other programmes."""
    METERED = "metered"


class Item(StrEnum):
    COMPUTE = "compute"
    TRAINING = "training"
    MODEL_USE = "model_use"
    TOKENS = "tokens"
    LISTED_PRODUCTS = "listed_products"
    CORPUS = "corpus"
    SUPPLY = "supply"
    PREMIUM = "premium"
    LOAN = "loan"
    SECONDMENT = "secondment"


METERED_ITEMS = frozenset({Item.COMPUTE, Item.TRAINING})
"""What the platform charges for, so that a programme for it works at the charge."""


class Card(StrEnum):
    DOMESTIC = "domestic"
    OTHER = "other"


DOMESTIC_VENDORS = frozenset(
    (
        "huawei",
        "hygon",
        "cambricon",
        "metax",
        "moore threads",
        "iluvatar",
        "t-head",
        "kunlunxin",
        "biren",
        "enflame",
        "vastai",
    )
)
"""Makers of accelerators in China, by the names under which sites report them."""


def card_of(vendor: str) -> Card:
    return Card.DOMESTIC if vendor.strip().lower() in DOMESTIC_VENDORS else Card.OTHER


class EntityKind(StrEnum):
    ENTERPRISE = "enterprise"
    INSTITUTE = "institute"
    UNIVERSITY = "university"


class Size(StrEnum):
    MICRO = "micro"
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


class Facility(StrEnum):
    SUPERCOMPUTING = "supercomputing"
    AI = "ai"
    DATA_CENTRE = "data_centre"


class Evidence(StrEnum):
    CONTRACT = "contract"
    ORDER = "order"
    INVOICE = "invoice"
    PAYMENT = "payment"
    USAGE_LOG = "usage_log"
    ELECTRICITY = "electricity"
    ASSESSMENT = "assessment"
    INSURANCE_POLICY = "insurance_policy"
    LOAN_AGREEMENT = "loan_agreement"
    SECONDMENT_AGREEMENT = "secondment_agreement"


class Per(StrEnum):
    """Within what two programmes of one group exclude each other."""

    CONTRACT = "contract"
    """A contract is helped once, by any of them."""
    ENTITY = "entity"
    """An entity is helped by one of them, however many contracts it has."""
    DIRECTION = "direction"
    """The same, and in one direction only."""


class BenefitKind(StrEnum):
    SHARE = "share"
    """So many percent of a base."""
    PER_UNIT = "per_unit"
    """A fixed amount for each unit, such as a month of secondment."""
    LINE = "line"
    """A sum that a bank lends; the programme stands behind it and pays none of it."""


class Ground(StrEnum):
    """Why what was paid is claimed back."""

    FALSE_EVIDENCE = "false_evidence"
    DOUBLE_CLAIM = "double_claim"
    AFFILIATED_TRADE = "affiliated_trade"
    SPLITTING = "splitting"
    MILESTONE_MISSED = "milestone_missed"


class Standing(StrEnum):
    """How near to the published text its figures were read."""

    PAGE = "page"
    SECOND_HAND = "second_hand"
    NOT_SEEN = "not_seen"


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is written by hand: a field that nobody knows is a mistake."""


class Words(Strict, frozen=True):
    zh: str
    en: str

    def of(self, language: str) -> str:
        return self.zh if language == "zh" else self.en


class Source(Strict, frozen=True):
    citation: str
    standing: Standing
    published: date | None = None


class Funder(Strict, frozen=True):
    """`share`: weight among the funders, by which every amount is split to the micro-yuan."""

    id: str
    name: Words
    share: int


class Pool(Strict, frozen=True):
    """Unknown until an operator opens a budget with a figure."""

    year_yuan: int | None = None
    total_yuan: int | None = None


class Caps(Strict, frozen=True):
    entity_year_yuan: int | None = None
    entity_year_between_yuan: tuple[int, int] | None = None
    """The reviewer states the cap of each case, within these."""
    entity_years: int | None = None
    """In at most so many years."""
    contract_yuan: int | None = None
    project_yuan: int | None = None


class Condition(Strict, frozen=True):
    """All that is named must hold; nothing named always holds."""

    card: Card | None = None
    qualification: str | None = None
    sectors: tuple[str, ...] = ()
    direction: str | None = None
    min_base_yuan: int | None = None


class Rate(Strict, frozen=True):
    """Exact, or bounds within which the reviewer states it. The first that applies counts."""

    percent: int | None
    at_least: int | None = None
    at_most: int | None = None
    when: Condition = Condition()
    entity_year_yuan: int | None = None
    """Instead of the benefit's cap."""


class Benefit(Strict, frozen=True):
    kind: BenefitKind
    items: tuple[Item, ...]
    base: Base | None = None
    rates: tuple[Rate, ...] = ()
    unit: Words | None = None
    unit_yuan: int | None = None
    line_yuan: int | None = None
    caps: Caps = Caps()
    evidence: tuple[Evidence, ...] = ()
    """Beside what the programme asks for."""


class Entity(Strict, frozen=True):
    """Who may be helped. Regions are paths (`henan/zhengzhou`); what is inside one is in it. Sizes
    are those of enterprises; others have none."""

    regions: tuple[str, ...] = ()
    kinds: tuple[EntityKind, ...] = ()
    sizes: tuple[Size, ...] = ()
    sectors: tuple[str, ...] = ()
    qualifications: tuple[str, ...] = ()
    """One of them at least."""
    max_age_years: int | None = None
    clean_credit: bool = False
    """No entry in a list of dishonest entities, however old."""
    clean_credit_years: int | None = None


class FacilityRule(Strict, frozen=True):
    kind: Facility
    min_pflops: int | None = None
    min_racks: int | None = None


class Provider(Strict, frozen=True):
    """Whose compute counts. `facilities` and `named`: one of them all, if there are any."""

    facilities: tuple[FacilityRule, ...] = ()
    named: tuple[str, ...] = ()
    on_platform: bool = False
    non_affiliated: bool = False
    not_self: bool = False
    metering_logs: bool = False


class Window(Strict, frozen=True):
    """Days in Asia/Shanghai, both ends included. `use`: when the contract or the work must lie."""

    apply_from: date | None = None
    apply_until: date | None = None
    use_from: date | None = None
    use_until: date | None = None
    retroactive: bool = False
    """For what was done before the application, too."""


class Exclusion(Strict, frozen=True):
    group: str
    per: Per


class Stacking(Strict, frozen=True):
    """Smaller `order` first. All together take at most `combined_percent` of a charge."""

    order: int = 0
    with_others: bool = True
    combined_percent: int = 100


class Expiry(Strict, frozen=True):
    """Of what is granted. `required`: it does expire, so the reviewer must say when."""

    days: int | None = None
    on: date | None = None
    required: bool = False


class Milestone(Strict, frozen=True):
    metric: str
    target: int
    minimum: int


class Clawback(Strict, frozen=True):
    grounds: tuple[Ground, ...]
    within_days: int | None = None


class Programme(Strict, frozen=True):
    """One version of a programme; published once and never changed."""

    id: str
    version: int
    title: Words
    jurisdiction: str
    issuer: Words
    source: Source
    funders: tuple[Funder, ...]
    pool: Pool
    benefits: tuple[Benefit, ...]
    entity: Entity
    provider: Provider
    mode: Mode
    payee: Payee
    window: Window = Window()
    evidence: tuple[Evidence, ...] = ()
    exclusive: tuple[Exclusion, ...] = ()
    stacking: Stacking = Stacking()
    expiry: Expiry = Expiry()
    prefers: tuple[str, ...] = ()
    """Those who hold a grant of one of these programmes are reviewed first."""
    milestones: tuple[Milestone, ...] = ()
    clawback: Clawback | None = None
    """None: the text that we know says nothing of it."""
    notes: Words | None = None

    @property
    def currency(self) -> str:
        """Of account, in which its vouchers are kept."""
        return f"voucher:{self.id}"

    def benefit_for(self, item: Item) -> Benefit | None:
        return next((one for one in self.benefits if item in one.items), None)


def micro(yuan: int) -> int:
    return yuan * MICRO_PER_YUAN


class FacilityFacts(msgspec.Struct, frozen=True):
    """What a provider says of its machines."""

    kind: Facility
    pflops: int = 0
    racks: int = 0
    metering_logs: bool = False


class Profile(msgspec.Struct, frozen=True):
    """What programmes ask of an organisation. It states it; the reviewer verifies it."""

    organisation_id: str
    name: str
    uscc: str
    """统一社会信用代码: 18 characters, the last one a check."""
    region: str
    kind: EntityKind
    size: Size | None = None
    sector: str = ""
    founded: date | None = None
    affiliates: tuple[str, ...] = ()
    """Organisation ids or credit codes of those that it controls, or that control it."""
    qualifications: tuple[str, ...] = ()
    dishonest_on: date | None = None
    """The latest entry in a list of dishonest entities."""
    facility: FacilityFacts | None = None


class Request(msgspec.Struct, frozen=True):
    """What somebody asks of a programme."""

    item: Item
    amount_micro_yuan: int = 0
    """The base: of the contract, or what was paid; for a line, the sum wanted."""
    units: int = 0
    provider_organisation_id: str | None = None
    contract: str = ""
    project_reference: str = ""
    signed_on: date | None = None
    card: Card = Card.OTHER
    direction: str = ""
    evidence: tuple[tuple[Evidence, str], ...] = ()
    """(kind, where it is: a file's digest, an invoice's number)."""


class Figures(msgspec.Struct, frozen=True):
    """What a reviewer states where the text leaves it open."""

    percent: int | None = None
    entity_year_micro_yuan: int | None = None
    unit_micro_yuan: int | None = None
    line_micro_yuan: int | None = None
    expires_on: date | None = None


class Held(msgspec.Struct, frozen=True):
    """What stands against an applicant already."""

    entity_groups: tuple[str, ...] = ()
    """Exclusive groups in which it holds a grant."""
    contract_groups: tuple[str, ...] = ()
    """Groups in which the contract of the request has been helped."""
    year_micro_yuan: int = 0
    """Granted by this programme in this year."""
    project_micro_yuan: int = 0
    years: int = 0
    """Other years in which this programme helped it."""
