"""Starting the platform and its sites, and admitting organisations: all of it over HTTP."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from suanwang.demo import stage
from suanwang.demo.household import Household
from suanwang.edge.client.client import Client
from suanwang.edge.client.http import Api
from suanwang.edge.client.logins import Login, save
from suanwang.kernel.errors import Conflict, Unavailable

KNOWN = "demo.json"
CONFIG = "suan.yaml"
START_S = 60.0
LOOK_S = 0.05
SUAN = (sys.executable, "-m", "suanwang.edge.cli.main")
TOKEN_VARIABLE = "SUAN_ENROLMENT_TOKEN"


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who can sign in."""

    login: str
    password: str
    token: str


@dataclass(frozen=True, slots=True)
class Running:
    """The platform once it answers."""

    address: str
    operator: Account
    users: dict[str, Account]
    """By name of the organisation."""

    def client(self, account: Account, project: str | None = None) -> Client:
        return Client(self.address, account.token, project=project)


def start_server(home: Household, folder: Path, port: int, more: Sequence[str] = ()) -> Running:
    """The platform as a process of its own. Raises Unavailable with its last words."""
    taken = not _is_free(port)
    words = ["up", "--json", "--no-login", "--state", str(folder / "platform")]
    words += ["--port", "0" if taken else str(port), *more]
    pid = home.start("platform", [*SUAN, *words], stage.environment())
    answer = folder / "logs" / "platform.out"
    _wait(home, "platform", pid, lambda: answer.read_bytes().endswith(b"\n"))
    told = json.loads(answer.read_text(encoding="utf-8"))
    earlier = _remembered(folder)
    operator = earlier.operator if earlier else Account("", "", "")
    if told["token"]:
        operator = Account(told["admin_login"], told["admin_password"], told["token"])
    answer.write_text("ready\n")  # the secrets go where they are kept
    running = Running(told["address"], operator, earlier.users if earlier else {})
    _remember(folder, running)
    return running


def start_sites(
    home: Household,
    folder: Path,
    running: Running,
    isolate: str,
    owners: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """One agent each, enrolled with a one-time token; ready when all pools are offered. `owners`:
    site → its provider's name, the operator's where it is none. The agents' pids by site."""
    api = running.client(running.operator).api
    pids = {}
    for site in stage.SITES:
        state = folder / "sites" / site.name
        state.mkdir(parents=True, exist_ok=True)
        config = state / "agent.yaml"
        told = stage.agent_config(site, running.address, state, isolate)
        config.write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
        environment = stage.environment()
        if not (state / "credential").exists():
            owner = (owners or {}).get(site.name)
            environment[TOKEN_VARIABLE] = _invite(api, site, owner)
        pids[site.name] = home.start(
            site.name, [*SUAN, "agent", "--config", str(config)], environment
        )
    wanted = {(site.name, one["name"]) for site in stage.SITES for one in site.pools}
    for site in stage.SITES:
        name = site.name
        _wait(home, name, pids[name], lambda: _reachable(api, name))  # noqa: B023
    _wait(home, name, pids[name], lambda: wanted <= _offered(api))
    return pids


def admit(
    folder: Path, running: Running, parties: Sequence[stage.Party] = stage.PARTIES
) -> Running:
    """Organisations with a project, a user and money; those known from before stay."""
    operator = running.client(running.operator)
    api = operator.api
    users = dict(running.users)
    for party in parties:
        if party.name in users:
            continue
        organisation = {"name": party.name, "display_name": party.display_name}
        api.post("/v1/organisations", {**organisation, "kinds": list(party.kinds)})
        api.post("/v1/projects", {"name": party.project, "organisation": party.name})
        password = "-".join(secrets.token_hex(3) for _ in range(3))
        api.post(
            "/v1/users",
            {
                "login": party.login,
                "password": password,
                "organisation": party.name,
                "role": "admin",
            },
        )
        project = project_id(api, party)
        payment = {"amount": {"yuan": party.yuan}, "payment_reference": f"demo-{party.name}"}
        api.post(f"/v1/projects/{project}/top-up", payment)
        token = token_for(running.address, party.login, password)
        users[party.name] = Account(party.login, password, token)
    known = Running(running.address, running.operator, users)
    operator.close()
    _remember(folder, known)
    first, *_ = parties
    logins = {party.login: (users[party.name].token, party.project) for party in parties}
    logins["admin"] = (running.operator.token, "")
    for login, (token, project) in logins.items():
        name = CONFIG if login == first.login else f"suan-{login}.yaml"
        save(folder / name, Login(running.address, token, project))
    return known


def project_id(api: Api, party: stage.Party) -> str:
    query = {"organisation": party.name, "limit": 100}
    found = {one["name"]: one["id"] for one in api.pages("/v1/projects", query)}
    return str(found[party.project])


def token_for(address: str, login: str, password: str) -> str:
    """As a browser does: sign in, make a token, sign out."""
    api = Api(address)
    body = json.dumps({"login": login, "password": password}).encode()
    headers = {"Content-Type": "application/json"}
    reply = api.call("POST", "/v1/session", body=body, headers=headers)
    cookie = (reply.headers.get("Set-Cookie") or "").partition(";")[0]
    session = json.loads(reply.read())
    headers = {"Cookie": cookie, "X-CSRF-Token": session["csrf_token"] or ""}
    made = api.post("/v1/tokens", {"name": "demo", "days": 30}, headers=headers)
    api.call("DELETE", "/v1/session", headers=headers).read()
    api.close()
    return str(made["secret"])


def _invite(api: Api, site: stage.Site, owner: str | None) -> str:
    about = site.about if owner is None else {**site.about, "organisation": owner}
    try:
        made = api.post("/v1/sites", {"name": site.name, **about})
    except Conflict:  # known from before, but its agent has lost its credential
        made = api.post(f"/v1/sites/{site.name}/token")
    return str(made["enrolment_token"])


def _reachable(api: Api, name: str) -> bool:
    return bool(api.get(f"/v1/sites/{name}")["reachable"])


def _offered(api: Api) -> set[tuple[str, str]]:
    return {(one["site"], one["pool"]) for one in api.get("/v1/offers")["items"]}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _wait(home: Household, name: str, pid: int, holds: Callable[[], bool]) -> None:
    until = time.monotonic() + START_S
    while not holds():
        dead = not home.is_alive(pid)
        if dead or time.monotonic() > until:
            why = "ended" if dead else f"is not ready after {START_S:g} s"
            raise Unavailable(
                "DemoProcessFailed",
                f"{name} {why}. It said:\n{home.log_of(name) or '(nothing)'}",
                hint="Is another demo running, or the disk full? `make demo-stop` ends one.",
            )
        time.sleep(LOOK_S)


def _remember(folder: Path, running: Running) -> None:
    path = folder / KNOWN
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(running), file, indent=2)


def _remembered(folder: Path) -> Running | None:
    try:
        data: dict[str, Any] = json.loads((folder / KNOWN).read_text(encoding="utf-8"))
        users = {name: Account(**one) for name, one in data["users"].items()}
        return Running(data["address"], Account(**data["operator"]), users)
    except (OSError, ValueError, TypeError, KeyError):
        return None
