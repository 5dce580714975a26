"""A canteen with one of everything that a page can show, laid down in a folder before its centre starts.

Its texts are Chinese where people type, so that a page in English shows what else is left in Chinese.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx

from server.models import Site
from server.models_life_cycle import Card
from server.rollout.models import Release, Rollout, RolloutBox
from telemetry.batch import sha256_hex
from tests.server.centre import AT, Box, Centre, picture, proof, reading
from tests.server.self_control.canteen import DAY, Canteen
from tests.server.tenancy.district import District, Somebody, new_sample, settled, wanted

NOW = datetime.now(UTC).replace(microsecond=0)
# what people and boxes said; the rest of a page is the centre's own words
TYPED = (
    "阳光小学第二食堂", "冷藏库", "冷库", "番茄炒蛋", "浙江", "杭州", "西湖", "上城", "备餐间", "王丽", "王", "阳",
    "关门后复查", "见预警", "写明", "已核对", "已佩戴口罩并培训", "海报上的人像", "请关注", "照片模糊", "等待复查结果",
    "和平路 1 号",
)  # fmt: skip
SITE_NAME = TYPED[0]


@dataclass
class Whole:
    """The cookies of a person of each role, their names, a box that no roll-out has, and the public page's path."""

    cookies: dict[str, str]
    names: dict[str, str]
    free_box_id: str
    public_path: str


class Furnishing:
    """Fills a district's site A through its own doors."""

    def __init__(self, district: District) -> None:
        self.district = district
        self.canteen = Canteen.furnished(district)
        self.people = {**self.canteen.people, "administrator": district.somebody("administrator", "")}
        self.box = self.canteen.box

    def ask(self, role: str, method: str, path: str, expected: int, **said: Any) -> httpx.Response:
        answer = self.district.ask(self.people[role], method, path, **said)
        assert answer.status_code == expected, (path, answer.text[:2000])
        return answer

    def post(self, role: str, path: str, fields: dict[str, str] | None = None) -> httpx.Response:
        """A form of a page."""
        return self.ask(role, "POST", path, 303, data={"csrf": self.people[role].csrf, **(fields or {})})

    def violation(self, kind: str = "no_mask", at: datetime = NOW) -> int:
        """An alert with its picture, its film, and the sealed original of the picture."""
        data = {"kind": kind, "camera_name": "备餐间 1", "place": "备餐间", "confidence": 0.93}
        incident = uuid.uuid4().hex
        self.box.send_event("violation_opened", incident_id=incident, source_id="cam-1", at=at, data=data)
        for number, role in enumerate(("annotated", "snapshot")):
            blob = picture(hash((incident, number)), (640, 360))
            sealed = self.box.evidence(blob, incident, role=role, kind=kind, taken_at=at)
            assert self.box.send_evidence(sealed, sha256_hex(blob)).status_code == 201
        found = self.ask("regulator", "GET", "/api/v1/alerts", 200, params={"limit": 200}).json()["alerts"]
        return int(next(alert["id"] for alert in found if alert["incident_id"] == incident))

    def move(self, role: str, alert_id: int, kind: str, note: str = "") -> None:
        self.ask(role, "POST", f"/api/v1/alerts/{alert_id}/moves/{kind}", 200, data={"note": note})

    def rectify(self, alert_id: int) -> None:
        said = {**proof(), "place": "备餐间", "matter": "已佩戴口罩并培训", "scene": "备餐间"}
        files = {"photo": ("p.jpg", picture(alert_id, (90, 120)), "image/jpeg")}
        self.ask("staff", "POST", f"/api/v1/alerts/{alert_id}/rectifications", 201, data=said, files=files)

    def alerts(self) -> None:
        """One in each state, with cards, an interview, a hold and a frame that was pushed."""
        start_s = (NOW - timedelta(hours=2) - AT).total_seconds()
        readings = [reading(4.0 + minute / 15, start_s + 60.0 * minute) for minute in range(120)]
        assert self.box.send(self.box.seal("readings", readings)).status_code == 200
        self.box.send_event(at=NOW - timedelta(minutes=50), data={"sensor_name": "冷藏库", "value_c": 8.4})
        self.violation("rodent")
        for steps in (("acknowledge", "start"), (), ("accept",), ("reject",)):
            alert_id = self.violation(at=NOW - timedelta(minutes=5))
            if steps in (("accept",), ("reject",), ()):
                self.rectify(alert_id)
            for step in steps:
                reviewed = step in ("accept", "reject")
                self.move("regulator" if reviewed else "staff", alert_id, step, "照片模糊" if reviewed else "")
        dismissed = self.violation("no_hat")
        self.move("regulator", dismissed, "dismiss", "海报上的人像")
        self.move("regulator", dismissed - 1, "push", "请关注")
        self.post("administrator", f"/alerts/{dismissed}/hold", {"reason": "等待复查结果"})
        with self.district.database() as db:
            for colour, at in (("yellow", AT), ("red", NOW)):
                db.add(Card(site_id=self.canteen.site_id, alert_id=dismissed, colour=colour, due_at=at, at=at))

    def assets(self) -> str:
        """A row in each table; gives the path of the public page."""
        base, soon = f"/sites/{self.canteen.site_id}", (NOW + timedelta(days=9)).date()
        rows: dict[str, dict[str, Any]] = {
            "sites": {"time_zone": "Asia/Shanghai", "type": "school", "address": "和平路 1 号", "grade": "A"},
            "contacts": {"role": "chef", "person": "王丽", "phone": "13800000000"},
            "certificates": {
                "kind": "licence", "number": "JY33301060012345", "holder": "阳光小学第二食堂", "expires_on": soon,
            },
            "cold_rooms": {"name": "冷库", "kind": "chilled", "filing_number": "HZ-0001"},
            "sensors": {
                "serial": "SN-1", "name": "冷库", "cold_room": "冷库", "box_id": self.box.box_id,
                "source_id": "cold-1", "calibrated_on": date(2026, 1, 1), "calibration_due_on": date(2099, 1, 1),
            },
            "cameras": {"name": "备餐间", "place": "备餐间", "box_id": self.box.box_id, "source_id": "cam-1"},
        }  # fmt: skip
        for table, row in rows.items():
            self.post("safety_officer", f"{base}/assets/{table}", {key: str(value) for key, value in row.items()})
        self.post("safety_officer", f"{base}/public-page")
        page = self.ask("staff", "GET", base, 200).text
        return "/p/" + page.partition('href="/p/')[2].partition('"')[0]

    def boxes(self) -> None:
        """What a box told, a hole, commands in every state, and a roll-out that failed beside one under way."""
        told = {"version": "0.1.0", "clock_synced": True, "config_sha256": "0" * 64, "pending_events": 3}
        models = {"release": 1, "release_sha256": "0" * 64, "model_releases": ["mask 0123456789ab"]}
        self.box.send_event("box_status", at=NOW, data={"kind": "heartbeat", **told, **models})
        assert self.box.send(self.box.seal("readings", [reading()], seq=5)).status_code == 200
        at = (NOW - timedelta(minutes=5)).isoformat()[:19]
        for fields in ({"kind": "snapshot"}, {"kind": "clip", "at": at, "before_s": "3", "after_s": "9"}):
            self.post("regulator", f"/boxes/{self.box.box_id}/commands", {"camera": "cam-1", **fields})
        with self.district.database() as db:
            release = Release(
                name="canteen-2", sha256="0" * 64, size_bytes=1, region_path="/", made_by="A", made_at=AT, kind="model",
                slot="mask", model_sha256="1" * 64,
            )  # fmt: skip
            for state in ("paused", "rolled_back", "done"):
                row = Rollout(
                    release=release, stages=[1], soak_s=900, state=state, stage=0, begun_by="A", begun_at=AT,
                    changed_at=AT, reason=f"{self.box.box_id} fell silent" if state == "rolled_back" else "",
                )  # fmt: skip
                row.boxes = [RolloutBox(box_id=self.box.box_id, position=0, stage=0, state="waiting", changed_at=AT)]
                db.add(row)

    def papers(self) -> None:
        """Self-control records of each state, samples, a sensor card and a signed report."""
        self.canteen.signed("daily", DAY)
        self.canteen.start("daily", NOW.date() - timedelta(days=1))
        self.canteen.start("weekly", DAY)
        path = f"/api/v1/self-control/samples?site={self.canteen.site_id}"
        for _ in range(2):
            sample = self.ask("staff", "POST", path, 201, json=new_sample()).json()
        self.post("staff", f"/records/samples/{sample['id']}/void", {"reason": "照片模糊"})
        path = f"/api/v1/reports/sensors/{self.canteen.box.box_id}/cold-1/cards"
        self.ask("staff", "POST", path, 201, json={"valid_from": "2026-01-01", "name": "冷库", "ccp": "CCP 1"})
        place = type("Place", (), {"box_id": self.canteen.box.box_id, "site_id": self.canteen.site_id})
        base = "/api/v1/reports/drafts/temperature"
        draft = self.ask("staff", "GET", f"{base}/json", 200, params=wanted(cast(Any, place)))
        seen = {"content_sha256": draft.json()["content_sha256"]}
        self.ask("staff", "POST", f"{base}/sign", 201, params=wanted(cast(Any, place)), data=seen)


def furnish(data: Path) -> Whole:
    """Lay the canteen down in *data*; nothing runs there afterwards."""
    with settled(data, picture, places=(), people=()) as district:
        furnishing = Furnishing(district)
        furnishing.alerts()
        public_path = furnishing.assets()
        furnishing.boxes()
        furnishing.papers()
        for role in ("regulator", "administrator"):
            district.give_token(furnishing.people[role])
        free_box_id = Box(cast(Centre, district), "A").box_id
        with district.database() as db:
            db.get_one(Site, furnishing.canteen.site_id).name = SITE_NAME
        people: dict[str, Somebody] = furnishing.people
        return Whole(
            {role: who.cookie for role, who in people.items()},
            {role: who.name for role, who in people.items()},
            free_box_id,
            public_path,
        )
