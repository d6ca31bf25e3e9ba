"""The query box of a page: the text, and where it went wrong in the reader's language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suanwang.edge.portal.rendering import Page
from suanwang.trade.catalogue.query import Field, QueryError


@dataclass(frozen=True, slots=True)
class Mistake:
    """`before`, `wrong` and `after` are the query, cut where it is wrong."""

    reason: str
    before: str
    wrong: str
    after: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Box:
    text: str
    example: str
    names: tuple[str, ...]
    mistake: Mistake | None = None

    @property
    def status(self) -> int:
        return 422 if self.mistake else 200


def box(text: str, fields: Sequence[Field], example: str) -> Box:
    return Box(text, example, tuple(one.name for one in fields))


def wrong(page: Page, made: Box, error: QueryError) -> Box:
    end = error.at + error.length
    place = page.say("query.at", at=error.at + 1)
    said = page.say(f"query.{error.reason}", name=error.name)
    hint = page.say("query.near", near=error.near) if error.near else ""
    mistake = Mistake(
        error.reason,
        error.text[: error.at],
        error.text[error.at : end] or " ",
        error.text[end:],
        f"{place}: {said}" if page.language == "en" else f"{place}：{said}",
        hint or page.say("query.example", text=made.example),
    )
    return Box(made.text, made.example, made.names, mistake)
