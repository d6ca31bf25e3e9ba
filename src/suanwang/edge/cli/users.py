"""`suan user …`: users and their passwords."""

from __future__ import annotations

import sys

from suanwang.edge.cli import errors, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.organisations import given, names_of, shown
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say
from suanwang.edge.client.http import segment
from suanwang.kernel.errors import InvalidInput

ROLES = ("operator", "admin", "member", "viewer")


def _path(name: str, rest: str = "") -> str:
    return f"/v1/users/{segment(name)}{rest}"


def _ls_options(parser: Parser) -> None:
    parser.common()
    parser.option("--org", help="Of this organisation", metavar="NAME")


def _ls(args: Args) -> int:
    query = {"organisation": args.org, "limit": 500}
    client = client_of(args)
    found = list(client.api.pages("/v1/users", query))
    if args.json:
        print_json(found)
        return 0
    names = names_of(client, found)
    rows = [
        [
            u["login"],
            u["role"],
            u["state"],
            u["display_name"],
            names.get(u["organisation_id"], "").rstrip("/"),
            u["email"] or "",
        ]
        for u in found
    ]
    headings = ("LOGIN", "ROLE", "STATE", "NAME", "ORGANISATION", "E-MAIL")
    kept = [i for i, heading in enumerate(headings) if heading != "ORGANISATION" or names]
    tables.show(
        [say(headings[i]) for i in kept], [[row[i] for i in kept] for row in rows], states=2
    )
    return 0


def _details(parser: Parser) -> None:
    parser.option("--display-name", help="As pages show it", metavar="TEXT")
    parser.option("--email", help="E-mail address", metavar="ADDRESS")
    parser.option("--role", help="What the user may do", choices=ROLES)
    parser.option("--weight", help="Fair share against the others", type=int, metavar="N")


def _create_options(parser: Parser) -> None:
    parser.option("login", help="Name to sign in with", metavar="LOGIN")
    parser.common()
    _details(parser)
    parser.option("--org", help="In this organisation", metavar="NAME")
    parser.flag("--password", help="Ask for a password; without one only OpenID Connect signs in")


def asked_for_password() -> str:
    """Twice on a terminal, else the first line of stdin."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    import getpass

    first = getpass.getpass(say("Password: "))
    if getpass.getpass(say("Once more: ")) != first:
        raise InvalidInput("PasswordsDiffer", say("These were two different passwords."))
    return first


def _create(args: Args) -> int:
    body = {"login": args.login, **given(args, "display_name", "email", "role", "weight")}
    if args.org:
        body["organisation"] = args.org
    if args.password:
        body["password"] = asked_for_password()
    return shown(args, client_of(args).api.post("/v1/users", body))


def _named(parser: Parser) -> None:
    parser.option("name", help="Login name or id", metavar="USER")
    parser.common()


def _show(args: Args) -> int:
    return shown(args, client_of(args).api.get(_path(args.name)))


def _set_options(parser: Parser) -> None:
    _named(parser)
    _details(parser)
    parser.option("--state", help="Lock out, or let in again", choices=("active", "disabled"))


def _set(args: Args) -> int:
    body = given(args, "display_name", "email", "role", "weight", "state")
    return shown(args, client_of(args).api.patch(_path(args.name), body))


def _password(args: Args) -> int:
    client = client_of(args)
    own = client.api.get("/v1/session")
    body = {}
    if args.name in (own["login"], own["user_id"]):
        if sys.stdin.isatty():
            errors.tell(say("First the password that you have now."))
            import getpass

            body["current_password"] = getpass.getpass(say("Password: "))
        else:
            body["current_password"] = sys.stdin.readline().rstrip("\n")
    body["password"] = asked_for_password()
    client.api.put(_path(args.name, "/password"), body)
    if args.json:
        print_json({"user": args.name})
    else:
        print(say("{user} has a new password; all sessions ended.", user=args.name))
    return 0


COMMANDS = {
    "user ls": Doing(_ls_options, _ls),
    "user create": Doing(_create_options, _create),
    "user show": Doing(_named, _show),
    "user set": Doing(_set_options, _set),
    "user password": Doing(_named, _password),
}
