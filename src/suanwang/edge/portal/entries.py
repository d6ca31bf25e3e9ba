"""What an entry of the ledger is about, out of its key, as a name and an address. Pure.

Keys are made for machines: they see to it that nothing is booked twice. Each begins with a word
that says what it is of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from suanwang.edge.portal import catalogue, formats
from suanwang.kernel.time import MS_PER_HOUR

_CONTRACT = re.compile(r"\bcon_[0-9a-z]+")
_HOUR = re.compile(r"\.(\d{6})$")
_PAGES = {
    "payout": "/finance/payouts/",
    "payout.paid": "/finance/payouts/",
    "dispute": "/finance/disputes/",
}


@dataclass(frozen=True, slots=True)
class About:
    """`text` in the reader's language; `url` where that has a page."""

    text: str
    url: str = ""


def about(language: str, key: str, names: Mapping[str, str]) -> About:
    """'charge:site_1/con_2.0.498928' is contract con_2, and which hour of it."""
    word, colon, rest = key.partition(":")
    if not colon:
        return About(key)
    if contract := _CONTRACT.search(rest):
        return About(
            _said(language, "contract", contract.group(0) + _hour_of(rest)),
            f"/contracts/{contract.group(0)}",
        )
    if word == "charge":
        site, _, usage = rest.partition("/")
        lease = usage.partition(".")[0]
        what = f"{names.get(site, site)} · {lease}{_hour_of(rest)}"
        return About(_said(language, "usage", what))
    if word in _PAGES and rest.startswith(("pay_", "dsp_")):
        return About(_said(language, word.partition(".")[0], rest), _PAGES[word] + rest)
    if word in ("top_up", "adjust"):  # of which project is said above the list
        return About(_said(language, word, rest.partition(":")[2] or rest))
    if catalogue.has(f"entry_of.{word}"):
        return About(_said(language, word, rest))
    return About(rest)


def _said(language: str, word: str, what: str) -> str:
    return f"{catalogue.say(language, f'entry_of.{word}')} {what}"


def _hour_of(rest: str) -> str:
    found = _HOUR.search(rest)
    if found is None:
        return ""
    return " · " + formats.instant(int(found.group(1)) * MS_PER_HOUR, seconds=False)
