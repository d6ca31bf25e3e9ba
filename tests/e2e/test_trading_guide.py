"""The guide to trading from a program says what works: its code is run against a real platform."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rig import until
from sdk_world import FIRM, Exchange, open_round
from suanwang.kernel.errors import Conflict

pytestmark = pytest.mark.xdist_group("sdk")
GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guides"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SAID = re.compile(r'#.*|"""[^"]*"""')
"""Comments and docstrings, which are in the reader's language."""


def code_of(name: str) -> str:
    blocks: list[str] = BLOCK.findall((GUIDES / name).read_text(encoding="utf-8"))
    assert len(blocks) > 10
    return "\n\n".join(blocks)


def test_both_languages_show_the_same_code() -> None:
    english, chinese = (SAID.sub("", code_of(f"trading{end}.md")) for end in ("", ".zh-CN"))
    assert english == chinese


def test_the_guides_code_trades_in_every_way(
    exchange: Exchange,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUAN_SERVER", exchange.grid.url)
    monkeypatch.setenv("SUAN_TOKEN", exchange.tokens[FIRM.name])
    monkeypatch.setenv("SUAN_PROJECT", FIRM.project)
    open_round(exchange, timedelta(minutes=1))
    told: dict[str, Any] = {"seller": exchange.seller, "operator": exchange.operator}
    exec(compile(code_of("trading.md"), "trading.md", "exec"), told)
    with told["client"]:
        awarded = until(told["award"], "the quotes are opened")
        (fill,) = told["answer"]["fills"]
        made = [told["bought"]["id"], fill["contract_id"], awarded, told["agreed"]["contract_id"]]
        origins = [told["client"].contracts.show(one)["origin"] for one in made]
        assert origins == ["listing", "book", "quotation", "bilateral"]
        assert told["outcome"]["version"] == 2
        told["client"].auctions.withdraw(told["day"], told["bid"]["id"])
        assert list(told["client"].market.orders(state="open")) == []
        with pytest.raises(Conflict):
            told["client"].contracts.cancel(made[0])
    exchange.seller.listings.close(told["listed"]["id"])
    assert (tmp_path / "focus.csv").read_bytes().startswith(b"BilledCost,")
    printed = capsys.readouterr().out
    assert f"{made[0]} 0.72" in printed
    assert "OutsideListing lots " in printed
    assert "stepping back cost " in printed
