"""The day: five ways to trade, a voucher, delivery with one site that fails, settlement, books."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from suanwang.demo.exchange import cast
from suanwang.demo.exchange.cast import (
    FIRM,
    HAMI,
    INSTITUTE,
    QINGYANG,
    STARTUP,
    STUDIO,
    UNIVERSITY,
    ZHENGZHOU,
)
from suanwang.demo.exchange.desk import HOUR, Desk, Hall, moment, text_of, wait_for
from suanwang.demo.stage import Party

Say = Callable[[str], None]
SECONDS = timedelta(seconds=1)
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Deal:
    """A contract as its buyer follows it."""

    way: str
    buyer: Party
    seller: Party
    contract_id: str
    job_id: str = ""
    told: dict[str, Any] = field(default_factory=dict)

    def micro(self, name: str) -> int:
        return sum(int(one[name]["micro_yuan"]) for one in self.told["hours_measured"])


@dataclass(slots=True)
class Day:
    """Its scenes, in order. What must hold is kept in `wrong` where it does not."""

    hall: Hall
    say: Say
    deals: list[Deal] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    round_id: str = ""
    begins: datetime = NEVER
    closes: datetime = NEVER

    def must(self, holds: bool, what: str) -> None:
        if not holds:
            self.wrong.append(what)
            self.say(f"WRONG: {what}")

    def open(self) -> None:
        """All deliver in the first hour of the next day that has a round of the auction."""
        rounds = wait_for(
            lambda: [
                one
                for one in self.hall.operator.get("/v1/auctions")["items"]
                if one["state"] == "open" and moment(one["closes_at"]) > self.hall.now() + 2 * HOUR
            ],
            "a round of the auction is open",
        )
        first = min(rounds, key=lambda one: str(one["starts_at"]))
        self.round_id, self.begins = first["id"], moment(first["starts_at"])
        self.closes = moment(first["closes_at"])
        self.say(f"delivery will be on {first['day']}; its auction is open")

    @property
    def span(self) -> dict[str, Any]:
        return {"starts_at": text_of(self.begins), "hours": 1}

    def listing(self) -> None:
        hall, cards = self.hall, self.hall.pool("zhengzhou", "cards")
        body = {"source": cards, "starts_at": text_of(self.begins), "hours": 24, "lots": 2}
        listed = hall[ZHENGZHOU].trade(
            "/v1/market/listings", {**body, "price": {"yuan": "9"}, "title": "A100, day by day"}
        )
        bought = hall[UNIVERSITY].trade(
            f"/v1/market/listings/{listed['id']}/buy", {**self.span, "lots": 1, "key": "demo"}
        )
        self._keep("listing", UNIVERSITY, ZHENGZHOU, bought["id"])

    def book(self) -> None:
        hall = self.hall
        suffix = self.begins.strftime("%Y%m%d%H") + ":1"
        sold = self._class("gansu")
        name = f"{sold}:gansu:{suffix}"
        source = hall.pool("qingyang", "ascend")
        for lots, yuan in ((2, "5.2"), (1, "5.0")):
            order = {"instrument": name, "side": "sell", "lots": lots, "source": source}
            hall[QINGYANG].trade("/v1/market/orders", {**order, "price": {"yuan": yuan}})
        order = {"instrument": name, "side": "buy", "lots": 1, "price": {"yuan": "5.5"}}
        answer = hall[FIRM].trade("/v1/market/orders", order)
        fill = answer["fills"][0]
        self.must(fill["price"]["yuan"] == "5.00", "the best price of the book counts")
        self._keep("order book", FIRM, QINGYANG, fill["contract_id"])

    def _class(self, zone: str) -> str:
        found = self.hall.operator.get("/v1/market/products")["products"]
        classes = [one["unit_class"] for one in found if one["zone"] == zone]
        return str(next(one for one in classes if one != "core"))

    def quotation(self) -> tuple[str, datetime]:
        """Asked and quoted under seal; opened when the clock reaches the deadline."""
        hall = self.hall
        deadline = self.closes - HOUR
        products = [{"unit_class": self._class(zone), "zone": zone} for zone in ("gansu", "henan")]
        asked = hall[INSTITUTE].trade(
            "/v1/quotations",
            {
                **self.span,
                "products": products,
                "lots": 1,
                "ceiling": {"yuan": "10"},
                "rule": "lowest_per_unit",
                "deadline": text_of(deadline),
                "title": "Any card for an hour",
            },
        )
        for party, site, pool, yuan in (
            (ZHENGZHOU, "zhengzhou", "cards", "8.6"),
            (QINGYANG, "qingyang", "ascend", "6.1"),
        ):
            quote = {"source": hall.pool(site, pool), "price": {"yuan": yuan}}
            made = hall[party].trade(f"/v1/quotations/{asked['id']}/quotes", quote)
            seen = hall[INSTITUTE].api.get(f"/v1/quotations/{asked['id']}")
            self.must(yuan not in str(seen), "a sealed price is nobody's to read")
            self.must(made["price"] is None, "not even its own seller's")
        self.say("two quotes lie under seal")
        return asked["id"], deadline

    def bilateral(self) -> None:
        hall = self.hall
        until = text_of(self.closes)
        offer = {"source": hall.pool("hami", "wind"), "lots": 2, "valid_until": until}
        deal = hall[HAMI].trade(
            "/v1/deals",
            {**self.span, **offer, "side": "sell", "to": STUDIO.name, "price": {"yuan": "0.08"}},
        )
        number = int(deal["number"])
        product = {"unit_class": "core", "zone": "xinjiang"}
        counter = {"product": product, "lots": 2, "valid_until": until, "price": {"yuan": "0.06"}}
        answered = hall[STUDIO].trade(
            f"/v1/deals/{deal['id']}/counter", {**self.span, **counter, "number": number}
        )
        agreed = hall[HAMI].trade(
            f"/v1/deals/{deal['id']}/accept",
            {
                "number": int(answered["number"]),
                "source": hall.pool("hami", "wind"),
            },
        )
        self._keep("bilateral", STUDIO, HAMI, agreed["contract_id"])

    def bids(self) -> None:
        """One card is offered in the auction, and two want it."""
        hall = self.hall
        product = f"{self._class('henan')}@henan"
        step = {"product": product, "hours": [0, 1], "lots": 1}
        path = f"/v1/auctions/{self.round_id}/orders"
        cards = hall.pool("zhengzhou", "cards")
        hall[ZHENGZHOU].trade(
            path, {"side": "sell", "source": cards, "curve": [{**step, "price": 7}]}
        )
        hall[STARTUP].trade(path, {"side": "buy", "curve": [{**step, "price": 9.5}]})
        hall[FIRM].trade(path, {"side": "buy", "curve": [{**step, "price": 8}]})
        self.say("a seller at 7.00 and buyers at 9.50 and 8.00 wait for the auction")

    def voucher(self) -> None:
        """Application, review, grant: before the hours that it shall lower."""
        hall, year = self.hall, self.begins.year
        for name, profile in cast.PROFILES.items():
            hall.operator.put(f"/v1/organisations/{name}/profile", profile)
        hall.operator.put(f"/v1/programmes/{cast.PROGRAMME}/budget", {"year": year})
        asked = hall[UNIVERSITY].trade(
            f"/v1/programmes/{cast.PROGRAMME}/applications",
            {"amount": {"yuan": "100"}, "provider": ZHENGZHOU.name},
        )
        hall.operator.post(f"/v1/programme-applications/{asked['id']}/grant", {})
        self.say("the university was granted a voucher of ¥100 (Henan: 20 % of what it is charged)")

    def clear(self, enquiry: str, deadline: datetime) -> None:
        hall = self.hall
        hall.advance(deadline + 5 * SECONDS)
        opened = wait_for(
            lambda: self._awarded(enquiry), "the quotes were opened after the deadline"
        )
        won = next(one for one in opened["opened"] if one["contract_id"])
        self._keep("quotation", INSTITUTE, QINGYANG, won["contract_id"])
        hall.advance(self.closes + 5 * SECONDS)
        wait_for(
            lambda: hall.operator.get(f"/v1/auctions/{self.round_id}")["state"] == "cleared",
            "the auction was cleared",
        )
        query = {"role": "buyer"}
        mine = hall[STARTUP].api.get("/v1/contracts", query)["items"]
        self._keep("auction", STARTUP, ZHENGZHOU, mine[0]["id"])
        prices = hall.operator.get(f"/v1/auctions/{self.round_id}/prices")
        price = next(one["price"] for one in prices if one["price"])
        order = hall[FIRM].api.get(f"/v1/auctions/{self.round_id}/orders")["items"][0]
        lost = order["result"]["parts"][0]
        would = lost["winning"]["yuan"] if lost["winning"] else ""
        self.must(int(price["micro_yuan"]) > 8_000_000, "the price is above the bid that lost")
        self.say(
            f"the auction is cleared at ¥{price['yuan']}; the bid of 8.00 was told: "
            f"{lost['outcome']}, it would have won at ¥{would}"
        )

    def _awarded(self, enquiry: str) -> Any:
        found = self.hall[INSTITUTE].api.get(f"/v1/quotations/{enquiry}")
        return found if found["state"] == "awarded" else None

    def _keep(self, way: str, buyer: Party, seller: Party, contract_id: str) -> None:
        self.deals.append(Deal(way, buyer, seller, contract_id))
        found = self.hall[buyer].contract(contract_id)
        price, worth = found["price"]["yuan"], found["worth"]["yuan"]
        self.say(
            f"{way}: {buyer.display_name} buys {found['lots']} x {found['unit_class']} of "
            f"{seller.display_name} at ¥{price}, ¥{worth} in all"
        )

    def deliver(self, failing: str) -> None:
        """The hour begins: jobs run on the contracts, but for those of the site that is gone."""
        hall = self.hall
        wait_for(
            lambda: not hall.operator.get(f"/v1/sites/{failing}")["reachable"],
            f"{failing} is found to be gone",
        )
        hall.advance(self.begins + 5 * SECONDS)
        self.say(f"the hour of delivery has begun; {failing} is gone")
        for deal in self.deals:
            if deal.seller is not HAMI:
                deal.job_id = self._submit(deal)
        for deal in self.deals:
            if deal.job_id:
                self._follow(deal)
        wait_for(self._all_seen, "every contract was looked at")

    def _submit(self, deal: Deal) -> str:
        spec = {
            "name": f"on-{deal.way.replace(' ', '-')}",
            "command": "sleep 1",
            "project": self.hall[deal.buyer].project_id,
            "contract": deal.contract_id,
            "resources": {"cpus": 0.5, "accelerators": 1, "memory": "128M"},
            "max_runtime": 60,
        }
        return str(self.hall[deal.buyer].post("/v1/jobs", spec)["id"])

    def _follow(self, deal: Deal) -> None:
        api = self.hall[deal.buyer].api
        job = wait_for(
            lambda: _ended(api.get(f"/v1/jobs/{deal.job_id}")), f"the job on {deal.contract_id}"
        )
        self.must(job["state"] == "succeeded", f"the job on the {deal.way} contract succeeds")
        leases = [one for task in job["task_list"] for one in task["leases"]]
        self.must(
            all(one["rate"]["micro_yuan"] == 0 for one in leases),
            f"a job on the {deal.way} contract costs nothing more",
        )

    def _all_seen(self) -> bool:
        return all(
            any(
                one["samples"]
                for one in self.hall[deal.buyer].contract(deal.contract_id)["hours_measured"]
            )
            for deal in self.deals
        )

    def settle(self) -> None:
        hall = self.hall
        hall.advance(self.begins + HOUR + 90 * SECONDS)
        for deal in self.deals:
            desk = hall[deal.buyer]
            deal.told = wait_for(
                partial(_completed, desk, deal.contract_id), f"{deal.contract_id} was settled"
            )
        for deal in self.deals:
            worth = int(deal.told["worth"]["micro_yuan"])
            if deal.seller is HAMI:
                self.must(deal.micro("charged") == 0, "what was not delivered is not charged")
                credit = worth * deal.told["terms"]["credit_percent"] // 100
                self.must(deal.micro("credited") == credit, "the site that failed pays the credit")
            else:
                self.must(
                    deal.micro("charged") == worth, f"the {deal.way} contract is paid in full"
                )
                self.must(deal.micro("credited") == 0, f"the {deal.way} contract gives no credit")

    def redeem(self) -> int:
        """What the voucher paid of the university's contract, in micro-yuan."""
        hall, month = self.hall, self.month
        path = f"/v1/projects/{hall[UNIVERSITY].project_id}/statement?month={month}"
        told = wait_for(
            lambda: _relieved(hall[UNIVERSITY].api.get(path)), "the voucher lowered a charge"
        )
        listed, paid = (int(told[name]["micro_yuan"]) for name in ("listed", "charged"))
        relieved = int(told["relieved"]["micro_yuan"])
        self.must(listed == paid + relieved, "list price = paid + relieved")
        self.must(relieved * 5 == listed, "the programme pays a fifth")
        return relieved

    @property
    def month(self) -> str:
        return (self.begins + 8 * HOUR).strftime("%Y-%m")

    def close(self) -> int:
        """The books of the day of delivery and of those before; how many days."""
        hall = self.hall
        hall.advance(self.begins + timedelta(days=1) + 7 * HOUR)
        wanted = (self.begins + 8 * HOUR).strftime("%Y-%m-%d")
        closed: list[str] = []
        while not closed or closed[-1] < wanted:
            made = hall.operator.post("/v1/closes", {})
            closed.append(made["day"])
        books = hall.operator.get("/v1/ledger/trial-balance?verify=true")
        self.must(
            not any(one["micro_yuan"] for one in books["sums"].values()), "the books sum to zero"
        )
        self.must(not books["discrepancies"], "every balance follows from its postings")
        return len(closed)

    def export(self) -> int:
        """Rows of the FOCUS export of a buyer; they sum to his statement."""
        desk = self.hall[FIRM]
        path = f"/v1/projects/{desk.project_id}/focus.csv?month={self.month}"
        reply = desk.api.call("GET", path)
        rows = list(csv.DictReader(io.StringIO(reply.read().decode())))
        billed = sum(Decimal(one["BilledCost"]) for one in rows)
        told = desk.api.get(f"/v1/projects/{desk.project_id}/statement?month={self.month}")
        owed = int(told["charged"]["micro_yuan"]) - int(told["adjusted"]["micro_yuan"])
        self.must(billed * 1_000_000 == owed, "the export sums to the statement")
        return len(rows)


def _ended(job: dict[str, Any]) -> dict[str, Any] | None:
    return job if job["state"] in ("succeeded", "failed", "cancelled", "refused") else None


def _completed(desk: Desk, contract_id: str) -> dict[str, Any] | None:
    found = desk.contract(contract_id)
    return found if found["phase"] == "completed" else None


def _relieved(statement: dict[str, Any]) -> dict[str, Any] | None:
    return statement if int(statement["relieved"]["micro_yuan"]) else None
