"""A real two-sided zonal market: does the auction give the published prices, and how fast?

    python bench/market.py [--data ../shared/data]

Twenty days of April 2025 of the Italian day-ahead market: seven zones, 480 hours, bid curves (with
the published blocks in them as price takers), capacities between zones, and neighbours that take
the published price of theirs within the capacity of the border. Claims: every one of the 3,360
prices to the cent, at most half the 58 ms that an hourly clearing takes the public replica
(rebase-energy/OpenEUPHEMIA, measured on a machine of this kind). The limit in the same run is
reading the rows and sorting them by price.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from suanwang.engines.matching.call_auction import clear
from suanwang.engines.matching.model import Book, Choice, Line, Link, Side

ZONES = ("CALA", "CNOR", "CSUD", "NORD", "SARD", "SICI", "SUD")
PRICE = 1_000
"""Of a lot, a thousandth of a MWh, in millionths of a euro: a euro for a MWh."""
FLOOR, CEILING = -500, 4_000
REPLICA_MS = 58.0
Hour = tuple[str, int]


def rows(folder: Path, name: str) -> Iterator[tuple[Hour, dict[str, str]]]:
    with gzip.open(folder / f"italy_2025-04-01_20_{name}.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            yield (row["delivery_day"], int(row["period"])), row


def price(text: str) -> int:
    return round(float(text) * PRICE)


def lots(text: str) -> int:
    return round(float(text) * 1_000)


def books(folder: Path) -> tuple[dict[Hour, Book], dict[Hour, dict[str, int]]]:
    """Per hour the book, and the published prices of zones and neighbours."""
    at = {zone: index for index, zone in enumerate(ZONES)}
    published: dict[Hour, dict[str, int]] = defaultdict(dict)
    for hour, row in rows(folder, "published-prices"):
        published[hour][row["zone"]] = price(row["price_eur_per_mwh"])
    lines: dict[Hour, list[Line]] = defaultdict(list)
    for hour, row in rows(folder, "bid-curves"):
        side = Side.BUY if row["side"] == "demand" else Side.SELL
        quantity = lots(row["quantity_mwh"])
        if quantity:
            choice = Choice(at[row["zone"]], price(row["price_eur_per_mwh"]))
            lines[hour].append(Line(f"{len(lines[hour]):05d}", side, quantity, (choice,)))
    links: dict[Hour, list[Link]] = defaultdict(list)
    for hour, row in rows(folder, "transfer-capacities"):
        a, b = row["from_zone"], row["to_zone"]
        forward, backward = lots(row["max_flow_mwh"]), -lots(row["min_flow_mwh"])
        if a in at and b in at:
            links[hour].append(Link(f"{a}-{b}", at[a], at[b], forward))
            links[hour].append(Link(f"{b}-{a}", at[b], at[a], backward))
        elif a in at or b in at:
            zone, out, into = (a, forward, backward) if a in at else (b, backward, forward)
            choice = Choice(at[zone], published[hour][b if a in at else a])
            for side, quantity in ((Side.BUY, out), (Side.SELL, into)):
                if quantity > 0:
                    name = f"{a}-{b}-{side.value}"
                    lines[hour].append(Line(name, side, quantity, (choice,)))
    floor, ceiling = FLOOR * PRICE, CEILING * PRICE
    made = {
        hour: Book(len(ZONES), tuple(lines[hour]), (), tuple(links[hour]), floor, ceiling)
        for hour in sorted(lines)
    }
    return made, published


def reading_s(folder: Path) -> float:
    """Of a floor under everything: the bids read and sorted by price."""
    began = time.process_time()
    found = [(float(row["price_eur_per_mwh"]), hour) for hour, row in rows(folder, "bid-curves")]
    found.sort()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    folder = parser.parse_args().data / "market"
    given, published = books(folder)
    exact = worst = 0
    began, used = time.perf_counter(), time.process_time()
    cleared = {hour: clear(book) for hour, book in given.items()}
    wall_s, used_s = time.perf_counter() - began, time.process_time() - used
    for hour, found in cleared.items():
        for zone, said in zip(ZONES, found.prices, strict=True):
            off = abs(said - published[hour][zone])
            worst = max(worst, off)
            exact += off < PRICE // 200
    each_ms = wall_s / len(given) * 1_000
    print(
        json.dumps(
            {
                "bench": "market",
                "hours": len(given),
                "prices": len(given) * len(ZONES),
                "exact": exact,
                "worst_eur": worst / PRICE,
                "clearing_ms": round(each_ms, 2),
                "clearing_processor_ms": round(used_s / len(given) * 1_000, 2),
                "of_replica": round(each_ms / REPLICA_MS, 3),
                "reading_and_sorting_s": round(reading_s(folder), 2),
            }
        )
    )


if __name__ == "__main__":
    main()
