"""Parts of a bid as people call them: 'Curve step 1', 'Block 2, 8 h from 22:00'.

The bid language and its errors say `curve[0].lots`; that is a place in a document, no name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from suanwang.edge.portal import catalogue
from suanwang.trade.market.auction_model import PartResult

_PLACE = re.compile(r"(\w+)(?:\[(\d+)\])?")
_STEP = re.compile(r"curve\[(\d+)\]")


def part_text(language: str, document: Mapping[str, Any], part: PartResult) -> str:
    """Of an outcome; the hours of a flexible block are those that it was given."""
    step = _STEP.fullmatch(part.part)
    if step:
        return _step(language, int(step[1]))
    blocks = _listed(document.get("blocks"))
    for number, block in enumerate(blocks):
        if block.get("name") == part.part:
            hours = sorted({hour for _, hour, _ in part.lots})
            served = {"hours": [hours[0], hours[-1] + 1], "any": None} if hours else {}
            return _block(language, number, {**block, **(served if block.get("any") else {})})
    return part.part


def place_text(language: str, path: str, document: Mapping[str, Any]) -> str:
    """Of an error: `blocks[1].profile[0].hours` is 'Block 2, … · piece 1 · hours'."""
    said = []
    for name, index in _PLACE.findall(path):
        if name == "curve" and index:
            said.append(_step(language, int(index)))
        elif name == "blocks" and index:
            blocks = _listed(document.get("blocks"))
            block = blocks[int(index)] if int(index) < len(blocks) else {}
            said.append(_block(language, int(index), block))
        elif index:
            number = int(index) + 1
            said.append(catalogue.say(language, f"bid_field.{name}_of", number=number))
        else:
            said.append(catalogue.say_or(language, f"bid_field.{name}", name))
    return " · ".join(said)


def summary(language: str, document: Mapping[str, Any]) -> str:
    """'2 curve steps · 1 block'."""
    counts = ((name, len(_listed(document.get(name)))) for name in ("curve", "blocks"))
    return " · ".join(
        catalogue.say(language, f"auction.count_{name}", count=count)
        for name, count in counts
        if count
    )


def _step(language: str, index: int) -> str:
    return catalogue.say(language, "auction.part_step", number=index + 1)


def _block(language: str, index: int, block: Mapping[str, Any]) -> str:
    number, name = index + 1, block.get("name")
    if isinstance(name, str) and name and name != f"block-{number}":
        text = catalogue.say(language, "auction.part_named", number=number, name=name)
    else:
        text = catalogue.say(language, "auction.part_block", number=number)
    pieces = len(_listed(block.get("profile")))
    if pieces:
        return catalogue.say(language, "auction.part_pieces", part=text, count=pieces)
    match block.get("hours"):
        case [int(first), int(until)] if first < until:
            pass
        case None if block:
            first, until = 0, 24
        case _:
            return text
    span = {"part": text, "start": f"{first:02d}:00", "until": f"{until:02d}:00"}
    consecutive = block.get("any")
    if isinstance(consecutive, int) and consecutive:
        return catalogue.say(language, "auction.part_any", hours=consecutive, **span)
    return catalogue.say(language, "auction.part_span", hours=until - first, **span)


def _listed(found: Any) -> list[Mapping[str, Any]]:
    """Whatever was typed, as a list of mappings."""
    items = found if isinstance(found, list) else []
    return [one if isinstance(one, dict) else {} for one in items]
