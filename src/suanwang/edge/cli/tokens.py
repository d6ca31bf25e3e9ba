"""`suan token …`: secrets for programs."""

from __future__ import annotations

import time
from typing import Any

from suanwang.edge.cli import figures, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.projects import reference_of
from suanwang.edge.cli.words import say
from suanwang.edge.client.http import segment

SCOPES = tuple(
    f"{what}:{how}" for what in ("jobs", "sites", "billing", "tenancy") for how in ("read", "write")
)


def _ls_options(parser: Parser) -> None:
    parser.common()
    parser.option("--user", help="Another's, for admins", metavar="USER")


def _ls(args: Args) -> int:
    found = list(client_of(args).api.pages("/v1/tokens", {"user": args.user, "limit": 500}))
    if args.json:
        print_json(found)
        return 0
    rows = [
        [
            one["id"],
            _state(one),
            figures.local_ms(one["expires_at_ms"]),
            figures.local_ms(one["last_used_at_ms"]),
            one["name"],
            ", ".join(one["scopes"]) if len(one["scopes"]) < len(SCOPES) else say("all"),
        ]
        for one in found
    ]
    headings = [say(h) for h in ("ID", "STATE", "EXPIRES", "USED", "NAME", "SCOPES")]
    tables.show(headings, rows, states=1)
    return 0


def _state(token: dict[str, Any]) -> str:
    if token["revoked_at_ms"]:
        return "revoked"
    return "expired" if token["expires_at_ms"] <= time.time() * 1000 else "active"


def _create_options(parser: Parser) -> None:
    parser.option("name", help="What it is for", metavar="NAME")
    parser.common()
    parser.option(
        "--scope", help="May be repeated; all of yours by default", action="append", choices=SCOPES
    )
    parser.option("-p", "--project", help="Bound to this project", metavar="NAME")
    parser.option("--days", help="Valid for so long (90)", type=int, default=90, metavar="N")


def _create(args: Args) -> int:
    client = client_of(args)
    project = args.project and reference_of(client, args.project)
    body = {"name": args.name, "scopes": args.scope, "project": project, "days": args.days}
    made = client.api.post("/v1/tokens", body)
    if args.json:
        print_json(made)
    else:
        print(made["secret"])
    return 0


def _revoke_options(parser: Parser) -> None:
    parser.option("id", help="Id of the token", metavar="ID")
    parser.common()


def _revoke(args: Args) -> int:
    ended = client_of(args).api.delete(f"/v1/tokens/{segment(args.id)}")
    if args.json:
        print_json(ended)
    else:
        print(say("Token {name} has ended.", name=ended["name"]))
    return 0


COMMANDS = {
    "token ls": Doing(_ls_options, _ls),
    "token create": Doing(_create_options, _create),
    "token revoke": Doing(_revoke_options, _revoke),
}
