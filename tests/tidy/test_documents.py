"""Documents lead where they say, and no mechanism is more than two clicks from the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
PAGES = [*READMES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")


def targets(page: Path) -> set[Path]:
    found = LINK.findall(page.read_text(encoding="utf-8"))
    return {(page.parent / link).resolve() for link in found if "://" not in link}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
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
