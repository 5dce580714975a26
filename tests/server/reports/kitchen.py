"""Six hours of a cold room with everything that a report has to tell, sent to a real centre by a real key."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from telemetry.messages import Reading
from tests.server.centre import AT, Box, Centre, Person

SITE = "阳光小学 食堂"
START = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
END = START + timedelta(hours=6, minutes=10)
MINUTES = 360
SILENT = range(120, 160)  # the box was off
LOST = range(200, 210)  # one batch never arrives
BAD = range(250, 260)  # the probe does not answer
WARM = range(60, 90)
PEAK_C = 12.3
MAKING_S = 120.0  # a signature makes two PDFs, each a second or two of CPU
CARD = {
    "valid_from": "2025-12-01", "name": "冷藏库 空气", "place": "冷藏库 1", "ccp": "CCP1", "serial": "SN-40213",
    "calibrated_on": "2025-11-20", "calibration_due_on": "2026-11-19", "offset_c": -0.15, "high_c": 8.0, "low_c": 0.0,
    "basis": "0-8 °C canteen practice rules",
}  # fmt: skip


def value_at(minute: int) -> float | None:
    """°C, as the probe measures it."""
    if minute in BAD:
        return None
    if minute in WARM:
        return PEAK_C if minute == 75 else 10.5
    return 4.0 + (minute % 10) / 10


def reading_at(minute: int) -> Reading:
    value = value_at(minute)
    return Reading(
        sensor_id="cold-1",
        quantity="temperature",
        value=value,
        unit="°C",
        observed_at=AT + timedelta(minutes=minute),
        quality="good" if value is not None else "bad",
        reason=None if value is not None else "no answer within 0.5 s",
    )


@dataclass
class Kitchen:
    """The centre with this record, its people, and questions to its door."""

    centre: Centre
    box: Box
    wang: Person  # staff, signs
    zhao: Person  # staff of the same site
    stranger: Person  # staff of another site
    regulator: Person
    alert_id: int
    lost: bytes  # the sealed batch that never arrived

    def wanted(self, **changes: Any) -> dict[str, Any]:
        """The query for the report on the cold room."""
        query = {"box": self.box.box_id, "sensor": "cold-1", "start": START.isoformat(), "end": END.isoformat()}
        return {**query, **changes}

    def draft(self, format_: str = "json", *, who: Person | None = None, **changes: Any) -> httpx.Response:
        path = f"/api/v1/reports/drafts/temperature/{format_}"
        return (who or self.wang).get(path, params=self.wanted(**changes), timeout=MAKING_S)

    def sign(self, who: Person | None = None, digest: str | None = None, **changes: Any) -> httpx.Response:
        """Sign what the draft shows now."""
        seen = digest or self.draft(**changes).json()["content_sha256"]
        who = who or self.wang
        return who.post(
            "/api/v1/reports/drafts/temperature/sign",
            params=self.wanted(**changes),
            data={"content_sha256": seen, "note": "核对无误"},
            headers=who.csrf,
            timeout=MAKING_S,
        )

    def signed(self, **changes: Any) -> str:
        """The number of a freshly signed report."""
        answer = self.sign(**changes)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["number"])

    def post(self, who: Person, number: str, act: str, **form: str) -> httpx.Response:
        return who.post(f"/api/v1/reports/{number}/{act}", data=form, headers=who.csrf, timeout=MAKING_S)

    def file(self, number: str, edition: int, format_: str, language: str = "zh-CN") -> bytes:
        path = f"/api/v1/reports/{number}/editions/{edition}/{format_}"
        answer = self.wang.get(path, params={"language": language or "en"})
        assert answer.status_code == 200, answer.text
        return answer.content

    def document(self, number: str, edition: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file(number, edition, "json"))
        return found


def furnish(centre: Centre, jpeg: Callable[..., bytes]) -> Kitchen:
    """Send the record and let people see to the excursion."""
    box = centre.box(SITE)
    wang, zhao = centre.person("staff", SITE), centre.person("staff", SITE)
    stranger, regulator = centre.person("staff", "Canteen B"), centre.person("regulator")
    lost = b""
    for start in range(0, MINUTES, 10):
        readings = [reading_at(minute) for minute in range(start, start + 10) if minute not in SILENT]
        if readings:
            raw = box.seal("readings", readings)
            if start in LOST:
                lost = raw
            else:
                assert box.send(raw).json()["receipts"][0]["status"] == "accepted"
    said = {"side": "high", "limit_c": 8.0, "sensor_name": "冷藏库 空气", "causes": ["door open since 12:04"]}
    opened = {"at": AT + timedelta(minutes=62), "incident_id": "warm-1", "data": {**said, "peak_c": 10.5}}
    alert_id = box.raise_alert(wang, **opened)
    over = {"at": AT + timedelta(minutes=90), "incident_id": "warm-1", "data": {**said, "peak_c": PEAK_C}}
    box.send_event("excursion_closed", **over)
    assert wang.move(alert_id, "acknowledge").is_success
    assert wang.submit(alert_id, jpeg(5), "关门，食品中心 5.2 °C").status_code == 201
    assert regulator.move(alert_id, "accept", "照片与现场一致").is_success
    kitchen = Kitchen(centre, box, wang, zhao, stranger, regulator, alert_id, lost)
    path = f"/api/v1/reports/sensors/{box.box_id}/cold-1/cards"
    assert wang.post(path, json=CARD, headers=wang.csrf).status_code == 201
    return kitchen
