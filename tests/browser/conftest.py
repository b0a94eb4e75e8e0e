"""Debian's chromium, headless, driven by playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for a module: while playwright is there, no other event loop can run in this thread."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        told = "no chromium on this machine; apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Open an address; at the end no script failed, and nothing was loaded from elsewhere."""
    contexts, troubles, asked = [], [], []

    def opened(address: str, size_wh: tuple[int, int] = (1280, 800), **options) -> Page:
        context = browser.new_context(viewport={"width": size_wh[0], "height": size_wh[1]}, **options)
        contexts.append(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []
    assert [
        url for url in asked if not url.startswith(("http://127.0.0.1:", "blob:", "ws://127.0.0.1:"))
    ] == []
