"""The closed loop as people live it, in Chromium: staff on a phone send a proof photo, a regulator accepts it.

The centre is the real process; the box is played by its own words, sealed with a real key.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, expect, sync_playwright

from firmware_sim.demo import SITE, add_people, start_centre
from firmware_sim.programs import Programs
from telemetry.batch import FIRST_PREVIOUS, BatchHeader, seal_batch, sha256_hex
from telemetry.evidence import EvidenceManifest, seal_evidence
from telemetry.messages import Event, Reading
from telemetry.signing import Signer
from tests.services import require
from tests.warm import WarmPrograms

pytestmark = pytest.mark.browser
PHONE = {"width": 390, "height": 844}
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
NOW = datetime.now(UTC).replace(microsecond=0)


class PlayedBox:
    """A box that says what the test wants it to say."""

    def __init__(self, client: httpx.Client, code: str) -> None:
        self._client = client
        self._signer = Signer.generate()
        request = {"code": code, "public_key": self._signer.public_key_b64, "name": "played"}
        self.box_id = str(self._client.post("/api/v1/enrol", json=request).raise_for_status().json()["box_id"])
        self._last: dict[str, tuple[int, str]] = {}

    def send(self, lane: str, records: list[Reading] | list[Event]) -> None:
        """One sealed batch; its receipt must say accepted."""
        seq, previous = self._last.get(lane, (0, FIRST_PREVIOUS))
        header = BatchHeader.model_validate(
            {
                "box_id": self.box_id, "epoch": "e1", "lane": lane, "seq": seq + 1, "previous_sha256": previous,
                "created_at": NOW, "count": len(records), "boot_id": "boot",
            }
        )  # fmt: skip
        raw = seal_batch(header, records, self._signer)
        self._last[lane] = (seq + 1, sha256_hex(raw))
        answer = self._client.post("/api/v1/batches", content=raw).raise_for_status().json()
        assert answer["receipts"][0]["status"] == "accepted"

    def no_mask(self, incident: str, *, ended: bool = False) -> None:
        """A violation of kind no_mask with its picture."""
        picture = Image.new("RGB", (640, 360), (150, 160, 165))
        ImageDraw.Draw(picture).ellipse((270, 80, 370, 210), fill=(196, 160, 140), outline=(220, 40, 40), width=4)
        blob = _jpeg(picture)
        manifest = EvidenceManifest(
            evidence_id=incident, sha256=sha256_hex(blob), size_bytes=len(blob), media_type="image/jpeg",
            role="annotated", incident_id=incident, box_id=self.box_id, camera_id="kitchen-1", place="备餐间",
            taken_at=NOW, kind="no_mask", model_sha256="0" * 64, config_sha256="0" * 64,
        )  # fmt: skip
        self.send("events", [self._event("violation_closed" if ended else "violation_opened", incident, manifest)])
        sealed = seal_evidence(manifest, blob, self._signer)
        self._client.put(f"/api/v1/evidence/{manifest.sha256}", content=sealed).raise_for_status()

    def _event(self, kind: str, incident: str, manifest: EvidenceManifest) -> Event:
        data = {"kind": "no_mask", "camera_name": "备餐间 1", "place": "备餐间", "confidence": 0.93}
        return Event.model_validate(
            {
                "event_id": f"{incident}.{kind}", "incident_id": incident, "type": kind, "severity": "warning",
                "source_id": "kitchen-1", "at": NOW, "data": {**data, "evidence": [manifest.sha256]},
            }
        )  # fmt: skip

    def warm_room(self, incident: str) -> None:
        """Two hours of a cold room that warms up, and the excursion that it makes."""
        start = NOW - timedelta(hours=1, minutes=30)
        values = [3 + 0.4 * (minute % 5) + max(0, minute - 45) * 0.2 for minute in range(90)]
        self.send(
            "readings",
            [
                Reading(sensor_id="cold-room-air", quantity="temperature", value=round(value, 1), unit="°C",
                        observed_at=start + timedelta(minutes=minute))
                for minute, value in enumerate(values)
            ],
        )  # fmt: skip
        data = {
            "kind": "temperature_excursion", "sensor_name": "冷藏库 空气", "place": "冷藏库 1", "side": "high",
            "limit_c": 8.0, "value_c": 8.4, "peak_c": 12.4,
        }  # fmt: skip
        event = {
            "event_id": f"{incident}.opened", "incident_id": incident, "type": "excursion_opened",
            "severity": "critical", "source_id": "cold-room-air", "at": start + timedelta(minutes=70), "data": data,
        }  # fmt: skip
        self.send("events", [Event.model_validate(event)])


def _jpeg(picture: Image.Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=88)
    return data.getvalue()


class Centre:
    """A running centre with its people and one box."""

    def __init__(self, folder: Path, programs: Programs) -> None:
        self.data = folder / "centre"
        self.passwords = add_people(programs, self.data)
        self.url = start_centre(programs, self.data)

    def log_in(self, page: Page, role: str) -> None:
        page.goto(f"{self.url}/login")
        page.fill("input[name=username]", role)
        page.fill("input[name=password]", self.passwords[role])
        page.click("button.primary")
        expect(page).to_have_url(f"{self.url}/")


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    programs = WarmPrograms(tmp_path)
    try:
        yield Centre(tmp_path, programs)
    finally:
        programs.end_all()


@pytest.fixture
def box(centre: Centre) -> Iterator[PlayedBox]:
    code = ("enrol", "--site", SITE, "--data", str(centre.data))
    with httpx.Client(base_url=centre.url, timeout=20) as client:
        yield PlayedBox(client, WarmPrograms(centre.data).run("enrol", "server.cli", *code))


@pytest.fixture
def browser() -> Iterator[Browser]:
    chromium = require("chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


def new_page(browser: Browser, viewport: dict[str, int], locale: str = "zh-CN") -> Page:
    page = browser.new_context(viewport=viewport, locale=locale).new_page()  # type: ignore[arg-type]
    page.set_default_timeout(20_000)
    return page


def keep(page: Page, name: str) -> None:
    """A full-page screenshot into BRIGHTLINE_SCREENSHOTS, where somebody wants to look."""
    folder = os.environ.get("BRIGHTLINE_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def prove(page: Page, photo: Path) -> None:
    """Fill in what the page cannot know by itself; time and place it fills in."""
    page.set_input_files("#photo", photo)
    page.fill("input[name=person]", "王丽")
    page.fill("input[name=scene]", "备餐间全景")


def test_staff_send_a_photo_from_a_phone_and_the_regulator_closes_the_alert(
    centre: Centre, box: PlayedBox, browser: Browser, tmp_path: Path
) -> None:
    proof = tmp_path / "proof.jpg"
    proof.write_bytes(_jpeg(Image.effect_mandelbrot((900, 1200), (-2, -1.5, 1, 1.5), 60).convert("RGB")))
    staff = new_page(browser, PHONE)
    centre.log_in(staff, "staff")
    expect(staff.locator("#live")).to_be_visible()
    expect(staff.locator(".alert")).to_have_count(0)
    keep(staff, "1-empty")

    box.warm_room("incident-warm")  # the open page hears of both without being reloaded
    box.no_mask("incident-mask")
    expect(staff.locator(".alert")).to_have_count(2)
    keep(staff, "2-list")
    staff.locator(".alert", has_text="温度异常").click()
    expect(staff.locator("svg.chart polyline")).to_have_count(1)
    keep(staff, "3-chart")
    staff.get_by_text("返回列表").click()

    staff.locator(".alert", has_text="未戴口罩").click()
    expect(staff.locator("img.snapshot").first).to_have_js_property("complete", True)
    staff.click("#acknowledge")
    expect(staff.locator("#state")).to_have_text("已确认")
    assert not staff.locator("#accept").count(), "staff cannot accept their own repair"
    staff.click("#start")
    expect(staff.locator("#state")).to_have_text("整改中")
    prove(staff, proof)
    staff.fill("textarea[name=matter]", "已佩戴口罩并培训")
    expect(staff.locator("#preview")).to_be_visible()
    assert staff.input_value("#taken_at"), "the phone says when it made the file"
    assert staff.input_value("input[name=place]") == "备餐间"
    keep(staff, "4-phone")
    staff.click("#submit")
    expect(staff.locator("#state")).to_have_text("待审核")
    expect(staff.locator(".look")).to_contain_text("正在复核")

    regulator = new_page(browser, {"width": 1200, "height": 900})
    centre.log_in(regulator, "regulator")
    regulator.locator(".alert", has_text="未戴口罩").click()
    expect(regulator.get_by_text("已佩戴口罩并培训").first).to_be_visible()
    regulator.click("#push")
    regulator.fill(".more[open] textarea", "请关注")
    keep(regulator, "5-review")
    regulator.click("#do-push")
    expect(regulator.locator(".history li").last).to_contain_text("直通负责人")
    expect(regulator.locator(".history li").last).to_contain_text("现场抓拍 请关注")
    regulator.click("#accept")
    expect(regulator.locator("#state")).to_have_text("已关闭")
    regulator.click("#reopen")
    regulator.fill(".more[open] textarea", "又发现未戴口罩")
    regulator.click("#do-reopen")
    expect(regulator.locator("#state")).to_have_text("待处理")
    regulator.click("#dismiss")
    regulator.fill(".more[open] textarea", "海报上的人像")
    regulator.click("#do-dismiss")
    expect(regulator.locator("#state")).to_have_text("误报")
    keep(regulator, "6-dismissed")

    staff.goto(f"{centre.url}/?status=dismissed")
    expect(staff.locator(".alert .pill")).to_have_text("误报")
    staff.click(".narrow summary")
    staff.select_option("select[name=tier]", "1")
    staff.click("#narrow")
    expect(staff.locator(".alert")).to_have_count(0)
    keep(staff, "7-narrowed-phone")


def test_a_text_file_named_jpg_is_refused_on_the_page_with_the_reason(
    centre: Centre, box: PlayedBox, browser: Browser, tmp_path: Path
) -> None:
    fake = tmp_path / "photo.jpg"
    fake.write_text("this is no photo")
    box.no_mask("incident-mask")
    page = new_page(browser, PHONE, "en-GB")
    centre.log_in(page, "staff")
    page.locator(".alert").click()
    prove(page, fake)
    page.fill("textarea[name=matter]", "masks on")
    page.click("#submit")
    expect(page.get_by_role("alert")).to_contain_text("This file is not a JPEG, PNG or WebP photo")
    expect(page.locator("#state")).to_have_text("Open")
    keep(page, "8-refused")
