"""Canteen A on 2 January 2026 (Asia/Shanghai): a cold room read every five minutes, a camera, one alert."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, cast

import httpx

from server.accounts import ensure_site
from tests.server.centre import AT, Box, Centre, reading
from tests.server.tenancy.district import District, Somebody

DAY = date(2026, 1, 2)
DAY_START = AT.replace(day=1, hour=16, minute=0, second=0)  # midnight in Shanghai
QUIET_DAY = date(2025, 12, 30)  # before anything was ever found
API = "/api/v1/self-control"


@dataclass
class Canteen:
    """The centre, the canteen's box, and questions to its door."""

    district: District
    box: Box
    site_id: int
    people: dict[str, Somebody]

    @classmethod
    def furnished(cls, district: District) -> Canteen:
        box = Box(cast(Centre, district), "A")
        with district.database() as db:
            site_id = ensure_site(db, "A").id
        roles = ("staff", "safety_officer", "safety_director", "site_head", "regulator", "viewer")
        made = cls(district, box, site_id, {role: district.somebody(role, "A") for role in roles})
        for day in (0, -3):
            made.send_day(day)
        box.send_event(at=AT, incident_id="warm", data={"sensor_name": "冷藏库"})
        box.send_event("excursion_closed", at=AT + timedelta(minutes=30), incident_id="warm")
        return made

    def send_day(self, day: int) -> None:
        """288 readings of 4 °C, one of 9.5 °C, and the camera's coverage of the whole day."""
        start_s = (DAY_START - AT).total_seconds() + day * 86_400
        values = [9.5 if number == 100 else 4.0 for number in range(288)]
        readings = [reading(value, start_s + 300.0 * number) for number, value in enumerate(values)]
        assert self.box.send(self.box.seal("readings", readings)).status_code == 200
        begins = DAY_START + timedelta(days=day)
        quarters = [begins + timedelta(minutes=15 * number) for number in range(96)]
        events = [
            self.box.event(
                "coverage", source_id="cam-1", at=at + timedelta(minutes=15), severity="info",
                data={"camera_name": "备餐间", "started_at": at.isoformat(), "rows": ["no_mask - 900 890"]},
            )
            for at in quarters
        ]  # fmt: skip
        assert self.box.send(self.box.seal("events", events)).status_code == 200

    def ask(self, role: str, method: str, path: str, **said: Any) -> httpx.Response:
        return self.district.ask(self.people[role], method, path, **said)

    def start(self, kind: str, day: date) -> int:
        """The number of the draft."""
        wanted = {"site": self.site_id, "kind": kind, "day": day.isoformat()}
        answer = self.ask("staff", "POST", f"{API}/records", json=wanted)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def get(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("regulator", "GET", f"{API}/records/{number}").json()
        return found

    def fill(self, number: int, form: dict[str, Any], **query: Any) -> httpx.Response:
        query = {"version": self.get(number)["version"], **query}
        return self.ask("staff", "PUT", f"{API}/records/{number}/form", json=form, params=query)

    def filled(self, number: int) -> dict[str, Any]:
        """The form with everything said that is still open, written down."""
        form = self.get(number)["document"]["content"]["form"]
        said = {"responsible": "王", "action": "关门后复查"}
        for answer in form["answers"]:
            answer.update({"result": answer["result"] or "ok", "nonconformity": "见预警", **said})
        for finding in form["findings"]:
            finding.update(said)
        for code in form["fields"]:
            form["fields"][code] = "A" if code == "grade" else "写明"
        assert self.fill(number, form).status_code == 200
        return dict(self.get(number)["document"])

    def sign(self, role: str, number: int, digest: str | None = None) -> httpx.Response:
        seen = digest or self.get(number)["document"]["content_sha256"]
        return self.ask(role, "POST", f"{API}/records/{number}/sign", data={"content_sha256": seen, "note": "已核对"})

    def signed(self, kind: str, day: date) -> int:
        signer = {"daily": "safety_officer", "weekly": "safety_director", "monthly": "site_head"}[kind]
        number = self.start(kind, day)
        if self.get(number)["edition"] == 0:
            self.filled(number)
            answer = self.sign(signer, number)
            assert answer.status_code == 200, answer.text
        return number
