"""The list of commands: name, the module that has it, and one line of what it does.

Only the chosen command's module is loaded; the list alone serves help, suggestions and completion.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """`name` may have two words. Its module's COMMANDS maps it to its options and its doing."""

    name: str
    module: str
    summary: str


SECTIONS: tuple[tuple[str, tuple[Command, ...]], ...] = (
    (
        "Work",
        (
            Command("run", "run", "Submit a specification or a command"),
            Command("ls", "jobs", "List jobs, the newest first"),
            Command("show", "jobs", "Show a job, its tasks and attempts"),
            Command("logs", "jobs", "Print the output of a job"),
            Command(
                "explain", "explain", "Why a job waits and when it starts, or why it ran there"
            ),
            Command("wait", "jobs", "Wait until jobs have ended"),
            Command("cancel", "jobs", "End jobs wherever they are"),
            Command("cp", "files", "Fetch a job's outputs, or send files"),
            Command("schema", "schema", "JSON schema of the specification, for editors"),
        ),
    ),
    (
        "Market and money",
        (
            Command("offers", "market", "What can be had now, and at what price"),
            Command("catalogue ls", "catalogue", "Accelerators with their figures and classes"),
            Command("catalogue show", "catalogue", "A class: figures, sources, measurements"),
            Command("bench run", "catalogue", "Measure a pool; the result goes into the catalogue"),
            Command("bench ls", "catalogue", "What was measured, the newest first"),
            Command("queue", "market", "What waits, and why"),
            Command("market products", "trading", "What may be traded, and for which periods"),
            Command("market board", "trading", "Best prices of what is traded now"),
            Command("market book", "trading", "Depth of one instrument"),
            Command("market trades", "trading", "What was traded lately"),
            Command("market buy", "trading", "Place an order to buy"),
            Command("market sell", "trading", "Place an order to sell"),
            Command("market orders", "trading", "List your orders"),
            Command("market amend", "trading", "Change an order at rest: its lots or its price"),
            Command("market cancel", "trading", "Take an order out of its book"),
            Command("listing ls", "listings", "Capacity at posted prices"),
            Command("listing show", "listings", "Show a listing and what is left of it"),
            Command("listing post", "listings", "List capacity at a price"),
            Command("listing buy", "listings", "Buy from a listing at once"),
            Command("listing close", "listings", "Take a listing back"),
            Command("auction ls", "auctions", "Rounds of the day-ahead auction"),
            Command("auction show", "auctions", "Show a round and your orders in it"),
            Command(
                "auction bid", "auctions", "Bid in a round: a file, or a simple curve or block"
            ),
            Command("auction withdraw", "auctions", "Take a bid out of an open round"),
            Command("auction results", "auctions", "Prices of a round, what you got and why"),
            Command("contract ls", "contracts", "List contracts"),
            Command("contract show", "contracts", "Show a contract and what was delivered"),
            Command("contract cancel", "contracts", "Step back from a contract in time"),
            Command("contract withdraw", "contracts", "Give a contract up as its seller"),
            Command("rfq ask", "rfq", "Ask sellers for sealed quotes"),
            Command("rfq ls", "rfq", "Enquiries open to you, or (--mine) your own"),
            Command("rfq show", "rfq", "Show an enquiry and what came of it"),
            Command("rfq quote", "rfq", "Quote a price under seal"),
            Command("rfq withdraw", "rfq", "Take a quote back before the deadline"),
            Command("rfq cancel", "rfq", "Step back from an enquiry of yours"),
            Command("deal propose", "deals", "Propose a deal to one organisation"),
            Command("deal ls", "deals", "List deals, yours and those offered to you"),
            Command("deal show", "deals", "Show a deal and all its proposals"),
            Command("deal accept", "deals", "Agree to the last proposal: a contract"),
            Command("deal reject", "deals", "Turn the last proposal down"),
            Command("deal counter", "deals", "Answer by another proposal"),
            Command("deal withdraw", "deals", "Take your last proposal back"),
            Command("usage", "money", "What was used, by day, job, pool, site or user"),
            Command("bill", "money", "Balance and the statement of a month"),
            Command("invoice buyer", "invoices", "Show or state whom invoices are made out to"),
            Command("invoice request", "invoices", "Ask for the invoice of a closed month"),
            Command("invoice ls", "invoices", "List invoices, the newest first"),
            Command("invoice show", "invoices", "Show an invoice and its lines"),
            Command("invoice reverse", "invoices", "Ask for an invoice's red letter"),
            Command("invoice export", "invoices", "The data file for the tax channel"),
            Command("dispute open", "disputes", "Contest a charge"),
            Command("dispute ls", "disputes", "List disputes, the newest first"),
            Command("dispute show", "disputes", "Show a dispute and its history"),
            Command("dispute answer", "disputes", "Answer as the provider"),
            Command("dispute withdraw", "disputes", "Let a dispute be"),
            Command("payout ls", "settlement", "List payouts, the newest first"),
            Command("payout show", "settlement", "Show a payout and what it is made of"),
            Command("programme ls", "programmes", "List public programmes"),
            Command("programme show", "programmes", "A programme in words, with its source"),
            Command("programme check", "programmes", "Whether one is eligible, and why not"),
            Command("programme apply", "programmes", "Apply to a programme"),
            Command("programme applications", "vouchers", "List applications"),
            Command("programme withdraw", "vouchers", "Take an application back"),
            Command("voucher ls", "vouchers", "List vouchers and what is left of them"),
            Command("voucher show", "vouchers", "A voucher and what it paid"),
        ),
    ),
    (
        "Platform",
        (
            Command("up", "up", "Start the platform on this machine"),
            Command("rehearsal clock", "rehearsal", "Time of a rehearsal; put it forward"),
            Command("agent", "agent", "Serve this machine or cluster as a site"),
            Command("site enrol", "sites", "Invite a site: prints its one-time token"),
            Command("site ls", "sites", "List sites"),
            Command("site show", "sites", "Show a site, its pools and nodes"),
            Command("site drain", "sites", "Start nothing new there; what runs may end"),
            Command("site resume", "sites", "Take new work again"),
            Command("site cordon", "sites", "Keep new work off a node, or (--off) let it on again"),
            Command("site revoke", "sites", "End the agent's credential at once"),
            Command("site rm", "sites", "Remove a site that holds no work"),
            Command("site links", "links", "What moving data between sites costs"),
            Command("site link", "links", "State what moving data between two sites costs"),
            Command("site unlink", "links", "Let it go by distance and measurement again"),
            Command("auction open", "auctions", "Open the round of a day by hand"),
            Command("auction close", "auctions", "Close a round now"),
            Command("auction clear", "auctions", "Clear a closed round now"),
            Command("auction void", "auctions", "End a round and give everything back"),
            Command("auction replay", "auctions", "Clear a round again and compare"),
            Command("alert ls", "alerts", "What looks like abuse of the market"),
            Command("alert show", "alerts", "Show an alert and what it rests on"),
            Command("alert close", "alerts", "Close an alert and say what it was"),
            Command("ledger entries", "ledger", "What was booked for a project, entry by entry"),
            Command("ledger reverse", "ledger", "Undo an entry by its negative"),
            Command("ledger adjust", "ledger", "Give a project money, or take some"),
            Command("ledger trial", "ledger", "Trial balance of the books"),
            Command("close run", "settlement", "Close the next day of the books"),
            Command("close ls", "settlement", "List closed days, the latest first"),
            Command("close show", "settlement", "Show a closed day's trial balance"),
            Command("payout run", "settlement", "Propose payouts of what closed days brought"),
            Command("payout approve", "settlement", "Let a payout go to the bank"),
            Command("payout paid", "settlement", "The bank has moved it"),
            Command("payout rule", "settlement", "Whether payouts need four eyes"),
            Command("payout failed", "settlement", "The bank did not move it"),
            Command("payout cancel", "settlement", "Take a payout back"),
            Command("invoice issue", "invoices", "Enter number and date of an issued invoice"),
            Command("invoice reject", "invoices", "Refuse an invoice"),
            Command("dispute uphold", "disputes", "Decide for the buyer and give money back"),
            Command("dispute reject", "disputes", "Decide for the provider"),
            Command("programme publish", "programmes", "Publish a programme from a file"),
            Command("programme budget", "programmes", "Open or change a year's budget"),
            Command("programme fund", "programmes", "Book what a funder paid"),
            Command("programme what-if", "programmes", "What it would have cost over past charges"),
            Command("programme grant", "vouchers", "Review an application: yes"),
            Command("programme refuse", "vouchers", "Review an application: no"),
            Command("voucher pay", "vouchers", "Pay out what does not work at charges"),
            Command("voucher audit", "vouchers", "Note what an audit found"),
            Command("voucher claw-back", "vouchers", "Claim back what was paid"),
        ),
    ),
    (
        "People",
        (
            Command("org ls", "organisations", "List organisations"),
            Command("org create", "organisations", "Admit an organisation"),
            Command("org show", "organisations", "Show an organisation"),
            Command("org set", "organisations", "Change name, weight or state"),
            Command("org profile", "vouchers", "What programmes are told of an organisation"),
            Command("org log", "organisations", "Who did what (audit log)"),
            Command("project ls", "projects", "List projects"),
            Command("project create", "projects", "Create a project"),
            Command("project show", "projects", "Show a project, its quota and account"),
            Command("project set", "projects", "Change name, weight, quota or state"),
            Command("project members", "projects", "List a project's members"),
            Command("project add", "projects", "Give a user a part in a project"),
            Command("project remove", "projects", "Take a user's part in a project away"),
            Command("project topup", "projects", "Book money that came in"),
            Command("project credit", "projects", "Set how far below zero it may go"),
            Command("user ls", "users", "List users"),
            Command("user create", "users", "Create a user"),
            Command("user show", "users", "Show a user"),
            Command("user set", "users", "Change name, role, weight or state"),
            Command("user password", "users", "Set a password"),
            Command("token ls", "tokens", "List tokens"),
            Command("token create", "tokens", "Make a token; its secret is shown once"),
            Command("token revoke", "tokens", "End a token"),
        ),
    ),
    (
        "Session",
        (
            Command("login", "session", "Sign in to a platform"),
            Command("logout", "session", "Sign out"),
            Command("whoami", "session", "Who am I, and where"),
            Command("completion", "completion", "Print the completion script of bash, zsh or fish"),
            Command("version", "session", "Versions of this program and of the server"),
        ),
    ),
)

ALL: dict[str, Command] = {
    command.name: command for _, commands in SECTIONS for command in commands
}
GROUPS: tuple[str, ...] = tuple(
    dict.fromkeys(name.partition(" ")[0] for name in ALL if " " in name)
)


def of_group(group: str) -> list[Command]:
    return [command for name, command in ALL.items() if name.startswith(f"{group} ")]


def first_words() -> list[str]:
    return list(dict.fromkeys(name.partition(" ")[0] for name in ALL))
