"""What the browser tests share; each module has a `plane` of its own for them to look at. The
SDK's tests are one group, in which an exchange goes on from file to file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from portal_browser import Browser, browsing
from portal_world import Plane

from sdk_world import Exchange, exchange_in


@pytest.fixture(scope="module")
def browser(plane: Plane) -> Iterator[Browser]:
    with browsing(plane.url) as opened:
        yield opened


@pytest.fixture(scope="session")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    with exchange_in(tmp_path_factory.mktemp("exchange")) as made:
        yield made


@pytest.fixture(scope="module")
def page(browser: Browser) -> Any:
    return browser.signed_in()


@pytest.fixture
def no_complaints(browser: Browser) -> Iterator[None]:
    """No script failed, nothing broke the content security policy, nothing was injected."""
    browser.complaints.clear()
    with browser.visit():
        yield
    assert browser.complaints == []
