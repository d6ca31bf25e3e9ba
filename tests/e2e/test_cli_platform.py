"""Running the platform from the command line: sites, people, money, sessions, starts and stops."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_platform import PATIENCE_S, SUAN, Platform, environment, platform_in

pytestmark = pytest.mark.xdist_group("cli-platform")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform_in(tmp_path_factory.mktemp("cli")) as found:
        yield found


def test_a_site_is_enrolled_serves_and_leaves(platform: Platform, tmp_path: Path) -> None:
    site = platform.json(
        *("site", "enrol", "lab", "--region", "north", "--city", "Erenhot", "--tariff", "0.35"),
        *("--lat", "43.65", "--lon", "111.98"),
    )
    assert site["tariff"] == [350_000] * 24
    taken = platform.suan("site", "enrol", "lab", "--region", "north")
    assert taken.returncode == 6
    again = platform.json("site", "enrol", "lab", "--again")
    assert again["enrolment_token"] != site["enrolment_token"]
    words = ("agent", "--server", platform.told["address"], "--state", str(tmp_path / "agent"))
    agent = subprocess.Popen(
        [*SUAN, *words, "--pool", "cpu", "--token", again["enrolment_token"]],
        stderr=subprocess.DEVNULL,
        env=environment(platform.config),
    )
    try:
        for _ in range(200):
            if platform.json("site", "show", "lab")["pools"]:
                break
        done = platform.suan("run", "--wait", "--site", "lab", "--", "echo", "here")
        assert done.stdout == "here\n"
        assert platform.json("site", "ls")[0]["reachable"]
        assert platform.json("offers")[0]["pool"] == "cpu"
        assert platform.json("site", "drain", "lab")["state"] == "draining"
        assert platform.json("site", "resume", "lab")["state"] == "active"
        pool = platform.json("site", "cordon", "lab", "cpu", "cpu-0")
        assert pool["nodes"][0]["cordoned"]
        platform.json("site", "cordon", "lab", "cpu", "cpu-0", "--off")
        assert "cpu-0" in platform.suan("site", "show", "lab").stdout
    finally:
        agent.terminate()
        assert agent.wait(timeout=PATIENCE_S) == 0
    assert platform.json("site", "revoke", "lab")["revoked"] == 1
    assert platform.json("site", "rm", "lab") == {"removed": "lab"}
    assert platform.json("site", "ls") == []


def test_the_cost_of_a_link_is_stated_seen_and_taken_back(platform: Platform) -> None:
    for name, lat, lon in (("here", "34.75", "113.62"), ("there", "42.83", "93.51")):
        platform.json("site", "enrol", name, "--region", "x", "--lat", lat, "--lon", lon)
    by_distance = platform.json("site", "links", "--from", "here")
    assert [(one["to_site"], one["source"]) for one in by_distance] == [("there", "distance")]
    cost = ("--yuan-per-gib", "0.30", "--seconds-per-gib", "12.5")
    made = platform.json("site", "link", "here", "there", *cost, "--both")
    assert [one["price_per_gib"]["micro_yuan"] for one in made] == [300_000, 300_000]
    platform.json("site", "unlink", "there", "here")
    (left,) = platform.json("site", "links")
    assert (left["from_site"], left["ms_per_gib"], left["source"]) == ("here", 12_500, "operator")
    assert platform.json("site", "links", "--from", "here")[0]["source"] == "operator"
    assert "0.30" in platform.suan("site", "links").stdout
    refused = platform.suan("site", "link", "here", "here", *cost)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    for name in ("here", "there"):
        platform.json("site", "rm", name)


def test_a_project_of_another_organisation_is_named_with_it(platform: Platform) -> None:
    platform.json("org", "create", "faculty")
    platform.json("project", "create", "lasers", "--org", "faculty")
    names = [line.split()[0] for line in platform.suan("project", "ls").stdout.splitlines()[1:]]
    assert {"faculty/lasers", "operator/default"} <= set(names)
    assert platform.json("project", "show", "faculty/lasers")["name"] == "lasers"
    assert platform.suan("bill", "-p", "faculty/lasers").returncode == 0
    bound = platform.json("token", "create", "ci", "--project", "faculty/lasers")
    assert bound["project_id"] == platform.json("project", "show", "faculty/lasers")["id"]
    for words in (("project", "show", "faculty/masers"), ("usage", "-p", "faculty/masers")):
        absent = platform.suan(*words)
        assert absent.returncode == 3
        assert "no project masers of faculty" in absent.stderr
        assert "suan project ls" in absent.stderr
        assert "/v1/" not in absent.stderr


def test_the_books_balance_and_what_was_wrong_is_reversed(platform: Platform) -> None:
    platform.json("project", "create", "books")
    platform.json("project", "topup", "books", "30", "--reference", "pay-books")
    (entry,) = platform.json("ledger", "entries", "-p", "books")
    assert (entry["kind"], entry["amount"]["yuan"]) == ("top_up", "30.00")
    done = platform.json("ledger", "reverse", entry["entry_id"], "--reason", "wrong project")
    assert not done["repeated"]
    again = platform.suan("ledger", "reverse", entry["entry_id"], "--reason", "wrong project")
    assert again.stdout.endswith("nothing changed.\n")
    reason = ("--reason", "goodwill", "--reference", "case-1")
    platform.json("ledger", "adjust", "books", "2.50", *reason)
    platform.json("ledger", "adjust", "books", "-1", "--reason", "half", "--reference", "2")
    assert platform.json("bill", "-p", "books")["account"]["balance"]["yuan"] == "1.50"
    assert "reversed: " in platform.suan("ledger", "entries", "-p", "books").stdout
    trial = platform.json("ledger", "trial", "--verify")
    assert trial["sums"]["CNY"]["micro_yuan"] == 0
    told = platform.suan("ledger", "trial", "--verify")
    assert (told.returncode, told.stderr) == (0, "Every balance agrees with its postings.\n")


def test_people_projects_and_money(platform: Platform) -> None:
    platform.json("org", "create", "physics", "--display-name", "Physics", "--kind", "consumer")
    made = platform.suan(
        *("user", "create", "li.hua", "--org", "physics", "--role", "admin", "--password"),
        stdin="four unrelated words here\n",
    )
    assert made.returncode == 0, made.stderr
    project = platform.json(
        *("project", "create", "atoms", "--org", "physics", "--quota", "cpus=64", "cards=8")
    )
    assert project["quota"]["cpu_milli"] == 64_000
    assert platform.json("project", "add", "physics/atoms", "li.hua")["role"] == "member"
    members = platform.json("project", "members", "physics/atoms")
    assert [one["login"] for one in members] == ["li.hua"]
    words = ("project", "topup", project["id"], "12.5", "--reference", "bank-1")
    assert platform.json(*words)["account"]["balance"]["micro_yuan"] == 12_500_000
    assert platform.json(*words)["repeated"], "the same payment is booked once"
    account = platform.json("project", "credit", project["id"], "100")
    assert account["available"]["micro_yuan"] == 112_500_000
    bill = platform.json("bill", "-p", project["id"])
    assert bill["statement"]["topped_up"]["micro_yuan"] == 12_500_000
    log = platform.json("org", "log", "-n", "3")
    assert log[0]["action"] == "project.credit_limit"


def test_signing_in_by_password_and_out(platform: Platform, tmp_path: Path) -> None:
    own = str(tmp_path / "own.yaml")
    stdin = f"{platform.told['admin_password']}\n"
    address = platform.told["address"]
    words = ("login", "--server", address, "--user", "admin")
    done = platform.suan(*words, stdin=stdin, SUAN_CONFIG=own)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "own.yaml").stat().st_mode & 0o777 == 0o600
    who = json.loads(platform.suan("whoami", "--json", SUAN_CONFIG=own).stdout)
    assert who["login"] == "admin"
    wrong = platform.suan(*words, stdin="no\n", SUAN_CONFIG=own)
    assert wrong.returncode == 4
    assert wrong.stderr.count("\n") == 1
    assert platform.suan("logout", SUAN_CONFIG=own).returncode == 0
    assert platform.suan("whoami", SUAN_CONFIG=own).returncode == 4
    revoked = [t for t in platform.json("token", "ls") if t["id"] == who["token_id"]]
    assert revoked[0]["revoked_at_ms"]


def test_a_token_of_few_scopes_does_no_more(platform: Platform) -> None:
    secret = platform.suan("token", "create", "reader", "--scope", "jobs:read").stdout.strip()
    address = platform.told["address"]
    assert platform.suan("ls", SUAN_SERVER=address, SUAN_TOKEN=secret).returncode == 0
    words = ("run", "--json", "--", "true")
    refused = platform.suan(*words, SUAN_SERVER=address, SUAN_TOKEN=secret)
    assert refused.returncode == 4
    assert refused.stdout == ""


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("lss",), 2, "Did you mean `suan ls`?"),
        (("site", "enroll"), 2, "Did you mean `suan site enrol`?"),
        (("ls", "--al"), 2, "Did you mean --all?"),
        (("run",), 2, "either a file or a command"),
        (("run", "nowhere.yaml"), 2, "no file nowhere.yaml"),
        (("show", "nothing"), 3, "no job"),
        (("run", "--memory", "much", "--", "true"), 2, "is not a size"),
        (("site", "enrol", "x"), 2, "--region"),
    ],
)
def test_failures_are_one_line_that_says_what_to_do(
    platform: Platform, words: tuple[str, ...], code: int, told: str
) -> None:
    done = platform.suan(*words)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert told in done.stderr


def test_a_server_that_is_not_there_is_named(platform: Platform) -> None:
    done = platform.suan("ls", SUAN_SERVER="http://127.0.0.1:9", SUAN_TOKEN="x")
    assert done.returncode == 5
    assert "http://127.0.0.1:9" in done.stderr
    assert done.stderr.count("\n") == 1


def test_chinese_by_variable(platform: Platform) -> None:
    assert "没有命令" in platform.suan("lss", SUAN_LANG="zh").stderr
    assert "作业" in platform.suan("--help", SUAN_LANG="zh_CN.UTF-8").stdout


def test_the_schema_is_whole_and_knows_local_files(platform: Platform) -> None:
    schema = json.loads(platform.suan("schema").stdout)
    text = json.dumps(schema)
    for part in text.split('"#/$defs/')[1:]:
        assert part.partition('"')[0] in schema["$defs"]
    assert "file" in schema["$defs"]["InputBlob"]["properties"]


def test_it_starts_again_on_its_state_and_two_do_not_share_a_port(tmp_path: Path) -> None:
    with platform_in(tmp_path) as first:
        assert first.told["admin_password"]
        port = first.told["address"].rpartition(":")[2]
        second = first.suan("up", "--port", port, "--state", str(tmp_path / "other"))
        assert second.returncode == 2
        assert "--port" in second.stderr
    with platform_in(tmp_path) as again:
        assert again.told["admin_password"] is None
        assert again.suan("ls", SUAN_SERVER=again.told["address"]).returncode == 4


def test_a_programme_from_the_profile_to_the_clawback(platform: Platform) -> None:
    """The operator's own organisation plays both parts: provider and university."""
    platform.json("org", "create", "henu", "--kind", "consumer", "--kind", "provider")
    platform.json("project", "create", "vision", "--org", "henu")
    assert len(platform.json("programme", "ls")) >= 22
    told = platform.suan("programme", "show", "henan", SUAN_LANG="zh").stdout
    assert "合同的 20%。" in told
    profile = platform.json(
        *("org", "profile", "henu", "--full-name", "Henan University", "--kind", "university"),
        *("--code", "91350100M000100Y43", "--region", "henan/kaifeng"),
        *("--facility", "supercomputing", "--pflops", "200"),
    )
    assert profile["verified_at"]
    wanted = ("--amount", "1000", "--provider", "henu")
    refused = platform.suan("programme", "check", "zhengzhou", *wanted, "--org", "henu")
    assert refused.returncode == 1
    assert "WrongRegion: " in refused.stdout
    closed = platform.suan("programme", "check", "henan", *wanted, "--org", "henu", "--json")
    assert [one["reason"] for one in json.loads(closed.stdout)["refusals"]] == ["BudgetNotOpen"]
    year = str(time.gmtime(time.time() + 8 * 3_600).tm_year)
    platform.json("programme", "budget", "henan", year, "--pool", "100")
    applied = platform.json("programme", "apply", "henan", *wanted, "-p", "henu/vision")
    assert platform.json("programme", "applications", "--state", "submitted") == [applied]
    too_much = platform.suan("programme", "grant", applied["id"])
    assert "budget is used up" in too_much.stderr  # 20 % of 1,000 is more than the pool of 100
    platform.json("programme", "budget", "henan", year, "--pool", "1000")
    wrong = platform.suan("programme", "grant", applied["id"], "--percent", "21")
    assert "percent must be from 20 to 20" in wrong.stderr
    voucher = platform.json("programme", "grant", applied["id"], "--remark", "welcome")
    assert voucher["amount"]["yuan"] == "200.00"
    assert platform.json("voucher", "ls", "-p", "henu/vision")[0]["id"] == voucher["id"]
    assert "200.00" in platform.suan("voucher", "show", voucher["id"]).stdout
    platform.json("voucher", "audit", voucher["id"], "breach")
    ended = platform.json(
        "voucher", "claw-back", voucher["id"], "false_evidence", "--remark", "no such contract"
    )
    assert ended["state"] == "reclaimed"
    assert platform.json("ledger", "trial", "--verify")["sums"]["voucher:henan"]["micro_yuan"] == 0


def test_four_eyes_over_payouts_and_letters_over_a_part(platform: Platform) -> None:
    found = platform.json("payout", "rule")
    assert (found["in_force"], found["operators"]) == (True, 1)
    mute = platform.suan("payout", "rule", "--alone")
    assert (mute.returncode, "--reason TEXT" in mute.stderr) == (2, True)
    both = platform.suan("payout", "rule", "--alone", "--four-eyes", "--reason", "x")
    assert "opposite" in both.stderr
    assert not platform.json("payout", "rule", "--alone", "--reason", "one of us")["in_force"]
    told = platform.suan("payout", "rule", SUAN_LANG="zh").stdout
    assert "仅一位运营人员" in told
    assert "one of us" in told
    assert platform.json("payout", "rule", "--four-eyes", "--reason", "two now")["in_force"]
    wrong = platform.suan("invoice", "reverse", "inv_1", "--line", "12.50")
    assert "12.50 is no line and amount" in wrong.stderr
    gone = platform.suan("invoice", "reverse", "inv_1", "--line", "1=12.50")
    assert "There is no invoice" in gone.stderr
