"""`suan login`, `logout`, `whoami`, `version`."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any

import suanwang
from suanwang.edge.cli import errors, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.tokens import SCOPES
from suanwang.edge.cli.words import say
from suanwang.kernel.errors import InvalidInput, SuanwangError

if TYPE_CHECKING:
    from suanwang.edge.client.http import Api

SIGN_IN = "/v1/session"


def _login_options(parser: Parser) -> None:
    parser.common()
    parser.flag("--browser", help="Confirm in a browser, here or on another machine")
    parser.option("--user", help="Login name; the password is asked for", metavar="NAME")
    parser.option("--token", help="A token from the portal; - reads it from stdin", metavar="TOKEN")
    parser.option("--project", help="Whose money, when a command names none", metavar="NAME")
    parser.option(
        "--scope",
        help="What it may do; all that you may by default",
        action="append",
        choices=SCOPES,
    )
    parser.option(
        "--days", help="How long the new token is valid", type=int, default=90, metavar="N"
    )
    parser.option("--ca-file", help="Certificates to trust", metavar="FILE", default="")
    parser.flag("--no-open", help="Show the address, open no browser")


def _login(args: Args) -> int:
    from suanwang.edge.client import logins
    from suanwang.edge.client.http import Api

    path = logins.config_path()
    server = args.server or os.environ.get("SUAN_SERVER") or logins.read(path)[1]
    server = (server or logins.DEFAULT_SERVER).rstrip("/")
    token = _token(args, Api(server, ca_file=args.ca_file))
    who = Api(server, token, ca_file=args.ca_file).get(SIGN_IN)
    logins.save(path, logins.Login(server, token, args.project or "", args.ca_file))
    if args.json:
        print_json({"server": server, "login": who["login"]})
    else:
        print(say("Signed in at {server} as {login}.", server=server, login=who["login"]))
    return 0


def _token(args: Args, api: Api) -> str:
    if args.token:
        return str(sys.stdin.readline().strip() if args.token == "-" else args.token)
    from suanwang.edge.client import signing_in

    if not args.user and (args.browser or signing_in.ways(api)["single_sign_on"]):
        return _token_by_browser(args, api)
    name = args.user or _asked(say("Login: "))
    return _token_for_password(args, api, name, _asked(say("Password: "), secret=True))


def _token_by_browser(args: Args, api: Api) -> str:
    """The code is shown here and there: who sees two different ones is being deceived."""
    from suanwang.edge.client import signing_in

    begun = signing_in.begin(api, _machine(), args.scope, args.days)
    opened = not args.no_open and signing_in.can_open_browser()
    opened = opened and signing_in.open_browser(begun.address_with_code)
    if opened:
        errors.tell(say("A browser opens at {address}", address=begun.address))
        errors.tell(say("Confirm there if it shows this code:"))
    else:
        errors.tell(say("Open {address} on any machine and type this code:", address=begun.address))
    errors.tell(f"  {begun.user_code}")
    minutes = begun.expires_in_s // 60
    errors.tell(say("It is valid for {minutes} minutes. Waiting…", minutes=minutes))
    return signing_in.token_of(api, begun)


def _machine() -> str:
    return socket.gethostname()[:60] or "?"


def _asked(question: str, *, secret: bool = False) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    if secret:
        import getpass

        return getpass.getpass(question)
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _token_for_password(args: Args, api: Api, name: str, password: str) -> str:
    """Sign in as a browser does, make a token, sign out again."""
    import json

    body = json.dumps({"login": name, "password": password}).encode()
    reply = api.call("POST", SIGN_IN, body=body, headers={"Content-Type": "application/json"})
    cookie = (reply.headers.get("Set-Cookie") or "").partition(";")[0]
    session = json.loads(reply.read())
    headers = {"Cookie": cookie, "X-CSRF-Token": session["csrf_token"] or ""}
    wanted = {"name": f"suan on {_machine()}", "scopes": args.scope, "days": args.days}
    made = api.post("/v1/tokens", wanted, headers=headers)
    api.call("DELETE", SIGN_IN, headers=headers).read()
    return str(made["secret"])


def _logout_options(parser: Parser) -> None:
    parser.common()
    parser.flag("--keep-token", help="Forget the token here, but do not end it at the server")


def _logout(args: Args) -> int:
    from suanwang.edge.client import logins

    path = logins.config_path()
    known, chosen = logins.read(path)
    server = (args.server or chosen).rstrip("/")
    if server not in known:
        raise InvalidInput("NotSignedIn", say("You are not signed in."))
    if not args.keep_token:
        try:
            client = client_of(args)
            token_id = client.api.get(SIGN_IN)["token_id"]
            client.api.delete(f"/v1/tokens/{token_id}")
        except SuanwangError as error:
            errors.tell(errors.one_line(error))
    logins.forget(path, server)
    if args.json:
        print_json({"server": server})
    else:
        print(say("Signed out of {server}.", server=server))
    return 0


def _common(parser: Parser) -> None:
    parser.common()


def _whoami(args: Args) -> int:
    client = client_of(args)
    who: dict[str, Any] = client.api.get(SIGN_IN)
    who.pop("csrf_token", None)
    who["server"] = client.server
    who["project"] = client.project
    if args.json:
        print_json(who)
        return 0
    organisation = client.api.get(f"/v1/organisations/{who['organisation_id']}")
    tables.show_fields(
        [
            (say("Login"), who["login"]),
            (say("Role"), who["role"]),
            (say("Organisation"), f"{organisation['name']}  ({organisation['id']})"),
            (say("Server"), who["server"]),
            (say("Project"), who["project"] or ""),
            (say("Scopes"), ", ".join(who["scopes"])),
            (say("Suspended"), say("yes: you may read, no more") if who["suspended"] else ""),
        ]
    )
    return 0


def _version(args: Args) -> int:
    versions = {"suan": suanwang.__version__, "server": None}
    try:
        versions["server"] = client_of(args).api.get("/v1/version")["version"]
    except SuanwangError as error:
        if not args.json:
            errors.tell(errors.one_line(error))
    if args.json:
        print_json(versions)
    else:
        tables.show_fields([("suan", versions["suan"] or ""), ("server", versions["server"] or "")])
    return 0


COMMANDS = {
    "login": Doing(_login_options, _login),
    "logout": Doing(_logout_options, _logout),
    "whoami": Doing(_common, _whoami),
    "version": Doing(_common, _version),
}
