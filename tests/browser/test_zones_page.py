"""Drawing zones as an installer does, in Chromium: draw, name, anchor, mask, save; the box loads what was saved."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect, sync_playwright

from edge.config_cameras import Camera
from firmware_sim.camera import Schedule, write_file
from tests.browser.test_closed_loop import FLAGS
from tests.services import require

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]
CONFIG = """\
cameras:
  - id: kitchen
    source: film.mp4
    zones: [{id: line, kind: serving, polygon: [[0, 0.5], [0.5, 0.5], [0.5, 1]], anchor: top}]
"""
WAIT_S = 30


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = os.environ.get("CHROMIUM") or require("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_file(Schedule("no_mask:9"), tmp_path / "film.mp4", 2, fps=5, width=320, height=180)
    (tmp_path / "c.yaml").write_text(CONFIG, "utf-8")
    return tmp_path


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "vision.cli", "zones", "--config", "c.yaml", "--save", "zones.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], WAIT_S)[0], "no address was printed"
    yield process.stdout.readline().strip()
    try:
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(WAIT_S * 1000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(address)
    expect(page.locator("#canvas[data-live=yes]")).to_be_visible(timeout=WAIT_S * 1000)
    yield page
    assert problems == []
    context.close()


def click_at(page: Page, *points: tuple[float, float]) -> None:
    """Click at shares of the picture."""
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    for x, y in points:
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_a_zone_and_a_mask_are_drawn_saved_and_loaded_by_the_box(page: Page, folder: Path) -> None:
    expect(page.get_by_role("button", name="line · serving")).to_be_visible()
    page.click("#new-zone")
    click_at(page, (0.6, 0.2), (0.9, 0.2), (0.9, 0.8), (0.6, 0.8), (0.6, 0.2))  # the first point again ends it
    page.fill("#name", "stove")
    page.fill("#kind", "cooking")
    page.select_option("#anchor", "any")
    page.click("#new-mask")
    click_at(page, (0.1, 0.1), (0.3, 0.1), (0.2, 0.3))
    page.click("#finish")
    expect(page.locator("#yaml")).to_have_value(re.compile("id: stove, kind: cooking"))
    page.click("#save")
    expect(page.locator("#done")).to_have_text("Saved to zones.yaml")

    saved = yaml.safe_load((folder / "zones.yaml").read_text("utf-8"))
    camera = Camera.model_validate({"id": "kitchen", "name": "k", "source": "film.mp4", **saved})
    line, stove = camera.zones
    assert (line.id, line.kind, line.anchor, line.polygon) == (
        "line",
        "serving",
        "top",
        ((0, 0.5), (0.5, 0.5), (0.5, 1)),
    )
    assert (stove.id, stove.kind, stove.anchor) == ("stove", "cooking", "any")
    for drawn, meant in zip(stove.polygon, ((0.6, 0.2), (0.9, 0.2), (0.9, 0.8), (0.6, 0.8)), strict=True):
        assert drawn == pytest.approx(meant, abs=0.005)
    for drawn, meant in zip(camera.masks[0], ((0.1, 0.1), (0.3, 0.1), (0.2, 0.3)), strict=True):
        assert drawn == pytest.approx(meant, abs=0.005)


def test_a_name_that_the_box_would_refuse_is_told_and_both_languages_are_there(page: Page, folder: Path) -> None:
    page.get_by_role("button", name="line · serving").click()
    page.fill("#name", "two words")
    expect(page.locator("#problem")).to_contain_text("a zone's name is")
    page.click("#remove")
    expect(page.locator("#yaml")).to_have_value("zones: []\nmasks: []\n")
    expect(page.locator("#none")).to_have_text("No zones or masks yet.")
    page.click("#language")
    expect(page.locator("#none")).to_have_text("还没有区域或遮罩。")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    assert not (folder / "zones.yaml").exists()
    assert json.loads(page.request.get(page.url + "draft").text())["zones"][0]["id"] == "line"
