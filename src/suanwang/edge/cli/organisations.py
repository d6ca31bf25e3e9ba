"""`suan org …`: organisations and the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from suanwang.edge.cli import errors, figures, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say
from suanwang.edge.client.http import segment

if TYPE_CHECKING:
    from suanwang.edge.client.client import Client


def given(args: Args, *names: str) -> dict[str, Any]:
    """The named options that were given."""
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def _common(parser: Parser) -> None:
    parser.common()


def _ls(args: Args) -> int:
    found = list(client_of(args).api.pages("/v1/organisations", {"limit": 500}))
    if args.json:
        print_json(found)
        return 0
    rows = [
        [
            one["name"],
            one["state"],
            str(one["weight"]),
            ", ".join(one["kinds"]),
            one["display_name"],
        ]
        for one in found
    ]
    headings = [say(h) for h in ("NAME", "STATE", "WEIGHT", "KINDS", "DISPLAY NAME")]
    tables.show(headings, rows, right=(2,), states=1)
    return 0


def _create_options(parser: Parser) -> None:
    parser.option("name", help="Short name", metavar="NAME")
    parser.common()
    parser.option("--display-name", help="As pages show it", metavar="TEXT")
    parser.option(
        "--kind",
        help="What it does; may be repeated",
        action="append",
        choices=("consumer", "provider"),
    )
    parser.option("--weight", help="Fair share against the others (100)", type=int, metavar="N")


def _create(args: Args) -> int:
    body = {"name": args.name, "display_name": args.display_name or args.name}
    if args.kind:
        body["kinds"] = args.kind
    made = client_of(args).api.post("/v1/organisations", {**body, **given(args, "weight")})
    return shown(args, made)


def shown(args: Args, made: dict[str, Any]) -> int:
    """An object of the tenancy, field by field."""
    if args.json:
        print_json(made)
        return 0
    tables.show_fields([(say(_title(name)), _text(name, value)) for name, value in made.items()])
    return 0


def names_of(client: Client, found: list[dict[str, Any]]) -> dict[str, str]:
    """'NAME/' by id, where the objects are of several organisations; else nothing to tell apart."""
    if len({one["organisation_id"] for one in found}) < 2:
        return {}
    known = client.api.pages("/v1/organisations", {"limit": 500})
    return {one["id"]: f"{one['name']}/" for one in known}


def _title(name: str) -> str:
    text = name.removesuffix("_ms").replace("_", " ")
    return text[:1].upper() + text[1:]


def _text(name: str, value: Any) -> str:
    if value is None or value == []:
        return ""
    if name.endswith("_at_ms"):
        return figures.local_ms(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, bool):
        return say("yes") if value else say("no")
    return str(value)


def _named(parser: Parser) -> None:
    parser.option("name", help="Name or id", metavar="NAME")
    parser.common()


def _show(args: Args) -> int:
    return shown(args, client_of(args).api.get(f"/v1/organisations/{segment(args.name)}"))


def _set_options(parser: Parser) -> None:
    _named(parser)
    parser.option("--display-name", help="As pages show it", metavar="TEXT")
    parser.option("--weight", help="Fair share against the others", type=int, metavar="N")
    parser.option("--state", help="Suspend it, or lift that", choices=("active", "suspended"))


def _set(args: Args) -> int:
    body = given(args, "display_name", "weight", "state")
    return shown(args, client_of(args).api.patch(f"/v1/organisations/{segment(args.name)}", body))


def _log_options(parser: Parser) -> None:
    parser.common()
    parser.option("--org", help="Of this organisation", metavar="NAME")
    parser.option("--target", help="Of the object with this id", metavar="ID")
    parser.option("-n", "--limit", help="At most so many", type=int, default=50, metavar="N")


def _log(args: Args) -> int:
    from itertools import islice

    query = {"organisation": args.org, "target": args.target, "limit": min(args.limit, 500)}
    found = list(islice(client_of(args).api.pages("/v1/audit-log", query), args.limit))
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("Nothing was done."))
        return 0
    rows = [
        [
            figures.local_ms(one["at_ms"]),
            one["actor"] or one["actor_user_id"],
            one["action"],
            one["target_id"],
            " ".join(_detail(key, value) for key, value in one["detail"].items()),
        ]
        for one in found
    ]
    tables.show([say(h) for h in ("AT", "WHO", "ACTION", "TARGET", "DETAIL")], rows)
    return 0


def _detail(key: str, value: Any) -> str:
    """'scopes=jobs:read,jobs:write', 'amount=5.00'."""
    if isinstance(value, int) and key.endswith("_micro_yuan"):
        return f"{key.removesuffix('_micro_yuan')}={figures.yuan({'micro_yuan': value})}"
    text = _text(key, value).replace(", ", ",") if not isinstance(value, str) else value
    return f"{key}={text or '–'}"


COMMANDS = {
    "org ls": Doing(_common, _ls),
    "org create": Doing(_create_options, _create),
    "org show": Doing(_named, _show),
    "org set": Doing(_set_options, _set),
    "org log": Doing(_log_options, _log),
}
