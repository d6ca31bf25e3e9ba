"""`suan up`: the platform on this machine, and the command line signed in to it."""

from __future__ import annotations

import gc
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from suanwang.edge.cli import tables
from suanwang.edge.cli.doing import Doing
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say

if TYPE_CHECKING:
    from suanwang.edge.server import Ready


def _options(parser: Parser) -> None:
    parser.option("--port", help="Port to listen at (8100; 0 takes a free one)", type=int)
    parser.option("--host", help="Address to listen at (127.0.0.1)")
    parser.option("--state", help="Folder of database, blobs and keys (.suan)", metavar="FOLDER")
    parser.option("--settings", help="YAML file of settings", type=Path, metavar="FILE")
    parser.flag("--local-site", help="Also serve this machine as a site named local")
    parser.flag("--rehearsal", help="The operator may put the clock forward")
    parser.flag("--json", help="One line of JSON once it is ready, and nothing else")
    parser.flag("--no-login", help="Leave this user's login file alone")


def _up(args: Args) -> int:
    from_start_s = time.perf_counter()
    # nothing of what is being loaded is garbage; looking for some takes a tenth of the start
    gc.disable()
    from suanwang.edge import server

    _log(args.json)
    rehearsal = args.rehearsal or None
    settings = server.settings_of(args.settings, args.state, args.host, args.port, rehearsal)

    def on_ready(ready: Ready) -> None:
        signed_in = _signed_in(ready, args.no_login)
        took_s = time.perf_counter() - from_start_s
        if args.json:
            _tell_programs(ready, took_s)
        else:
            _tell_people(ready, took_s, signed_in, args.local_site)

    server.run(settings, local_site=args.local_site, on_ready=on_ready)
    return 0


def _log(quiet: bool) -> None:
    import logging

    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.ERROR if quiet else logging.WARNING, format=form)


def _signed_in(ready: Ready, leave_alone: bool) -> Path | None:
    """The login file, if it knows a token of this platform: that of the first start, or one from
    before."""
    from suanwang.edge.client.logins import Login, config_path, read, save

    path = config_path()
    if ready.first is not None and ready.first.token is not None and not leave_alone:
        save(path, Login(ready.address, ready.first.token))
        return path
    return path if read(path)[1] == ready.address else None


def _tell_programs(ready: Ready, took_s: float) -> None:
    first = ready.first
    line = {
        "address": ready.address,
        "state": str(Path(ready.settings.state).absolute()),
        "ready_after_s": round(took_s, 3),
        "admin_login": first.admin_login if first else None,
        "admin_password": first.password if first else None,
        "token": first.token if first else None,
    }
    print(json.dumps(line), flush=True)


def _tell_people(ready: Ready, took_s: float, login_file: Path | None, local: bool) -> None:
    ended = say("Ready after {seconds} s. Ctrl-C stops it.", seconds=f"{took_s:.1f}")
    print(tables.styled(f"Suanwang  {ready.address}", "bold"), f" {ended}")
    fields = [(say("State"), str(Path(ready.settings.state).absolute()))]
    if local:
        fields.append((say("Site"), say("local: this machine")))
    if ready.first is not None:
        password = say("(shown only now)")
        fields.append(
            (say("Portal"), f"{ready.first.admin_login} / {ready.first.password}  {password}")
        )
    if login_file is not None:
        fields.append(("suan", say("signed in, see {path}", path=login_file)))
    else:
        fields.append(("suan", say("suan login --server {url} signs in", url=ready.address)))
    tables.show_fields(fields)
    following = "suan run --wait -- echo hello" if local else "suan site enrol NAME --region REGION"
    print(say("Next: {command}", command=following), flush=True)


COMMANDS = {"up": Doing(_options, _up)}
