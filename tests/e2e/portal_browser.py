"""Chromium before a platform, and every complaint of its pages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from portal_world import LOGIN, PASSWORD, PATIENCE_S

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Browser:
    """Chromium, and every complaint that its pages made on the console."""

    def __init__(self, chromium: Any, url: str) -> None:
        self._chromium = chromium
        self.url = url
        self.complaints: list[str] = []
        self._open: list[Any] = []

    @contextlib.contextmanager
    def visit(self) -> Iterator[None]:
        """What is opened within is closed at its end: open pages go on asking for news."""
        before = len(self._open)
        yield
        while len(self._open) > before:
            self._open.pop().close()

    def page(self, *, phone: bool = False, width: int = 1440, scheme: str = "light") -> Any:
        """A fresh profile; nobody is signed in."""
        size = {"width": 390, "height": 844} if phone else {"width": width, "height": 900}
        context = self._chromium.new_context(
            viewport=size, color_scheme=scheme, has_touch=phone, is_mobile=phone, base_url=self.url
        )
        self._open.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._heard)
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        return page

    def _heard(self, message: Any) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def at(self, url: str) -> Browser:
        """The same Chromium before another platform."""
        return Browser(self._chromium, url)

    def signed_in(self, login: str = LOGIN, password: str = PASSWORD, **more: Any) -> Any:
        page = self.page(**more)
        page.goto("/login")
        page.fill("#login", login)
        page.fill("#password", password)
        page.click("form button")
        page.wait_for_url("**/")
        return page


@contextlib.contextmanager
def browsing(url: str) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, timeout=PATIENCE_S * 1000
        )
        try:
            yield Browser(chromium, url)
        finally:
            chromium.close()
