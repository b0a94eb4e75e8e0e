"""The page in a real browser, as somebody uses it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import av
import numpy as np
import pytest
from fake_session import FakeSession, serving
from PIL import Image
from playwright.sync_api import Page, expect

DRONE, BIRD = (86, 180, 233), (230, 159, 0)  # colours of the first two classes
# How many pixels of the canvas have a colour, and where their middle is, from 0 to 1.
PIXELS = """([red, green, blue]) => {
  const canvas = document.getElementById('view');
  const {width, height} = canvas;
  const data = canvas.getContext('2d').getImageData(0, 0, width, height).data;
  let count = 0, sum = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (Math.abs(data[i] - red) + Math.abs(data[i + 1] - green) + Math.abs(data[i + 2] - blue) < 12) {
      count += 1; sum += (i / 4) % width;
    }
  }
  return [count, count ? sum / count / width : null];
}"""


def pixels(page: Page, rgb: tuple[int, int, int]) -> tuple[int, float | None]:
    return tuple(page.evaluate(PIXELS, list(rgb)))


def until(condition, limit_s: float = 20.0):
    end_s = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(0.05)
    return value


@pytest.fixture
def session() -> FakeSession:
    return FakeSession(fps=15)


@pytest.fixture
def address(session: FakeSession, tmp_path: Path):
    (tmp_path / "recordings").mkdir()
    with serving(session, tmp_path / "recordings") as address:
        yield address


@pytest.fixture
def page(open_page, address: str) -> Page:
    page = open_page(address)
    expect(page.locator("#state")).to_have_text("Live")
    until(lambda: pixels(page, DRONE)[0] > 50)
    return page


def test_boxes_move_and_the_page_says_how_it_goes(page: Page, session: FakeSession):
    page.keyboard.press("t")  # without the trail
    places = set()
    until(lambda: places.add(round(pixels(page, DRONE)[1] or 0, 1)) or len(places) >= 3)
    expect(page.locator("#tracks li")).to_contain_text("drone #1")
    expect(page.locator("#sequence")).to_have_text("drone 0.75")
    expect(page.locator("#events li").first).to_contain_text("came into sight")
    expect(page.locator("#latency")).to_have_text(re.compile(r"^\d+ ms$"))
    expect(page.locator("#source")).to_have_text(session.source)
    assert 0 < int(page.inner_text("#latency").split()[0]) < 5000  # offset of the clocks is known


def test_the_slider_and_the_classes_choose_what_is_shown(page: Page):
    assert pixels(page, BIRD)[0] == 0
    page.locator("#score").fill("0.1")
    expect(page.locator("#score-value")).to_have_text("0.10")
    until(lambda: pixels(page, BIRD)[0] > 50)
    page.get_by_role("checkbox", name="drone").uncheck()
    until(lambda: pixels(page, DRONE)[0] == 0 and pixels(page, BIRD)[0] > 50)


def test_a_zone_is_drawn_with_the_mouse_and_counts(page: Page, session: FakeSession):
    page.locator("#zone-name").fill("gate")
    page.locator("#draw").click()
    x, y, width, height = page.locator("#view").bounding_box().values()
    page.mouse.move(x + width * 0.2, y + height * 0.2)
    page.mouse.down()
    page.mouse.move(x + width * 0.7, y + height * 0.7, steps=4)
    page.mouse.up()
    expect(page.locator("#zones li")).to_contain_text("gate")
    expect(page.locator("#zones li")).to_contain_text("1 inside for 1.5 s · 1 entered · 2.3 s mean stay")
    expect(page.locator("#events")).to_contain_text("entered gate")
    corners = np.array(session.zones()[0].zone.polygon_px)
    assert corners.min(0) == pytest.approx((64, 51.2), abs=3)
    assert corners.max(0) == pytest.approx((224, 179.2), abs=3)
    page.get_by_role("button", name="Delete zone gate").click()
    expect(page.locator("#zones li")).to_have_count(0)
    assert session.zones() == ()


def test_a_zone_is_drawn_corner_by_corner_and_with_the_keyboard_alone(page: Page, session: FakeSession):
    page.locator("#draw").click()
    x, y, width, height = page.locator("#view").bounding_box().values()
    for right, down in ((0.2, 0.2), (0.8, 0.2), (0.5, 0.8), (0.2, 0.2)):  # the first corner again closes it
        page.mouse.click(x + width * right, y + height * down)
    expect(page.locator("#zones li")).to_have_count(1)
    assert len(session.zones()[0].zone.polygon_px) == 3
    page.locator("#view").focus()
    page.keyboard.press("z")
    for key in ("Space", "Shift+ArrowRight", "Space", "Shift+ArrowDown", "Space", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#zones li")).to_have_count(2)
    # (160, 128) is the middle; a step with Shift is a tenth of the width.
    assert session.zones()[1].zone.polygon_px == ((160, 128), (192, 128), (192, 160))
    page.get_by_text("By numbers").click()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#zones li")).to_have_count(3)


def test_a_recording_plays_and_holds_what_it_says(page: Page, tmp_path: Path):
    page.locator("#record").click()
    expect(page.locator("#badge")).to_have_text("REC")
    expect(page.locator("#record")).to_have_text(re.compile("Stop 0:0[1-9]"))
    page.locator("#record").click()
    link = page.locator("#recordings a")
    expect(link).to_have_attribute("href", re.compile(r"^/api/recordings/[0-9a-f]{16}$"))
    with page.expect_download() as download:
        link.click()
    frames = int(re.search(r"(\d+) frames", page.inner_text("#recordings small")).group(1))
    assert re.fullmatch(r"seqdet-[\d-]+\.mp4", download.value.suggested_filename)
    with av.open(str(download.value.path())) as container:
        assert sum(1 for _ in container.decode(video=0)) == frames >= 10


def test_a_snapshot_is_what_is_seen(page: Page):
    with page.expect_download() as download:
        page.locator("#snapshot").click()
    assert download.value.suggested_filename.endswith(".png")
    rgb = np.asarray(Image.open(download.value.path()).convert("RGB")).astype(int)
    assert rgb.shape == (768, 960, 3)
    assert (np.abs(rgb - DRONE).sum(-1) < 12).sum() > 50


def test_events_are_saved(page: Page):
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON lines").click()
    assert '"track_started"' in download.value.path().read_text()


def test_pause_holds_the_picture(page: Page):
    page.keyboard.press("Space")
    expect(page.locator("#badge")).to_have_text("Paused")
    looks = [pixels(page, DRONE)]
    while len(looks) < 2 or looks[-1] != looks[-2]:  # a picture may have been on its way to the screen
        page.wait_for_timeout(200)
        looks.append(pixels(page, DRONE))
        assert len(looks) < 5, "it does not hold still"
    before = looks[-1]
    page.keyboard.press("Space")
    until(lambda: pixels(page, DRONE) != before)


def test_a_stale_stream_is_said_with_its_age_and_goes_by(page: Page, session: FakeSession):
    session.freeze("stale")
    expect(page.locator("#state")).to_have_text("Stale")
    expect(page.locator("#banner")).to_contain_text("no picture for 2 s")
    expect(page.locator("#banner-age")).to_have_text(re.compile(r"The picture is 1\.\d s old"))
    session.thaw()
    expect(page.locator("#state")).to_have_text("Live")
    expect(page.locator("#banner")).to_be_hidden()


def test_the_page_comes_back_when_the_server_does(open_page, tmp_path: Path):
    with serving(FakeSession(fps=15), tmp_path) as address:
        page = open_page(address)
        expect(page.locator("#state")).to_have_text("Live")
    expect(page.locator("#state")).to_have_text("Offline")
    expect(page.locator("#banner")).to_contain_text(re.compile("server ends|No connection"))
    again = FakeSession(fps=15)
    again.source = "another camera"
    with serving(again, tmp_path, port=int(address.rstrip("/").rpartition(":")[2])):
        expect(page.locator("#source")).to_have_text("another camera")
        expect(page.locator("#state")).to_have_text("Live")
        until(lambda: pixels(page, DRONE)[0] > 50)


def test_the_token_leaves_the_address_and_strangers_see_nothing(open_page, tmp_path: Path):
    with serving(FakeSession(fps=15), tmp_path, token="a-good-long-token") as address:
        page = open_page(address)
        expect(page.locator("#state")).to_have_text("Live")
        assert page.url == address.partition("?")[0]
        page.reload()
        expect(page.locator("#state")).to_have_text("Live")
        stranger = open_page(page.url)
        assert "needs its token" in stranger.inner_text("body")


def test_help_opens_with_a_key_and_letters_can_be_switched_off(page: Page):
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Shortcuts")
    page.get_by_role("checkbox", name="Shortcuts of one letter").uncheck()
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("r")
    page.wait_for_timeout(150)
    expect(page.locator("#record")).to_have_attribute("aria-pressed", "false")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it_readably(open_page, address: str, scheme: str):
    page = open_page(address, (390, 844), color_scheme=scheme, has_touch=True, is_mobile=True)
    expect(page.locator("#tracks li")).to_contain_text("drone #1")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    for button in page.locator(".bar button").all():
        box = button.bounding_box()
        assert min(box["width"], box["height"]) >= 44
    # WCAG AA: 4.5 for text.
    papers = {"panel": "text muted accent bad", "ground": "text muted", "button": "text muted"}
    papers |= {"good-ground": "good", "warn-ground": "warn", "bad-ground": "bad"}
    pairs = [(ink, paper) for paper, inks in papers.items() for ink in inks.split()]
    for ink, paper in pairs:
        assert contrast(page, ink, paper) >= 4.5, (ink, paper)


def contrast(page: Page, ink: str, paper: str) -> float:
    lights = []
    for name in (ink, paper):
        colour = page.evaluate("n => getComputedStyle(document.body).getPropertyValue('--' + n).trim()", name)
        channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ (0.2126, 0.7152, 0.0722)))
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_the_tab_key_reaches_every_control(page: Page):
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")
        )
    assert {"view", "pause", "snapshot", "record", "full", "score", "draw", "zone-name", "help-button",
            "JSON lines", "CSV", "events", "By numbers"} <= set(reached)  # fmt: skip
