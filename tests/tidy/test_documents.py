"""Documents lead where they say, and no mechanism is more than two clicks from the README."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from suanwang.edge.cli.commands import GROUPS
from suanwang.edge.cli.main import find

ROOT = Path(__file__).resolve().parents[2]
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
PAGES = [*READMES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TRANSLATED = [page for page in PAGES if page.name.endswith(".zh-CN.md")]
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
FENCE = re.compile(r"^[ \t]*```.*?^[ \t]*```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(
    r"(?:^|(?<=[`$;|&(\s]))(?<!-u )suan ([a-z]+)(?: ([a-z]+)\b)?(?=[\s`);|…]|$)", re.MULTILINE
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def depths(page: Path) -> list[int]:
    """Of its headings, in order."""
    return [len(marks) for marks in re.findall(r"^(#+) ", FENCE.sub("", read(page)), re.MULTILINE)]


def commands(code: str) -> Iterator[tuple[str, ...]]:
    """What is typed after `suan`: a word, or two where the first is a group."""
    for first, second in COMMAND.findall(code):
        yield (first, second) if first in GROUPS and second else (first,)


def targets(page: Path) -> set[Path]:
    found = LINK.findall(read(page))
    return {(page.parent / link).resolve() for link in found if "://" not in link}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    dead = sorted(str(target) for target in targets(page) if not target.exists())
    assert not dead, f"{page.name} links to what is not there: {dead}"


@pytest.mark.parametrize("readme", READMES, ids=lambda page: page.name)
def test_every_page_is_two_clicks_away(readme: Path) -> None:
    first = targets(readme)
    reached = first | {
        t for page in first if page.is_file() and page.suffix == ".md" for t in targets(page)
    }
    pages = {path.resolve() for path in (ROOT / "docs").rglob("*.md") if "0000" not in path.name}
    assert pages <= reached, f"nobody finds {sorted(p.name for p in pages - reached)}"


def test_index_lists_every_page_in_its_folder() -> None:
    listed = targets(ROOT / "docs" / "README.md")
    for folder in ("mechanisms", "guides", "adr"):
        for path in (ROOT / "docs" / folder).glob("*.md"):
            assert path in listed, f"docs/README.md does not list {folder}/{path.name}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pictures_are_there(page: Path) -> None:
    named = re.findall(r'<(?:img|source)[^>]+(?:src|srcset)="([^"]+)"', read(page))
    gone = [one for one in named if "://" not in one and not (page.parent / one).exists()]
    assert not gone, f"{page.name} shows what is not there: {gone}"


@pytest.mark.parametrize("chinese", TRANSLATED, ids=name_of)
def test_both_languages_are_in_step(chinese: Path) -> None:
    """The same sections in the same order; in guides the same commands to type."""
    english = chinese.with_name(chinese.name.replace(".zh-CN", ""))
    assert depths(english) == depths(chinese), "a section is in one language only"
    if english not in READMES:
        typed = [
            {words for block in FENCE.findall(read(page)) for words in commands(block)}
            for page in (english, chinese)
        ]
        assert typed[0] == typed[1], f"in one language only: suan {typed[0] ^ typed[1]}"


def test_every_guide_is_in_both_languages() -> None:
    for page in (ROOT / "docs" / "guides").glob("*.md"):
        if ".zh-CN" not in page.name:
            assert page.with_suffix(".zh-CN.md").exists(), f"{page.name} has no Chinese"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_that_is_told_exists(page: Path) -> None:
    text = read(page)
    code = FENCE.findall(text) + re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    for words in sorted({words for one in code for words in commands(one)}):
        find(words)


def test_chinese_words_are_the_glossarys() -> None:
    """A site is an 算力节点 on every surface; where one said 站点 and 节点 was a node, readers of
    the portal and of the command line talked past each other."""
    instead = {"站点": "算力节点", "组织": "租户", "项目": "账户"}
    edge = ROOT / "src" / "suanwang" / "edge"
    for path in (*TRANSLATED, edge / "cli" / "zh.json", *edge.glob("portal/*.yaml")):
        text = read(path).replace("项目现状", "")
        found = {f"{word}: {instead[word]}" for word in instead if word in text}
        assert not found, f"{name_of(path)} does not say what the glossary says: {found}"


def test_nothing_names_the_machine_that_it_was_written_on() -> None:
    endings = {".md", ".py", ".toml", ".sh", ".yaml", ".yml", ".html", ".css", ".js", ".json"}
    homes = re.compile(r"(?<![\w.])/(work/|root/\.|Users/|home/[a-z]+/)[a-z]")
    for folder in ("docs", "src", "tests", "bench", "scripts", "changes"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in endings and "node_modules" not in path.parts:
                found = homes.search(read(path))
                assert not found, f"{name_of(path)}: {found}"
