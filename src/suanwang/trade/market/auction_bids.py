"""Documents into bids: strict, every error names its field. Pure.

side: buy
curve:
  - {product: a100-80g@henan, hours: [8, 20], lots: 4, price: 12.5,
     instead: [{product: h100-80g@henan, price: 18}]}
blocks:
  - {name: night, product: a100-80g@henan, hours: [0, 24], any: 8, lots: 2, price: 9}
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from suanwang.engines.matching.model import WHOLE, Side
from suanwang.kernel.errors import InvalidInput
from suanwang.kernel.money import format_yuan, parse_yuan
from suanwang.trade.catalogue.model import Product
from suanwang.trade.market.auction_model import HOURS, Bid, BidBlock, Instead, Part, Step
from suanwang.trade.market.model import MAX_LOTS, TICK
from suanwang.trade.market.rules import MAX_PRICE

T = TypeVar("T")
MAX_STEPS = 200
MAX_BLOCKS = 50
MAX_PARTS = 50
MAX_INSTEAD = 8
MAX_OPTIONS = 300
"""Over all blocks of a bid."""
MAX_LINES = 2_400
SOURCE = re.compile(r"[0-9A-Za-z_]{1,40}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,29}")
PRODUCT = re.compile(r"([a-z0-9][a-z0-9._-]{0,58})[@:]([^:@/\s]{1,60})")
_PATH = re.compile(r" - at `\$\.?(.*)`$")
_UNKNOWN = re.compile(r"unknown field `(.*?)`")


class _InsteadGiven(msgspec.Struct, forbid_unknown_fields=True):
    product: str
    price: str | int | float


class _StepGiven(msgspec.Struct, forbid_unknown_fields=True):
    lots: int
    price: str | int | float
    product: str = ""
    hours: list[int] | None = None
    instead: list[_InsteadGiven] = []


class _PartGiven(msgspec.Struct, forbid_unknown_fields=True):
    lots: int
    hours: list[int]
    product: str = ""


class _BlockGiven(msgspec.Struct, forbid_unknown_fields=True):
    price: str | int | float
    name: str = ""
    product: str = ""
    hours: list[int] | None = None
    lots: int | None = None
    profile: list[_PartGiven] = []
    any: int | None = None
    instead: list[_InsteadGiven] = []
    least: int = WHOLE
    parent: str = ""
    group: str = ""


class _BidGiven(msgspec.Struct, forbid_unknown_fields=True):
    side: Side
    source: str = ""
    curve: list[_StepGiven] = []
    blocks: list[_BlockGiven] = []


def parse(document: Any) -> Bid:
    """A bid out of JSON or YAML. Raises InvalidInput naming the field."""
    try:
        given = msgspec.convert(document, _BidGiven)
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        text = str(error)
        found, unknown = _PATH.search(text), _UNKNOWN.search(text)
        names = [one[1] for one in (found, unknown) if one is not None and one[1]]
        raise _invalid(_PATH.sub("", text)[:200] + ".", ".".join(names)[:200]) from None
    if given.side is Side.SELL and not given.source:
        raise _invalid("Who sells says what from: a pool or a contract.", "source")
    if given.side is Side.BUY and given.source:
        raise _invalid("A bid to buy has no source.", "source")
    if given.source and not SOURCE.fullmatch(given.source):
        raise _invalid("That is no id of a pool or contract.", "source")
    _at_most(len(given.curve), MAX_STEPS, "steps", "curve")
    _at_most(len(given.blocks), MAX_BLOCKS, "blocks", "blocks")
    if not given.curve and not given.blocks:
        raise _invalid("A bid has a curve or blocks.", "curve")
    sells = given.side is Side.SELL
    curve = tuple(_step(one, f"curve[{at}]", sells) for at, one in enumerate(given.curve))
    blocks = tuple(_block(one, at, sells) for at, one in enumerate(given.blocks))
    _check_blocks(blocks)
    lines = sum(one.hours[1] - one.hours[0] for one in curve)
    _at_most(lines, MAX_LINES, "steps and hours", "curve")
    _at_most(sum(map(ways, blocks)), MAX_OPTIONS, "ways to serve its blocks", "blocks")
    return Bid(given.side, given.source, curve, blocks)


def with_product(bid: Bid, product: Product) -> Bid:
    """A seller's bid that names everywhere what its source delivers. Raises InvalidInput."""
    text = str(product)

    def check(named: str, field: str) -> None:
        if named not in ("", text):
            raise InvalidInput(
                "OtherProduct",
                f"{bid.source} delivers {text}, not {named}.",
                hint="Sell what the source has, or leave the product out.",
                field=field,
            )

    for at, step in enumerate(bid.curve):
        check(step.product, f"curve[{at}].product")
    for at, block in enumerate(bid.blocks):
        for n, part in enumerate(block.profile):
            where = f"blocks[{at}].profile[{n}]" if len(block.profile) > 1 else f"blocks[{at}]"
            check(part.product, f"{where}.product")
    made = msgspec.structs.replace(
        bid,
        curve=tuple(msgspec.structs.replace(one, product=text) for one in bid.curve),
        blocks=tuple(
            msgspec.structs.replace(
                one,
                profile=tuple(msgspec.structs.replace(p, product=text) for p in one.profile),
            )
            for one in bid.blocks
        ),
    )
    for at, block in enumerate(made.blocks):
        _check_apart(block.profile, f"blocks[{at}]")
    return made


def document_of(bid: Bid) -> dict[str, Any]:
    """The inverse of `parse`, with prices as text in yuan."""
    made: dict[str, Any] = {"side": bid.side.value}
    if bid.source:
        made["source"] = bid.source
    if bid.curve:
        made["curve"] = [{**_told(one), **_choices(one.price, one.instead)} for one in bid.curve]
    if bid.blocks:
        made["blocks"] = [_told_block(one) for one in bid.blocks]
    return made


def _told(one: Step | Part) -> dict[str, Any]:
    return {"product": one.product, "hours": list(one.hours), "lots": one.lots}


def _choices(price: int, instead: tuple[Instead, ...]) -> dict[str, Any]:
    others = [{"product": one.product, "price": plain_yuan(one.price)} for one in instead]
    return {"price": plain_yuan(price), **({"instead": others} if others else {})}


def _told_block(block: BidBlock) -> dict[str, Any]:
    whole = len(block.profile) == 1
    served = _told(block.profile[0]) if whole else {"profile": list(map(_told, block.profile))}
    made = {"name": block.name, **served, **_choices(block.price, block.instead)}
    optional = {
        "any": block.any,
        "least": block.least if block.least != WHOLE else 0,
        "parent": block.parent,
        "group": block.group,
    }
    return made | {name: value for name, value in optional.items() if value}


def plain_yuan(micro: int) -> str:
    """'12.5'"""
    text = format_yuan(micro, decimals=3).replace(",", "")
    return text.rstrip("0").rstrip(".")


def ways(block: BidBlock) -> int:
    """In how many ways a block may be served."""
    first, until = block.profile[0].hours
    starts = until - first - block.any + 1 if block.any else 1
    return starts * (1 + len(block.instead))


def product_of(text: str) -> Product:
    found = PRODUCT.fullmatch(text)
    if found is None:
        raise _invalid(f"{text[:80]!r} is not a product: write class@zone.", "product")
    return Product(found[1], found[2])


def _step(given: _StepGiven, at: str, sells: bool) -> Step:
    return Step(
        product=_product(given.product, f"{at}.product", sells),
        hours=_hours(given.hours, f"{at}.hours"),
        lots=_lots(given.lots, f"{at}.lots"),
        price=_price(given.price, f"{at}.price"),
        instead=_instead(given.instead, given.product, f"{at}.instead", sells),
    )


def _block(given: _BlockGiven, number: int, sells: bool) -> BidBlock:
    at = f"blocks[{number}]"
    name = given.name or f"block-{number + 1}"
    for field in ("name", "parent", "group"):
        text = name if field == "name" else getattr(given, field)
        if text and not NAME.fullmatch(text):
            raise _invalid("A name has 1 to 30 of A-Z, a-z, 0-9, '-' and '_'.", f"{at}.{field}")
    block = BidBlock(
        name=name,
        profile=_profile(given, at, sells),
        price=_price(given.price, f"{at}.price"),
        any=given.any or 0,
        instead=_instead(given.instead, given.product, f"{at}.instead", sells),
        least=given.least,
        parent=given.parent,
        group=given.group,
    )
    if not 1 <= given.least <= WHOLE:
        raise _invalid("The least part is 1 to 1000 thousandths.", f"{at}.least")
    if given.any is not None:
        first, until = block.profile[0].hours
        if len(block.profile) > 1:
            raise _invalid("A flexible block has no profile.", f"{at}.any")
        if not 1 <= given.any <= until - first:
            raise _invalid("So many consecutive hours do not fit.", f"{at}.any")
    if given.instead and given.profile:
        raise _invalid("A profile names its products itself.", f"{at}.instead")
    return block


def _profile(given: _BlockGiven, at: str, sells: bool) -> tuple[Part, ...]:
    if not given.profile:
        if given.lots is None:
            raise _invalid("A block has lots, or a profile.", f"{at}.lots")
        product = _product(given.product, f"{at}.product", sells)
        lots = _lots(given.lots, f"{at}.lots")
        return (Part(product, _hours(given.hours, f"{at}.hours"), lots),)
    for field in ("product", "hours", "lots"):
        if getattr(given, field):
            raise _invalid(f"It stands in the profile: {field}.", f"{at}.{field}")
    _at_most(len(given.profile), MAX_PARTS, "parts", f"{at}.profile")
    parts = tuple(
        Part(
            _product(one.product, f"{at}.profile[{n}].product", sells),
            _hours(one.hours, f"{at}.profile[{n}].hours"),
            _lots(one.lots, f"{at}.profile[{n}].lots"),
        )
        for n, one in enumerate(given.profile)
    )
    _check_apart(parts, at)
    return parts


def _check_apart(parts: tuple[Part, ...], at: str) -> None:
    seen: set[tuple[str, int]] = set()
    for n, one in enumerate(parts):
        cells = {(one.product, hour) for hour in range(*one.hours)}
        if cells & seen:
            raise _invalid("These hours are in the profile already.", f"{at}.profile[{n}].hours")
        seen |= cells


def _check_blocks(blocks: tuple[BidBlock, ...]) -> None:
    by_name = {one.name: one for one in blocks}
    for at, one in enumerate(blocks):
        if one.name in {other.name for other in blocks[:at]}:
            raise _invalid("Another block has this name.", f"blocks[{at}].name")
        if one.parent and one.parent not in by_name:
            raise _invalid("No block of this bid has that name.", f"blocks[{at}].parent")
        above, seen = one.parent, {one.name}
        while above:
            if above in seen:
                raise _invalid("It would depend on itself.", f"blocks[{at}].parent")
            if one.group and by_name[above].group == one.group:
                raise _invalid("Its parent is in its own group.", f"blocks[{at}].group")
            seen.add(above)
            above = by_name[above].parent


def _instead(given: list[_InsteadGiven], first: str, at: str, sells: bool) -> tuple[Instead, ...]:
    if given and sells:
        raise _invalid("Who sells delivers what the source has.", at)
    _at_most(len(given), MAX_INSTEAD, "other products", at)
    made: list[Instead] = []
    for n, one in enumerate(given):
        product = _product(one.product, f"{at}[{n}].product", False)
        if product == first or product in {other.product for other in made}:
            raise _invalid("This product is named already.", f"{at}[{n}].product")
        made.append(Instead(product, _price(one.price, f"{at}[{n}].price")))
    return tuple(made)


def _product(text: str, field: str, sells: bool) -> str:
    """A seller need not name it: his source has one."""
    if not text and sells:
        return ""
    return _named(lambda: str(product_of(text)), field)


def _price(given: str | int | float, field: str) -> int:
    price = _named(lambda: parse_yuan(given, field=field), field)
    if not TICK <= price <= MAX_PRICE:
        raise _invalid("A price is between 0.001 and 10,000 yuan for a lot and hour.", field)
    if price % TICK:
        raise _invalid("A price has at most three decimals in yuan.", field)
    return price


def _lots(lots: int, field: str) -> int:
    if not 1 <= lots <= MAX_LOTS:
        raise _invalid(f"Lots are 1 to {MAX_LOTS:,}.", field)
    return lots


def _hours(given: list[int] | None, field: str) -> tuple[int, int]:
    if given is None:
        return (0, HOURS)
    if len(given) != 2 or not 0 <= given[0] < given[1] <= HOURS:
        raise _invalid("Hours are [from, until) within 0 and 24.", field)
    return (given[0], given[1])


def _at_most(count: int, most: int, what: str, field: str) -> None:
    if count > most:
        raise _invalid(f"A bid has at most {most:,} {what}; this one has {count:,}.", field)


def _named(make: Callable[[], T], field: str) -> T:
    try:
        return make()
    except InvalidInput as error:
        raise _invalid(error.message, field) from None


def _invalid(message: str, field: str) -> InvalidInput:
    return InvalidInput(
        "InvalidBid", message, hint="Correct the field; see the bid language.", field=field or None
    )
