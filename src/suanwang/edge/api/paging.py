"""Pages of a list: `items` and an opaque `next_cursor`, null on the last page.

A route asks its service for `page.fetch` rows after `page.after` and hands them to `page.of`:
the row too many tells that there is a next page.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel

from suanwang.kernel.errors import InvalidInput

Row = TypeVar("Row")
Item = TypeVar("Item")

DEFAULT_LIMIT = 50
MAX_LIMIT = 500


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next_cursor: str | None = None


def encode_cursor(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    try:
        key = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise _unknown_cursor() from error
    if "\x00" in key:  # PostgreSQL would refuse it as text
        raise _unknown_cursor()
    return key


def _unknown_cursor() -> InvalidInput:
    return InvalidInput(
        "InvalidCursor",
        "This cursor is not one of ours.",
        hint="Use the next_cursor of the page before, unchanged.",
        field="cursor",
    )


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page is wanted; `after` is the sort key of the last row that the caller has."""

    after: str | None
    limit: int

    @property
    def fetch(self) -> int:
        return self.limit + 1

    def of(
        self, rows: Sequence[Row], key: Callable[[Row], str], render: Callable[[Row], Item]
    ) -> Page[Item]:
        more = len(rows) > self.limit
        kept = rows[: self.limit]
        return Page(
            items=[render(row) for row in kept],
            next_cursor=encode_cursor(key(kept[-1])) if more else None,
        )


async def page_request(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: Annotated[
        str | None, Query(max_length=400, description="`next_cursor` of the page before.")
    ] = None,
) -> PageRequest:
    return PageRequest(None if cursor is None else decode_cursor(cursor), limit)


Paging = Annotated[PageRequest, Depends(page_request)]
"""Parameter type of a route that lists."""
