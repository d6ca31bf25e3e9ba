"""What all nouns of the client have in common: `client.listings`, `client.deals` and the others.

A word is one call of the API. Amounts are integers in micro-yuan (a text is yuan), instants say
their time zone. Lists are iterators that fetch a page when it is wanted. What spends money takes
a key, and makes one if none is given, so that a call that met trouble on the line is repeated
without buying twice.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Any

from suanwang.edge.client.http import Api

Instant = datetime | str
"""A datetime with its zone, or RFC 3339 text."""
Day = date | str
"""A date, or YYYY-MM-DD."""


class Noun:
    def __init__(self, api: Api, project: str | None = None) -> None:
        self._api = api
        self._project = project
        """Who pays or sells where a word names no project."""


def given(**fields: Any) -> dict[str, Any]:
    """A body without what was left out: the server knows what holds then."""
    return {name: value for name, value in fields.items() if value is not None}


def key_of(key: str | None) -> str:
    return key or uuid.uuid4().hex
