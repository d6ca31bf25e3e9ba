"""The catalogue is whole, templates hold no sentences, vendored files are untouched."""

from __future__ import annotations

import hashlib
import re
import string
from pathlib import Path

import pytest
import yaml

import suanwang.edge.portal as portal
from suanwang.edge.portal import catalogue
from suanwang.engines.scheduling.model import RefusalReason
from suanwang.grid.jobs.model import LeaseState, Outcome, TaskState
from suanwang.protocol.messages import FailureClass
from suanwang.tenancy.model import OrganisationKind, OrganisationState, ProjectState, Role, Scope

HERE = Path(portal.__file__).parent
TEMPLATES = sorted((HERE / "templates").glob("*.html"))
SCRIPTS = sorted((HERE / "static").glob("*.js"))
NAMES = {"Enter", "stdout", "stderr", "YAML", "TFLOPS"}
"""Of keys, streams, formats and units: the same in both languages."""
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def holes(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("file", catalogue.FILES, ids=lambda file: file.name)
def test_every_text_is_there_in_both_languages(file: Path) -> None:
    raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    for section, entries in raw.items():
        for key, pair in entries.items():
            assert isinstance(pair, list), f"{section}.{key}"
            assert len(pair) == 2, f"{section}.{key}: a comma needs quotes"
            chinese, english = pair
            assert bool(chinese) == bool(english), f"{section}.{key} is empty in one language"
            assert holes(chinese) == holes(english), f"{section}.{key}: other figures"
            if (section, key) != ("nav", "other_language"):
                assert not CHINESE.search(english), f"{section}.{key}: Chinese in the English text"


@pytest.mark.parametrize("file", catalogue.FILES, ids=lambda file: file.name)
def test_no_key_is_given_twice(file: Path) -> None:
    """Within a file, where YAML keeps the later one; between files loading refuses it."""
    seen: set[str] = set()
    section = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"^([a-z_]+):$", line):
            section = found.group(1)
            assert section not in seen, f"section {section} twice"
            seen.add(section)
        elif found := re.match(r'^  "?([\w.:]+?)"?: \[', line):
            key = f"{section}.{found.group(1)}"
            assert key not in seen, f"{key} twice"
            seen.add(key)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_hold_no_sentences(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not CHINESE.search(text)
    bare = re.sub(r"\{%.*?%\}|\{\{.*?\}\}", " ", text, flags=re.DOTALL)
    shown = re.sub(r"<[^>]*>", " ", bare, flags=re.DOTALL)
    shown = re.sub(r'[\w-]+="[^"]*"', " ", shown)  # a macro that is made of attributes
    words = set(re.findall(r"[A-Za-z]{2,}", shown)) - {
        "Enter",
        "stdout",
        "stderr",
        "YAML",
        "TFLOPS",
    }
    assert not words, f"put these into the catalogue: {sorted(words)}"
    named = re.findall(r"(?:placeholder|title|aria-label|alt)=\"([^\"{]*)\"", bare)
    examples = [one for one in named if " " in one.strip() and re.search(r"[a-z]{3} [a-z]{3}", one)]
    assert not examples


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_ask_for_texts_that_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for key in re.findall(r"""\bt\(["']([\w.]+)["']\s*[,)]""", text):
        assert catalogue.has(key), key


def test_code_asks_for_texts_that_exist() -> None:
    for path in sorted(HERE.glob("*.py")):
        for key in re.findall(r"""\.say\("([\w.]+)\"""", path.read_text(encoding="utf-8")):
            assert catalogue.has(key), f"{path.name}: {key}"
        for key in re.findall(r"[?&]done=(\w+)[\"'&]", path.read_text(encoding="utf-8")):
            assert catalogue.has(f"done.{key}"), f"{path.name}: {key}"


def test_every_state_reason_and_role_has_a_name() -> None:
    families = {
        "reason": [one.value for one in RefusalReason],
        "failure": [one.value for one in FailureClass],
        "state": [
            *(one.value for one in TaskState),
            *(one.value for one in LeaseState),
            *(one.value for one in Outcome if one.value),
            *(one.value for one in OrganisationState),
            *(one.value for one in ProjectState),
        ],
        "role": [one.value for one in Role],
        "scope": [one.value for one in Scope],
        "organisation_kind": [one.value for one in OrganisationKind],
        "kind": ["supercomputing", "ai", "general"],
    }
    for section, names in families.items():
        for name in names:
            assert catalogue.has(f"{section}.{name}"), f"{section}.{name}"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_inline_script(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for attributes in re.findall(r"<script([^>]*)>", text):
        assert "src=" in attributes
    bare = re.sub(r"\{%.*?%\}|\{\{.*?\}\}", " ", text, flags=re.DOTALL)
    assert not re.search(r"\son[a-z]+\s*=", bare), "handlers belong into a script file"
    assert not re.search(r"hx-on|javascript:|\bhttps?://(?!www\.w3\.org)", text)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_hold_no_sentences(path: Path) -> None:
    assert not CHINESE.search(path.read_text(encoding="utf-8"))


def test_vendored_files_are_those_that_were_published() -> None:
    folder = HERE / "static" / "vendor"
    sums = dict(
        reversed(line.split(maxsplit=1))
        for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    )
    files = {path.name: path for path in folder.glob("*.js")}
    assert sums.keys() == files.keys()
    for name, path in files.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sums[name], name


def _variables(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6});", block))


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(scheme: str) -> None:
    """WCAG AA: 4.5 to 1."""
    css = (HERE / "static" / "portal.css").read_text(encoding="utf-8")
    light, _, rest = css.partition("@media (prefers-color-scheme: dark)")
    colours = _variables(light)
    if scheme == "dark":
        colours |= _variables(rest.partition("*, *::before")[0])
    for text in ("text", "muted", "primary", "ok", "warn", "bad"):
        for behind in ("bg", "surface", "raised"):
            assert contrast(colours[text], colours[behind]) >= 4.5, (text, behind)
    for name in ("ok", "warn", "bad", "idle", "primary"):
        assert contrast(colours[name], colours[f"{name}-weak"]) >= 4.5, name
    assert contrast(colours["primary-ink"], colours["primary"]) >= 4.5
