"""`suan agent`: serve this machine, or a cluster that it can reach, as a site."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from suanwang.edge.cli.doing import Doing
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say
from suanwang.kernel.errors import InvalidInput

if TYPE_CHECKING:
    from suanwang.agent.config import AgentConfig, PoolConfig

TOKEN_VARIABLE = "SUAN_ENROLMENT_TOKEN"
PR_SET_PDEATHSIG = 1
SIGTERM = 15


def _options(parser: Parser) -> None:
    parser.option("--config", help="YAML file of the agent", type=Path, metavar="FILE")
    parser.option("--server", help="Address of the platform", metavar="URL")
    parser.option("--state", help="Folder of records and runs", metavar="FOLDER")
    parser.option(
        "--pool",
        help="NAME (process), NAME=slurm or NAME=slurm:PARTITION; may be repeated",
        action="append",
        metavar="POOL",
    )
    parser.option("--token", help="One-time token of `suan site enrol`", metavar="TOKEN")
    parser.option("--ca-file", help="Certificates to trust", metavar="FILE", default="")
    parser.flag("--verbose", help="Say more")
    parser.option("--with-parent", help="Leave when this process, its parent, ends", type=int)


def _agent(args: Args) -> int:
    import asyncio
    import logging

    from suanwang.agent.main import serve

    if args.with_parent:
        _leave_with_parent(args.with_parent)
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format=form)
    logging.getLogger("suanwang").setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    token = args.token or os.environ.pop(TOKEN_VARIABLE, None)
    asyncio.run(serve(_config(args), token))
    return 0


def _config(args: Args) -> AgentConfig:
    from suanwang.agent.config import AgentConfig, load_config

    if args.config is not None:
        return load_config(args.config)
    if not args.server:
        raise InvalidInput(
            "UsageWrong",
            say("suan agent needs --config FILE, or --server URL."),
            hint=say("See `{prog} --help`.", prog="suan agent"),
        )
    pools = [_pool(text) for text in args.pool or ["machine"]]
    state = args.state or str(Path("~/.local/state/suanwang/agent").expanduser())
    return AgentConfig(
        server=args.server, state=str(Path(state).absolute()), pools=pools, ca_file=args.ca_file
    )


def _pool(text: str) -> PoolConfig:
    from suanwang.agent.config import PoolConfig

    name, _, driver = text.partition("=")
    kind, _, partition = driver.partition(":")
    options = {"partition": partition} if partition else {}
    return PoolConfig(name=name, driver=kind or "process", options=options)


def _leave_with_parent(parent: int) -> None:
    """Linux tells a process of its parent's death; a parent already gone is seen at once."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(0)


COMMANDS = {"agent": Doing(_options, _agent)}
