"""Every route × every role × every place, from the routes themselves: one without a rule or a sample request fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, cast

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Mount, Route

from server import live
from server.access import Needs, OpenTo
from server.app import create_app
from server.life_cycle.state import MAY
from server.policy import Permission, may
from server.reports.ledger import MAY as REPORT_MAY
from server.settings import Settings
from telemetry.batch import sha256_hex
from tests.server.centre import Box, Centre
from tests.server.tenancy.district import District, Place, Somebody, new_sample, wanted

NOT_OURS = {"/api/openapi.json", "/static"}  # the framework's own, open to everybody
NOTE: dict[str, Any] = {"data": {"note": "x"}}
REASON: dict[str, Any] = {"data": {"reason": "court case 12"}}
CARD: dict[str, Any] = {"json": {"valid_from": "2026-01-01", "name": "again"}}  # refused to whoever may: no reason
PHOTO: dict[str, Any] = {"files": {"photo": ("p.jpg", b"no photo", "image/jpeg")}}
UNSEEN: dict[str, Any] = {"data": {"content_sha256": "0" * 64}}


def _days(place: Place) -> dict[str, Any]:
    period = {"from": "2026-01-02", "to": "2026-01-02"}
    return {"params": {"source": f"{place.box_id}/cold-1", "site": place.site_id, **period}}


def _of_site(place: Place) -> dict[str, Any]:
    return {"params": {"site": place.site_id}}


def _nothing(_: Place) -> dict[str, Any]:
    return {}


def _said(said: dict[str, Any]) -> Callable[[Place], dict[str, Any]]:
    return lambda _: said


# what a request to a route carries so that it gets as far as the object
SAMPLES: dict[str, Callable[[Place], dict[str, Any]]] = {
    "POST /api/v1/alerts/{alert_id}/moves/{kind}": _said(NOTE),
    "POST /api/v1/alerts/{alert_id}/rectifications": _said(PHOTO),
    "POST /api/v1/alerts/{alert_id}/hold": _said(REASON),
    "DELETE /api/v1/alerts/{alert_id}/hold": _said({"params": {"reason": "over"}}),
    "POST /alerts/{alert_id}/hold": _said({"data": {"reason": "court case 12", "csrf": ""}}),
    "POST /alerts/{alert_id}/hold/{hold_id}/lift": _said({"data": {"reason": "over", "csrf": ""}}),
    "POST /alerts/{alert_id}/submit": _said(PHOTO),
    "POST /alerts/{alert_id}/{kind}": _said(NOTE),
    "POST /api/v1/boxes/{box_id}/commands": _said({"json": {"kind": "restart"}}),
    "POST /boxes/{box_id}/commands": _said({"data": {"kind": "snapshot", "camera": "x", "csrf": ""}}),
    "POST /records": lambda place: {"data": {"site": place.site_id, "kind": "daily", "day": "2026-01-02"}},
    "GET /records/samples": _of_site,
    "POST /records/samples": lambda place: {"data": {"site": place.site_id}},
    "POST /api/v1/self-control/records": lambda place: {
        "json": {"site": place.site_id, "kind": "daily", "day": "2026-01-02"}
    },
    "PUT /api/v1/self-control/records/{record_id}/form": _said({"json": {}, "params": {"version": 0}}),
    "POST /api/v1/self-control/records/{record_id}/sign": _said(UNSEEN),
    "POST /api/v1/self-control/records/{record_id}/corrections": _said(
        {"data": {"target": "x", "corrected": "y", "reason": "z"}}
    ),
    "GET /api/v1/self-control/samples": _of_site,
    "POST /api/v1/self-control/samples": lambda place: {"json": new_sample(), **_of_site(place)},
    "GET /coverage": lambda place: {"params": {"site": place.site_id}},
    "POST /api/v1/interviews/{interview_id}/hold": _said(NOTE),
    "POST /interviews/{interview_id}/hold": _said(NOTE),
    "GET /reports/temperature": _days,
    "GET /reports/haccp": _days,
    "GET /api/v1/reports/drafts/{kind}/{format}": lambda place: {"params": wanted(place)},
    "POST /api/v1/reports/drafts/{kind}/sign": lambda place: {"params": wanted(place), **UNSEEN},
    "POST /api/v1/reports/sensors/{box_id}/{sensor_id}/cards": _said(CARD),
    "POST /api/v1/reports/{number}/corrections": _said({"data": {"target": "x", "corrected": "y", "reason": "z"}}),
    "PUT /api/v1/sites/{site_id}/assets/{table}": _said({"json": {"name": "一号库"}}),
    "POST /sites/{site_id}/assets/{table}": _said({"data": {"name": "一号库"}}),
    "POST /api/v1/assets/import": _said({"content": b"site,name\n"}),
    "POST /assets/import": _said({"files": {"file": ("a.csv", b"site,name\n", "text/csv")}}),
    "POST /reports/{number}/{kind}": _said({"data": {"target": "x", "corrected": "y", "reason": "z"}}),
    "POST /api/v1/tokens": _said({"json": {"name": "x", "permissions": ["alert.read"]}}),
    "POST /api/v2/write": _said({"content": b"temperature value=1"}),
    "POST /tokens": _said({"data": {"name": "x", "permissions": ["alert.read"], "csrf": ""}}),
    "POST /users": _said({"data": {"username": "x", "csrf": ""}}),
    "POST /users/{user_id}/{act}": _said({"data": {"csrf": "", "password": "short"}}),
    "POST /oidc/link": _said({"data": {"csrf": "", "password": "x"}}),
    "POST /oidc/unlink": _said({"data": {"csrf": "", "password": "x"}}),
    "POST /tokens/{token_id}/revoke": _said({"data": {"csrf": ""}}),
    "POST /api/v1/releases": _said({"params": {"name": "x"}, "content": b"cameras: []"}),
    "POST /api/v1/model-releases": _said({"files": {"manifest": ("m.json", b"{}", "application/json")}}),
    "POST /api/v1/rollouts": _said({"json": {"release": 1}}),  # no box is meant: 422
    "POST /boxes/rollouts": _said({"data": {"release": 1, "csrf": ""}}),
    "POST /boxes/rollouts/models": _said({"files": {"manifest": ("m.json", b"{}", "application/json")}}),
    "POST /boxes/rollouts/{rollout_id}/{move}": _said({"data": {"csrf": ""}}),
}
# routes with a rule of several permissions: which one the sample asks for
ASKS: dict[str, Permission] = {
    "POST /api/v1/alerts/{alert_id}/moves/{kind}": MAY["acknowledge"],
    "POST /alerts/{alert_id}/{kind}": MAY["acknowledge"],
    "POST /reports/{number}/{kind}": REPORT_MAY["correct"],
    "GET /api/v1/evidence/{sha256}": "evidence.blurred",
}
# objects that are named in the query or body instead of the path
NAMED_INSIDE = {
    "GET /coverage", "GET /records/samples", "POST /records/samples", "GET /reports/temperature", "GET /reports/haccp",
    "GET /api/v1/self-control/samples", "POST /api/v1/self-control/samples", "POST /api/v1/self-control/records",
    "GET /api/v1/reports/drafts/{kind}/{format}", "POST /api/v1/reports/drafts/{kind}/sign",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Door:
    """One method of one route, and its rule."""

    name: str
    method: str
    path: str
    rule: Needs | OpenTo

    def permission(self) -> tuple[Permission, ...]:
        assert isinstance(self.rule, Needs)
        return (ASKS[self.name],) if self.name in ASKS else self.rule.permissions

    def names_an_object(self) -> bool:
        return self.name in NAMED_INSIDE or "_id}" in self.path or "{sha256}" in self.path or "{number}" in self.path

    def ask(self, district: District, who: Somebody | None, place: Place) -> httpx.Response:
        words = {
            "alert_id": place.alert_id, "sha256": place.picture, "box_id": place.box_id, "sensor_id": "cold-1",
            "number": place.number, "interview_id": place.interview_id, "record_id": place.record_id,
            "sample_id": place.sample_id, "how": "removed", "by": "site", "edition": 1, "format": "json",
            "language": "en",
            "kind": "temperature" if "/drafts/" in self.path else "correct" if "/reports/" in self.path
            else "acknowledge", "site_id": place.site_id, "table": "cold_rooms", "asset_id": 1, "token": "x" * 22,
            "channel_id": 1, "act": "try", "source": "kitchen-vision",
            "rollout_id": place.rollout_id, "move": "pause", "hold_id": 2**40,
            "token_id": _own_token(district, who, place),
        }  # fmt: skip
        if self.path.startswith("/users"):
            words |= {"user_id": place.user_id, "act": "password"}
        path = self.path.format(**words)
        said = SAMPLES.get(self.name, _nothing)(place)
        if who and "csrf" in said.get("data", ()):
            said = {**said, "data": {**said["data"], "csrf": who.csrf}}
        return district.ask(who, self.method, path, **said)


def _own_token(district: District, who: Somebody | None, place: Place) -> int:
    """One's own where one reaches the place, else nobody's: tokens belong to people, not to places."""
    mine = who is not None and any(who.reaches(name) for name, known in district.places.items() if known is place)
    return district.tokens.get(who.name, 1) if who is not None and mine else 2**40


def _routes(routes: list[Any]) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "original_router"):
            yield from _routes(route.original_router.routes)
        else:
            assert isinstance(route, Route | Mount)
            assert route.path in NOT_OURS, f"{route.path} has no rule"


def doors(settings: Settings) -> list[Door]:
    """Every door of the application; fails where a route does not have exactly one rule."""
    found = []
    for route in _routes(list(create_app(settings).routes)):
        rules = [item.call for item in route.dependant.dependencies if isinstance(item.call, Needs | OpenTo)]
        assert len(rules) == 1, f"{route.path} needs one rule: needs(...) or open_to(...)"
        found += [Door(f"{m} {route.path}", m, route.path, rules[0]) for m in sorted(route.methods - {"HEAD"})]
    return found


@pytest.fixture(autouse=True)
def short_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event stream ends at once: what counts is whether it begins."""
    monkeypatch.setattr(live, "STREAM_LIFE_S", 0.0)


def told_to_log_in(answer: httpx.Response) -> bool:
    return answer.status_code == 401 or (answer.status_code == 303 and answer.headers["location"] == "/login")


def refused(answer: httpx.Response) -> bool:
    """By role, not for another reason (the form's token, the reviewer's own report)."""
    return answer.status_code == 403 and ("not_allowed" in answer.text or "You may not do this" in answer.text)


def test_nobody_passes_a_door_that_is_not_open_to_everybody(district: District) -> None:
    for door in doors(district.settings):
        answer = door.ask(district, None, district.places["A"])
        closed = isinstance(door.rule, Needs) or door.rule.who in ("logged_in", "first_factor")
        assert answer.status_code < 500, door.name
        if closed:
            assert told_to_log_in(answer), f"{door.name}: {answer.status_code}"
        else:
            assert not refused(answer), f"{door.name}: {answer.status_code}"


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_every_role_passes_exactly_its_doors_and_reaches_exactly_its_places(district: District, whole: bool) -> None:
    """Not *whole*: a place is asked for where the rule may tell it from another, by its name in the request and by the
    right to it; whoever may not pass at all asks in their own place."""
    wrong = []
    checked = 0
    for door in doors(district.settings):
        if not isinstance(door.rule, Needs):
            continue
        for who in district.people:
            user = district.user(who)
            allowed = any(may(user, permission) for permission in door.permission())
            far = whole or (allowed and door.names_an_object())
            for name in district.places if far else ("A",):
                answer = door.ask(district, who, district.places[name])
                checked += 1
                hidden = door.names_an_object() and not who.reaches(name)
                if allowed and hidden:
                    fits = answer.status_code == 404
                elif allowed:
                    fits = not (told_to_log_in(answer) or refused(answer) or answer.status_code in (404, 405, 500))
                else:
                    fits = refused(answer) or (hidden and answer.status_code == 404)
                if not fits:
                    wrong.append(f"{door.name} by {who.role} of {who.place or 'all'} on {name}: {answer.status_code}")
    assert not wrong, "\n".join(wrong)
    assert checked > 700


def test_lists_hold_exactly_what_lies_within_reach(district: District) -> None:
    for who in district.people:
        within = {name for name in district.places if who.reaches(name)}
        alerts = district.ask(who, "GET", "/api/v1/alerts").json()
        assert {alert["site"] for alert in alerts["alerts"]} == within, who.name
        assert sum(alerts["counts"].values()) == len(within), who.name
        if not may(district.user(who), "report.read"):
            continue
        reports = district.ask(who, "GET", "/api/v1/reports").json()["reports"]
        sensors = district.ask(who, "GET", "/api/v1/reports/sensors").json()["sensors"]
        assert {report["site"] for report in reports} == within, who.name
        assert {sensor["site"] for sensor in sensors} == within, who.name


def test_a_parent_sees_the_blurred_picture_and_no_other(district: District, jpeg: Callable[..., bytes]) -> None:
    parent = next(who for who in district.people if who.role == "viewer")
    box = Box(cast(Centre, district), "A")
    event = box.send_event()
    for seed, role, faces in ((91, "annotated", "blurred"), (92, "snapshot", "not_checked"), (93, "sealed", None)):
        blob = jpeg(seed)
        sealed = box.evidence(blob, event.incident_id, role=role, faces=faces)
        assert box.send_evidence(sealed, sha256_hex(blob)).status_code == 201
        answer = district.ask(parent, "GET", f"/api/v1/evidence/{sha256_hex(blob)}")
        assert answer.status_code == (200 if role == "annotated" else 404)
    alert_id = district.ask(parent, "GET", "/api/v1/alerts").json()["alerts"][0]["id"]
    shown = district.ask(parent, "GET", f"/api/v1/alerts/{alert_id}").json()["evidence"]
    assert [item["role"] for item in shown] == ["annotated"]
