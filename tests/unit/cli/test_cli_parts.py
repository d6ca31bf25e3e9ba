"""Parts of the command line that need no server."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from suanwang.edge.cli import completion, figures, jobs, specfiles, tables
from suanwang.edge.cli.commands import ALL, Command
from suanwang.edge.cli.doing import Doing
from suanwang.edge.cli.errors import exit_code, one_line
from suanwang.edge.cli.main import find
from suanwang.edge.cli.organisations import _detail
from suanwang.edge.cli.parsing import Args, key_values
from suanwang.edge.cli.projects import UNLIMITED, quota_of, quota_text
from suanwang.edge.cli.run import _options as run_options
from suanwang.edge.cli.run import _tell_impossible
from suanwang.edge.cli.sites import tariff_of
from suanwang.edge.cli.tokens import _state
from suanwang.edge.client import logins
from suanwang.edge.client.http import Api
from suanwang.edge.client.specs import local_paths, with_digests
from suanwang.kernel.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    PermanentError,
    Unauthenticated,
    Unavailable,
)


def test_columns_count_chinese_as_two_and_align() -> None:
    lines = tables.render(["名称", "N"], [["a", "1"], ["算力网", "22"]], right=(1,))
    assert lines == ["名称     N", "a        1", "算力网  22"]
    assert {tables.width(line) for line in lines} == {10}


def test_what_is_too_wide_is_cut_with_an_ellipsis() -> None:
    assert tables.cut("abcdef", 4) == "abc…"
    assert tables.cut("算力网络", 5) == "算力…"
    assert tables.cut("abc", 3) == "abc"


def test_other_peoples_texts_cannot_steer_the_terminal() -> None:
    line = tables.render(["NAME"], [["a\x1b[2Jb\nc"]])[1]
    assert line == "a [2Jb c"
    assert one_line(NotFound("X", "no \x1b]0;x\x07 job")) == "no  ]0;x  job"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.4, "59s"), (60, "1m00s"), (3_725, "1h02m"), (90_000, "1d01h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert figures.duration(seconds) == text


@pytest.mark.parametrize(
    ("micro", "text"),
    [(0, "0.00"), (-18, "-0.000018"), (1_234_500_000, "1,234.50"), (65_000, "0.065")],
)
def test_money_is_never_rounded(micro: int, text: str) -> None:
    assert figures.yuan({"micro_yuan": micro}) == text


def test_ages_end_where_they_are_told() -> None:
    assert figures.age("2026-01-01T00:00:00.000Z", "2026-01-01T00:01:05.000Z") == "1m05s"
    assert figures.age(None) == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermanentError("X", "x"), 1),
        (InvalidInput("X", "x"), 2),
        (NotFound("X", "x"), 3),
        (Unauthenticated("X", "x"), 4),
        (Forbidden("X", "x"), 4),
        (Unavailable("X", "x"), 5),
        (Conflict("X", "x"), 6),
        (Unavailable("WaitTimedOut", "x"), 7),
    ],
)
def test_exit_codes_are_as_documented(error: PermanentError, code: int) -> None:
    assert exit_code(error) == code


def test_an_error_is_one_line_with_its_hint() -> None:
    assert one_line(NotFound("X", "It is\nnot here.", hint="Look there.")) == (
        "It is not here. Look there."
    )


def test_every_command_is_where_the_list_says() -> None:
    from importlib import import_module

    for name, command in ALL.items():
        module = import_module(f"suanwang.edge.cli.{command.module}")
        doing = module.COMMANDS[name]
        assert isinstance(doing, Doing)
        assert doing.parser(command).format_help()


def test_other_launchers_names_are_understood() -> None:
    assert find(["ps"])[0] is ALL["ls"]
    assert find(["site", "list"])[0] is ALL["site ls"]
    assert find(["site"]) == (None, [])
    with pytest.raises(InvalidInput, match="Did you mean `suan cancel`"):
        find(["cancle"])


def test_words_after_the_dashes_are_the_program() -> None:
    seen: list[object] = []

    def run(args: Args) -> int:
        seen.append((args.wait, args.program))
        return 0

    doing = Doing(run_options, run, takes_program=True)
    assert doing(Command("run", "run", ""), ["-w", "--", "ls", "--", "-w"]) == 0
    assert seen == [(True, ["ls", "--", "-w"])]


def test_completion_knows_commands_options_and_choices() -> None:
    assert "enrol" in completion.candidates(["site"])
    assert "--follow" in completion.candidates(["logs"])
    assert "queued" in completion.candidates(["ls", "--state"])
    assert completion.candidates(["completion"])[:3] == ["bash", "zsh", "fish"]
    assert completion.candidates(["run", "--", "x"]) == []
    assert completion.candidates(["nonsense"]) == []


# --- specifications --------------------------------------------------------------------------


def test_documents_and_lists_are_all_specifications() -> None:
    text = "name: a\n---\n- name: b\n- name: c\n---\n"
    assert [spec["name"] for spec in specfiles.parse(text, "x")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "told"),
    [("a: 1\n b: 2", "x:2:"), ("- 3", "mapping of fields"), ("", "no specification")],
)
def test_a_broken_file_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        specfiles.parse(text, "x")


def test_the_command_line_overrides_the_file() -> None:
    doing = Doing(run_options, lambda _: 0)
    parser = doing.parser(ALL["run"])
    words = "f --cpus 4 --env A=1 --output x/out.txt --site lab --name n --max-price 2"
    spec = {"env": {"B": "2"}, "resources": {"memory": "1GiB"}, "command": "true"}
    assert specfiles.overridden(spec, parser.parse_args(words.split())) == {
        "command": "true",
        "name": "n",
        "max_price": 2.0,
        "env": {"A": "1", "B": "2"},
        "resources": {"memory": "1GiB", "cpus": 4.0},
        "outputs": {"out.txt": "x/out.txt"},
        "constraints": {"sites": ["lab"]},
    }


def test_local_files_become_digests(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "a.bin").write_bytes(b"a")
    spec = {
        "workdir": "code",
        "inputs": {"a": {"path": "in", "file": "a.bin"}, "b": {"digest": "d"}},
    }
    assert local_paths(spec, tmp_path) == [tmp_path / "code", tmp_path / "a.bin"]
    ready = with_digests(spec, tmp_path, lambda path: (f"sha256:{path.name}", path.is_dir()))
    assert ready["workdir"] == "sha256:code"
    assert ready["inputs"]["a"] == {"path": "in", "digest": "sha256:a.bin", "tree": False}
    assert spec["workdir"] == "code", "what was given is not changed"


@pytest.mark.parametrize(
    "spec",
    [
        {"workdir": "absent"},
        {"inputs": {"a": {"file": "absent"}}},
        {"inputs": {"a": {"file": ".", "digest": "d"}}},
    ],
)
def test_local_files_that_cannot_be_sent(tmp_path: Path, spec: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        local_paths(spec, tmp_path)


# --- options ---------------------------------------------------------------------------------


def test_pairs_tariffs_and_quotas() -> None:
    assert key_values(["A=1=2"], "--env") == {"A": "1=2"}
    with pytest.raises(InvalidInput):
        key_values(["A"], "--env")
    assert tariff_of("0.5") == [500_000] * 24
    with pytest.raises(InvalidInput):
        tariff_of("0.5,0.6")
    quota = quota_of(["cpus=1.5"])
    assert quota is not None
    assert (quota["cpu_milli"], quota["disk_mib"]) == (1_500, UNLIMITED)
    with pytest.raises(InvalidInput):
        quota_of(["wheels=4"])


# --- logins ----------------------------------------------------------------------------------


def test_logins_are_private_and_by_server(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "config.yaml"
    environ = {"SUAN_CONFIG": str(path)}
    with pytest.raises(Unauthenticated):
        logins.current(environ=environ)
    logins.save(path, logins.Login("http://a", "t1"))
    logins.save(path, logins.Login("http://b", "t2", project="p"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert logins.current(environ=environ) == logins.Login("http://b", "t2", "p")
    assert logins.current("http://a/", environ=environ).token == "t1"
    assert logins.current(environ={**environ, "SUAN_TOKEN": "t3"}).token == "t3"
    logins.forget(path, "http://b")
    assert logins.current(environ=environ).server == "http://a"


def test_logins_written_by_hand_as_yaml(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("current: http://a\nlogins:\n  http://a: {token: t}\n")
    assert logins.current(environ={"SUAN_CONFIG": str(path)}).token == "t"
    path.write_text("current: [")
    with pytest.raises(InvalidInput):
        logins.read(path)


@pytest.mark.parametrize("server", ["", "example.org", "ftp://x", "http://"])
def test_an_address_that_is_none_is_refused(server: str) -> None:
    with pytest.raises(InvalidInput):
        Api(server)


def test_loading_stays_light() -> None:
    """What the most frequent command loads decides how long it takes."""
    import subprocess

    code = (
        "import sys, json; from suanwang.edge.cli import jobs, main; "
        "from suanwang.edge.client import client; print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.load(io.StringIO(done.stdout)))
    heavy = {
        "yaml",
        "rich",
        "httpx",
        "pydantic",
        "typer",
        "asyncio",
        "msgspec",
        "concurrent.futures",
    }
    assert not loaded & heavy


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--cpus", "x"], "--cpus takes a number, not x."),
        (["--cpus"], "--cpus needs a value."),
        (["--cpsu", "1"], "Not understood: --cpsu."),
    ],
)
def test_a_wrong_option_is_named_in_one_plain_line(words: list[str], complaint: str) -> None:
    with pytest.raises(InvalidInput) as error:
        Doing(run_options, lambda _args: 0)(ALL["run"], words)
    line = one_line(error.value)
    assert line.startswith(complaint)
    assert "--help`" in line or "Did you mean --cpus?" in line


def test_a_wrong_choice_and_what_is_missing_are_named() -> None:
    for name, words, complaint in (
        ("ls", ["--state", "dead"], "--state does not know dead; it knows "),
        ("cancel", [], "Missing: ID. See `suan cancel --help`."),
    ):
        with pytest.raises(InvalidInput) as error:
            jobs.COMMANDS[name](ALL[name], words)
        assert one_line(error.value).startswith(complaint)


def test_a_complaint_and_its_hint_are_two_sentences() -> None:
    error = InvalidInput("X", "memory: '3X' is not a size; write 64 (GiB)", hint="Mend it.")
    assert one_line(error) == "memory: '3X' is not a size; write 64 (GiB). Mend it."
    assert one_line(InvalidInput("X", "Is it?", hint="No.")) == "Is it? No."


@pytest.mark.parametrize(
    ("content", "told", "next_step"),
    [
        (None, "Is a directory", "Name a YAML file"),
        (b"\x89PNG\xff", "no text in UTF-8", "suan run -- "),
        (b"# nothing\n", "holds no specification", "command: echo hello"),
    ],
)
def test_a_file_that_is_none_says_what_to_do(
    content: bytes | None, told: str, next_step: str, tmp_path: Path
) -> None:
    path = tmp_path if content is None else tmp_path / "job.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput) as found:
        specfiles.load(str(path))
    assert told in found.value.message
    assert "Errno" not in found.value.message
    assert next_step in found.value.hint


def test_a_job_that_nobody_takes_is_not_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    specs = [{}, {"on_impossible": "wait"}, {}]
    plans = [{"feasible": False}, {"feasible": False}, {"feasible": True}]
    _tell_impossible(specs, plans, ["job_aaaaaaaa11111111", "job_bbbbbbbb22222222", "job_c"])
    refused, waits = capsys.readouterr().err.splitlines()
    assert refused.endswith("it is refused. See: suan explain 11111111")
    assert waits.endswith("it waits until one can. See: suan explain 22222222")


def test_a_token_past_its_day_is_not_active() -> None:
    assert _state({"revoked_at_ms": None, "expires_at_ms": 1}) == "expired"
    assert _state({"revoked_at_ms": 5, "expires_at_ms": 1}) == "revoked"
    assert _state({"revoked_at_ms": None, "expires_at_ms": 10**15}) == "active"


def test_details_of_the_audit_log_are_words() -> None:
    assert _detail("kinds", ["consumer", "provider"]) == "kinds=consumer,provider"
    assert _detail("amount_micro_yuan", 5_000_000) == "amount=5.00"
    assert _detail("project", None) == "project=–"


def test_a_quota_is_told_as_it_is_given() -> None:
    assert quota_text(quota_of(["cpus=64", "cards=8"]) or {}) == "cpus=64 cards=8"
    assert quota_text(quota_of(["memory_gib=1.5"]) or {}) == "memory_gib=1.5"
    for wrong in ("cpu=3", "cpus=x"):
        with pytest.raises(InvalidInput) as found:
            quota_of([wrong])
        assert "Write cpus=64" in found.value.hint


def test_on_is_a_field_and_no_truth_value() -> None:
    (spec,) = specfiles.parse("retries: {max: 2, on: [exit]}\nenv: {A: no}\npreemptible: true", "x")
    assert spec["retries"] == {"max": 2, "on": ["exit"]}
    assert spec["env"] == {"A": "no"}
    assert spec["preemptible"] is True
