"""Books for the call auction, drawn by seed from real traces; nothing of them is in the repository.

From the folder that `--data` names:

    openb/openb_pod_list_gpuspec10.csv    pods of a GPU cluster (Alibaba, 2023): cards, the models
                                          that would do, hour of the day, length, class of service
    openb/openb_node_list_gpu_node.csv    its nodes: model and cards
    traces/gaia_pai-100k.csv.gz           jobs of another (Alibaba PAI): hour of arrival, length
    energy/                               hourly prices of electricity: Germany 2024, Spain 2023,
                                          France and Switzerland 2019

Products: the seven models of the nodes, four zones, 24 hours. A zone has the prices of one of the
four series on a day that the seed draws. What a card hour is worth: a base by model (assumed, 2 to
14 yuan) times 0.6 + 0.4 x the hour's price over the mean of its year (that part within 0 and 3);
times a lognormal factor as in `auction_books`.

A buyer is a pod: so many cards, from its hour on, for its length (begun hours, no further than
midnight). Every other one has hour and length of a PAI job instead, which are longer. One hour is a
line, more are a block. Best-effort pods may start in any of nine hours (blocks) or be in the next
zone as well (lines). Models that would do are choices of a line, options of a block; a pod that
names none takes three, drawn by cards. Limits are the best model's worth for each, so a buyer
prefers none. A seller is a node, offered whole as a block of 4 to 12 hours or, as often, for one
hour in two steps. Sides are drawn so that card hours sold keep up with those bought.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from auction_books import HOURS, Market, micro
from suanwang.engines.matching.model import Block, Choice, Line, Option, Side

BASE_YUAN = {
    "P100": 2.0,
    "T4": 2.5,
    "A10": 4.0,
    "V100M16": 5.0,
    "V100M32": 6.5,
    "G2": 9.0,
    "G3": 14.0,
}
MODELS = tuple(BASE_YUAN)
FILES = (
    "openb/openb_pod_list_gpuspec10.csv",
    "openb/openb_node_list_gpu_node.csv",
    "traces/gaia_pai-100k.csv.gz",
    "energy/DE-LU_2024.csv.gz",
    "energy/ES_2023.csv.gz",
    "energy/hydropt_DE_FR_CH_spot_2019.csv.gz",
)
LATEST_STARTS = 8
MOST_OPTIONS = 12


@dataclass(frozen=True)
class Pod:
    cards: int
    models: tuple[str, ...]
    """Those that would do; none if any would."""
    hour: int
    hours: int
    flexible: bool


@dataclass(frozen=True)
class Traces:
    pods: tuple[Pod, ...]
    nodes: tuple[tuple[str, int], ...]
    """(model, cards)"""
    jobs: tuple[tuple[int, int], ...]
    """(hour of the day, hours)"""
    series: tuple[tuple[float, ...], ...]
    """By zone, hour after hour: prices over the mean of their year."""


def missing(folder: Path) -> list[str]:
    return [name for name in FILES if not (folder / name).is_file()]


def read(folder: Path) -> Traces:
    pods, nodes, jobs, germany, spain, others = (list(_rows(folder / name)) for name in FILES)
    spot = [
        [float(row[name] or 0) for row in rows]
        for rows, name in (
            (germany, "Price (USD/MWh)"),
            (spain, "Price (USD/MWh)"),
            (others, "France[EUR/MWh]"),
            (others, "Switzerland[EUR/MWh]"),
        )
    ]
    return Traces(
        tuple(_pod(row) for row in pods if int(row["num_gpu"]) and row["deletion_time"]),
        tuple((row["model"], int(row["gpu"])) for row in nodes),
        tuple(
            (int(float(row["arrival_time"])) % HOURS, _begun(float(row["length"]))) for row in jobs
        ),
        tuple(_over_mean(prices) for prices in spot),
    )


def _over_mean(prices: list[float]) -> tuple[float, ...]:
    mean = fmean(prices)
    return tuple(price / mean for price in prices)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        apart = ";" if path.name.startswith("hydropt") else ","
        yield from csv.DictReader(file, delimiter=apart)


def _pod(row: dict[str, str]) -> Pod:
    created, deleted = int(row["creation_time"]), int(row["deletion_time"])
    return Pod(
        int(row["num_gpu"]),
        tuple(sorted({one for one in row["gpu_spec"].split("|") if one})),
        created // 3_600 % HOURS,
        _begun((deleted - created) / 3_600),
        row["qos"] == "BE",
    )


def _begun(hours: float) -> int:
    return max(1, int(-(-hours // 1)))


class TraceMarket(Market):
    """`orders` of them: 7 models x 4 zones in each hour."""

    def __init__(self, orders: int, traces: Traces, seed: int = 1) -> None:
        super().__init__(orders, len(MODELS), len(traces.series), seed)
        self._traces = traces
        self._shapes = []
        for prices in traces.series:
            first = self._dice.randrange(len(prices) // HOURS) * HOURS
            self._shapes.append(prices[first : first + HOURS])
        self._cards = [cards for _, cards in traces.nodes]
        self._bought = self._sold = 0

    def worth(self, kind: int, zone: int, hour: int) -> float:
        shape = min(3.0, max(0.0, self._shapes[zone][hour]))
        return BASE_YUAN[MODELS[kind]] * (0.6 + 0.4 * shape)

    def _order(self, number: int) -> None:
        zone = self._dice.randrange(self.zones)
        if self._bought <= self._sold:
            self._buyer(number, zone)
        else:
            self._seller(number, zone)

    def _buyer(self, number: int, zone: int) -> None:
        dice = self._dice
        pod = dice.choice(self._traces.pods)
        hour, long = dice.choice(self._traces.jobs) if number % 2 else (pod.hour, pod.hours)
        long = min(long, HOURS - hour)
        models = pod.models or tuple(
            model for model, _ in dice.choices(self._traces.nodes, self._cards, k=3)
        )
        kinds = sorted({MODELS.index(one) for one in models})
        factor = dice.lognormvariate(0.05, 0.25)
        self._bought += pod.cards * long
        if long == 1:
            zones = [zone, (zone + 1) % self.zones] if pod.flexible else [zone]
            limit = micro(max(self.worth(k, zone, hour) for k in kinds) * factor)
            wanted = sorted(self.product(k, z, hour) for k in kinds for z in zones)
            choices = tuple(Choice(product, limit) for product in wanted)
            self.lines.append(Line(f"d{number:06d}", Side.BUY, pod.cards, choices))
            return
        last = min(HOURS - long, hour + LATEST_STARTS) if pod.flexible else hour
        worth = max(sum(self.worth(k, zone, h) for h in range(hour, hour + long)) for k in kinds)
        limit = micro(worth * pod.cards * factor)
        options = tuple(
            Option(self._run(k, zone, at, long, pod.cards), limit)
            for at in range(hour, last + 1)
            for k in kinds
        )
        self.blocks.append(Block(f"j{number:06d}", Side.BUY, options[:MOST_OPTIONS]))

    def _seller(self, number: int, zone: int) -> None:
        dice = self._dice
        model, cards = dice.choice(self._traces.nodes)
        kind, factor = MODELS.index(model), dice.lognormvariate(-0.05, 0.25)
        if dice.random() < 0.5:
            long = dice.choice([4, 6, 8, 12])
            first = dice.randrange(HOURS - long + 1)
            worth = sum(self.worth(kind, zone, hour) for hour in range(first, first + long))
            option = Option(
                self._run(kind, zone, first, long, cards), micro(worth * cards * factor)
            )
            self.blocks.append(Block(f"n{number:06d}", Side.SELL, (option,)))
            self._sold += cards * long
            return
        hour = dice.randrange(HOURS)
        price = self.worth(kind, zone, hour) * factor
        for step, lots in enumerate((cards - cards // 2, cards // 2)):
            if lots:
                choice = Choice(self.product(kind, zone, hour), micro(price))
                self.lines.append(Line(f"o{number:06d}-{step}", Side.SELL, lots, (choice,)))
            price *= 1.1
        self._sold += cards

    def _run(
        self, kind: int, zone: int, first: int, long: int, cards: int
    ) -> tuple[tuple[int, int], ...]:
        return tuple((self.product(kind, zone, hour), cards) for hour in range(first, first + long))
