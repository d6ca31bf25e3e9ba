"""Writes down which accelerators this run was told to use."""

from __future__ import annotations

import json
import os
from pathlib import Path

if __name__ == "__main__":
    given = os.environ.get("SUAN_ACCELERATORS", "")
    cards = [int(card) for card in given.split(",") if card]
    told = {n: v for n, v in sorted(os.environ.items()) if n.endswith("VISIBLE_DEVICES")}
    Path("result.json").write_text(json.dumps({"cards": cards, "told": told}))
    print(f"cards {given} (declared, not present)")
