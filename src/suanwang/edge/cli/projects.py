"""`suan project …`: projects, their members and their money."""

from __future__ import annotations

from typing import Any

from suanwang.edge.cli import figures, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.organisations import given, names_of, shown
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser, key_values
from suanwang.edge.cli.words import say
from suanwang.edge.client.client import Client
from suanwang.edge.client.http import segment
from suanwang.kernel.errors import InvalidInput, NotFound
from suanwang.kernel.resources import UNLIMITED

_QUOTA_UNITS = {
    "cpus": ("cpu_milli", 1_000),
    "memory_gib": ("memory_mib", 1_024),
    "disk_gib": ("disk_mib", 1_024),
    "cards": ("accelerator_milli", 1_000),
}


def reference_of(client: Client, name: str) -> str:
    """Of ORGANISATION/NAME the id, as the API knows no such names. Raises NotFound."""
    organisation, slash, short = name.rpartition("/")
    if not slash:
        return name
    query = {"organisation": organisation, "limit": 500}
    for project in client.api.pages("/v1/projects", query):
        if project["name"] == short:
            return str(project["id"])
    text = "There is no project {short} of {organisation} that you can see."
    raise NotFound(
        "ProjectNotFound",
        say(text, short=short, organisation=organisation),
        hint=say("See `suan project ls`."),
    )


def path_of(client: Client, name: str, rest: str = "") -> str:
    return f"/v1/projects/{segment(reference_of(client, name))}{rest}"


def _ls_options(parser: Parser) -> None:
    parser.common()
    parser.option("--org", help="Of this organisation", metavar="NAME")


def _ls(args: Args) -> int:
    client = client_of(args)
    query = {"organisation": args.org, "limit": 500}
    found = list(client.api.pages("/v1/projects", query))
    if args.json:
        print_json(found)
        return 0
    names = names_of(client, found)
    rows = [
        [
            names.get(p["organisation_id"], "") + p["name"],
            p["state"],
            str(p["weight"]),
            p["display_name"],
            p["id"],
        ]
        for p in found
    ]
    headings = [say(h) for h in ("NAME", "STATE", "WEIGHT", "DISPLAY NAME", "ID")]
    tables.show(headings, rows, right=(2,), states=1)
    return 0


def _details(parser: Parser) -> None:
    parser.option("--display-name", help="As pages show it", metavar="TEXT")
    parser.option("--weight", help="Fair share against its siblings", type=int, metavar="N")
    parser.option(
        "--quota",
        help="At once over the whole grid: cpus=64 memory_gib=256 disk_gib=… cards=8",
        nargs="+",
        metavar="WHAT=N",
    )
    parser.option(
        "--arrears-grace-s", help="Work goes on so long without money", type=int, metavar="SECONDS"
    )


def quota_of(words: list[str] | None) -> dict[str, int] | None:
    """What is not named is not limited."""
    if words is None:
        return None
    quota = {field: UNLIMITED for field, _ in _QUOTA_UNITS.values()}
    for name, text in key_values(words, "--quota").items():
        if name not in _QUOTA_UNITS:
            raise InvalidInput(
                "UsageWrong",
                say("--quota knows no {name}.", name=name),
                hint=say("Write cpus=64 memory_gib=256 disk_gib=1000 cards=8, or some of it."),
                field="quota",
            )
        field, unit = _QUOTA_UNITS[name]
        try:
            quota[field] = round(float(text) * unit)
        except ValueError as error:
            raise InvalidInput(
                "UsageWrong",
                say("--quota {name} takes a number, not {value}.", name=name, value=text),
                hint=say("Write cpus=64 memory_gib=256 disk_gib=1000 cards=8, or some of it."),
                field="quota",
            ) from error
    return quota


def quota_text(quota: dict[str, int]) -> str:
    """As `--quota` takes it: 'cpus=64 cards=8'; what is not limited is not named."""
    named = [(name, quota[field] / unit) for name, (field, unit) in _QUOTA_UNITS.items()]
    limits = [
        f"{name}={amount:g}" for name, amount in named if amount * _QUOTA_UNITS[name][1] < UNLIMITED
    ]
    return " ".join(limits)


def _shown(args: Args, project: dict[str, Any]) -> int:
    if args.json or not project.get("quota"):
        return shown(args, project)
    return shown(args, {**project, "quota": quota_text(project["quota"])})


def _body(args: Args) -> dict[str, Any]:
    body = given(args, "display_name", "weight", "arrears_grace_s")
    quota = quota_of(args.quota)
    return body if quota is None else {**body, "quota": quota}


def _create_options(parser: Parser) -> None:
    parser.option("name", help="Short name", metavar="NAME")
    parser.common()
    _details(parser)
    parser.option("--org", help="In this organisation", metavar="NAME")


def _create(args: Args) -> int:
    client = client_of(args)
    body = {"name": args.name, **_body(args)}
    if args.org:
        body["organisation"] = args.org
    return _shown(args, client.api.post("/v1/projects", body))


def _named(parser: Parser) -> None:
    parser.option("name", help="Name or id; ORGANISATION/NAME for another's", metavar="NAME")
    parser.common()


def _show(args: Args) -> int:
    client = client_of(args)
    project = client.api.get(path_of(client, args.name))
    account = client.api.get(path_of(client, project["id"], "/account"))
    if args.json:
        print_json({**project, "account": account})
        return 0
    for name in ("balance", "held", "credit_limit", "available"):
        project[name] = figures.yuan(account[name])
    return _shown(args, project)


def _set_options(parser: Parser) -> None:
    _named(parser)
    _details(parser)
    parser.flag("--no-quota", help="Take the quota away")
    parser.option("--state", help="Close it, or open it again", choices=("active", "closed"))


def _set(args: Args) -> int:
    client = client_of(args)
    body = {**_body(args), **given(args, "state")}
    if args.no_quota:
        body["no_quota"] = True
    return _shown(args, client.api.patch(path_of(client, args.name), body))


def _members(args: Args) -> int:
    client = client_of(args)
    found = list(client.api.pages(path_of(client, args.name, "/members"), {"limit": 500}))
    if args.json:
        print_json(found)
        return 0
    rows = [[one["login"], one["role"], one["display_name"]] for one in found]
    tables.show([say(h) for h in ("LOGIN", "ROLE", "NAME")], rows)
    return 0


def _add_options(parser: Parser) -> None:
    _named(parser)
    parser.option("user", help="Login name or id", metavar="USER")
    parser.option("--role", help="member acts, viewer looks", choices=("member", "viewer"))


def _add(args: Args) -> int:
    return _set_part(args, args.role or "member")


def _remove_options(parser: Parser) -> None:
    _named(parser)
    parser.option("user", help="Login name or id", metavar="USER")


def _remove(args: Args) -> int:
    return _set_part(args, None)


def _set_part(args: Args, role: str | None) -> int:
    client = client_of(args)
    client.api.put(path_of(client, args.name, f"/members/{segment(args.user)}"), {"role": role})
    if args.json:
        print_json({"project": args.name, "user": args.user, "role": role})
    elif role:
        text = "{user} is {role} of {name}."
        print(say(text, user=args.user, role=role, name=args.name))
    else:
        print(say("{user} has left {name}.", user=args.user, name=args.name))
    return 0


def _topup_options(parser: Parser) -> None:
    _named(parser)
    parser.option("amount", help="Yuan", metavar="YUAN")
    parser.option(
        "--reference", help="The payment's own number; booked once", required=True, metavar="TEXT"
    )
    parser.option("--description", help="For the statement", default="", metavar="TEXT")


def _topup(args: Args) -> int:
    client = client_of(args)
    answer = client.billing.top_up(
        reference_of(client, args.name),
        args.amount,
        payment_reference=args.reference,
        description=args.description,
    )
    if args.json:
        print_json(answer)
        return 0
    if answer["repeated"]:
        print(say("This payment was booked before; nothing changed."))
    print(say("Available: {yuan} yuan", yuan=figures.yuan(answer["account"]["available"])))
    return 0


def _credit_options(parser: Parser) -> None:
    _named(parser)
    parser.option("amount", help="Yuan below zero", metavar="YUAN")


def _credit(args: Args) -> int:
    client = client_of(args)
    project = reference_of(client, args.name)
    answer = client.billing.set_credit_limit(project, args.amount)
    if args.json:
        print_json(answer)
    else:
        print(say("Available: {yuan} yuan", yuan=figures.yuan(answer["available"])))
    return 0


COMMANDS = {
    "project ls": Doing(_ls_options, _ls),
    "project create": Doing(_create_options, _create),
    "project show": Doing(_named, _show),
    "project set": Doing(_set_options, _set),
    "project members": Doing(_named, _members),
    "project add": Doing(_add_options, _add),
    "project remove": Doing(_remove_options, _remove),
    "project topup": Doing(_topup_options, _topup),
    "project credit": Doing(_credit_options, _credit),
}
