"""The page of ``seqdet explain`` in a real browser: opened from its folder, by mouse and by keyboard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from seqdet.runs.explain import explain

NAME = "<img src=elsewhere.png>.mp4"  # a name is text on the page, never markup
READY = "() => [...document.images].every((one) => one.complete && one.naturalWidth > 0)"


@pytest.fixture
def folder(sure_model: Path, make_video: Callable[..., Path], tmp_path: Path) -> Path:
    """A track explained at its boxes."""
    out = tmp_path / "why"
    explain(sure_model, str(make_video(NAME, 8)), out=out, boxes=3, window=4)
    return out


@pytest.fixture
def boxes(folder: Path) -> list[dict]:
    """What the page must say of each box."""
    return json.loads((folder / "explain.json").read_text())["boxes"]


@pytest.fixture
def page(browser: Browser, folder: Path) -> Iterator[Page]:
    """The page as a file; at the end no script failed, and nothing but the video beside it was loaded."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(20_000)
    page = context.new_page()
    troubles: list[str] = []
    asked: set[str] = set()
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: asked.add(request.url))
    page.goto((folder / "explain.html").as_uri())
    expect(page.locator("h1")).to_contain_text(NAME)
    yield page
    context.close()
    assert troubles == []
    assert asked == {(folder / name).as_uri() for name in ("explain.html", "explain.mp4")}


def buttons(page: Page) -> Locator:
    return page.locator(".timeline").get_by_role("button")


def captions(page: Page, kind: str) -> list[str]:
    return page.locator(f"#box .{kind} figcaption").all_inner_texts()


def expect_shown(page: Page, boxes: list[dict], place: int) -> tuple[list[str | None], ...]:
    """The panel says of a box what the JSON says of it; returns its pictures, gates and bars."""
    box = boxes[place]
    expect(page.locator("#box h2").first).to_contain_text(f"Frame {box['frame']}: {box['label']}")
    pressed = [one.get_attribute("aria-pressed") for one in buttons(page).all()]
    assert pressed == [str(other == place).lower() for other in range(len(boxes))]
    shares = [text for text in captions(page, "crops") if text != "the frame"]
    assert shares == [
        f"stride {one['stride']}, {round(100 * one[name])} % in the box"
        for name in ("local_in_box", "grad_cam_in_box")
        for one in box["maps"]
    ]
    evidence = box["evidence"]
    said = [text.split(": ") for text in captions(page, "frames")]
    assert [int(words[0]) for words in said] == evidence["frames"]
    worth = [float(words[1]) for words in said[:-1]]
    assert worth == pytest.approx(evidence["of_update"], abs=6e-4)
    page.wait_for_function(READY)
    of_box = page.locator("#box .two").nth(1)  # after the frame and what the memory changed
    gates = [one.get_attribute("points") for one in of_box.locator("polyline").all()]
    assert len(gates) == 3
    bars = [one.get_attribute("height") for one in of_box.locator("rect").all()]
    assert len(bars) == 2 * len(worth)
    pictures = [one.get_attribute("src") for one in page.locator("#box .crops img").all()]
    window = [one.get_attribute("src") for one in page.locator("#box .frames img").all()]
    return pictures, gates, bars, window


def test_a_click_on_the_timeline_shows_another_box(page: Page, boxes: list[dict]):
    assert buttons(page).count() == len(boxes) >= 2
    surest = max(range(len(boxes)), key=lambda place: boxes[place]["score"])
    shown = expect_shown(page, boxes, surest)
    for place in [other for other in range(len(boxes)) if other != surest]:
        buttons(page).nth(place).click()
        now = expect_shown(page, boxes, place)
        assert all(before != after for before, after in zip(shown, now, strict=True))
        shown = now
    page.wait_for_function("() => document.querySelector('video').videoWidth === 128")


def test_the_keyboard_does_the_same(page: Page, boxes: list[dict]):
    shown = []
    for place, key in zip(range(len(boxes)), ["Enter", "Space", "Enter"], strict=False):
        page.keyboard.press("Tab")
        expect(buttons(page).nth(place)).to_be_focused()
        page.keyboard.press(key)
        expect(buttons(page).nth(place)).to_be_focused()
        shown.append(expect_shown(page, boxes, place))
    for before, after in pairwise(shown):
        assert all(one != other for one, other in zip(before, after, strict=True))


def test_a_narrow_window_shows_everything(page: Page, boxes: list[dict]):
    page.set_viewport_size({"width": 390, "height": 800})
    buttons(page).nth(1).click()
    expect_shown(page, boxes, 1)
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
