"""A release on its way: to the box that may have it, as its words allow, and back; each seen only within reach."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pytest

from server.models_audit import AuditEntry
from server.models_boxes import BoxSilence
from server.rollout.desk import turn
from telemetry.batch import sha256_hex
from telemetry.commands import Call, Command, Fetch, Signed, open_answer, sign_call, sign_fetch
from telemetry.signing import Signer
from tests.server.centre import Box, Centre
from tests.server.tenancy.district import District, Somebody, settled

DOCUMENT = "limits: [{sensor: cold-1, high_c: 6, delay_s: 600}]\n"
SOAK_S = 900


@pytest.fixture(scope="module")
def district(tmp_path_factory: pytest.TempPathFactory, jpeg: Callable[..., bytes]) -> Iterator[District]:
    with settled(tmp_path_factory.mktemp("rollout") / "data", jpeg, places=()) as made:
        yield made


@pytest.fixture(scope="module")
def administrator(district: District) -> Somebody:
    return district.somebody("administrator", "")


class Fleet:
    """Boxes of site A, and the centre's clock."""

    def __init__(self, district: District, who: Somebody, count: int) -> None:
        self.district, self.who = district, who
        self.boxes = sorted((Box(cast(Centre, district), "A") for _ in range(count)), key=lambda box: box.box_id)
        self.now = datetime.now(UTC)
        self.number = int(time.time() * 1000)
        self.taken: dict[str, Command] = {}

    def post(self, path: str, status: int, **said: Any) -> dict[str, Any]:
        answer = self.district.ask(self.who, "POST", path, **said)
        assert answer.status_code == status, answer.text
        return cast(dict[str, Any], answer.json())

    def release(self, document: str = DOCUMENT, status: int = 201) -> dict[str, Any]:
        return self.post("/api/v1/releases", status, params={"name": "tighter"}, content=document.encode())

    def begin(self, release: int, *, stages: list[int | str], status: int = 201) -> dict[str, Any]:
        names = [box.box_id for box in self.boxes]
        body = {"release": release, "boxes": names, "stages": stages, "soak_s": SOAK_S}
        return self.post("/api/v1/rollouts", status, json=body)

    def turn(self, later_s: float = 1) -> None:
        self.now += timedelta(seconds=later_s)
        with self.district.database() as db:
            turn(db, self.now)

    def commands(self, box: Box) -> list[Command]:
        self.number += 1
        call = Call(box_id=box.box_id, number=self.number, wait_s=0)
        body = sign_call(call, box.signer).model_dump()
        answer = self.district.client_.post("/api/v1/boxes/self/commands", json=body)
        centre_key = Signer.load(self.district.settings.data_dir / "commands.key").public_key
        return open_answer(Signed.model_validate_json(answer.content), centre_key, call)

    def fetch(self, box: Box, digest: str, signer: Signer | None = None) -> httpx.Response:
        self.number += 1
        asked = sign_fetch(Fetch(box_id=box.box_id, number=self.number, sha256=digest), signer or box.signer)
        return self.district.client_.post("/api/v1/boxes/self/release", json=asked.model_dump())

    def tell(self, box: Box, kind: str, status: str, reason: str = "") -> Command:
        command = self.commands(box)[0] if kind == "command" else self.taken[box.box_id]
        self.taken[box.box_id] = command
        data = {"kind": kind, "command_id": command.command_id, "status": status, "reason": reason}
        box.send_event("box_status", data=data)
        return command

    def apply(self, box: Box) -> Command:
        """The box does as it is told, and stays up."""
        command = self.tell(box, "command", "done")
        self.turn()
        self.tell(box, "release", "applied")
        self.turn()
        return command

    def shown(self, rollout: dict[str, Any]) -> tuple[str, list[str]]:
        found = self.district.ask(self.who, "GET", f"/api/v1/rollouts/{rollout['id']}").json()
        return found["state"], [box["state"] for box in found["boxes"]]

    def actions(self) -> list[str]:
        with self.district.database() as db:
            return [row.action for row in db.query(AuditEntry).order_by(AuditEntry.seq)]


def test_release_reaches_stage_after_stage_and_only_boxes_that_are_offered_it(
    district: District, administrator: Somebody
) -> None:
    fleet = Fleet(district, administrator, 2)
    first, second = fleet.boxes
    release = fleet.release()
    assert release["sha256"] == sha256_hex(DOCUMENT.encode())
    rollout = fleet.begin(release["id"], stages=[1, "100%"])
    fleet.turn()
    assert fleet.fetch(first, release["sha256"]).content == DOCUMENT.encode()
    assert fleet.fetch(second, release["sha256"]).status_code == 404
    assert fleet.fetch(first, "0" * 64).status_code == 404
    assert fleet.fetch(first, release["sha256"], second.signer).status_code == 400
    command = fleet.apply(first)
    assert command.arguments == {"release": str(release["id"]), "sha256": release["sha256"]}
    fleet.turn(SOAK_S - 60)
    assert fleet.shown(rollout) == ("running", ["applied", "waiting"])
    fleet.turn(120)
    assert fleet.shown(rollout) == ("running", ["applied", "offered"])
    fleet.apply(second)
    fleet.turn(SOAK_S + 60)
    assert fleet.shown(rollout) == ("done", ["applied", "applied"])
    assert fleet.actions()[-1] == "rollout.done"


def test_box_that_fails_takes_the_release_back_from_the_others_by_itself(
    district: District, administrator: Somebody
) -> None:
    fleet = Fleet(district, administrator, 2)
    first, second = fleet.boxes
    older = fleet.release()
    rollout = fleet.begin(older["id"], stages=["100%"])
    fleet.turn()
    for box in fleet.boxes:
        fleet.apply(box)
    fleet.turn(SOAK_S + 60)
    newer = fleet.release(DOCUMENT.replace("6", "5", 1))
    rollout = fleet.begin(newer["id"], stages=["100%"])
    fleet.begin(older["id"], stages=["100%"], status=422)  # one at a time
    fleet.turn()
    fleet.apply(first)
    fleet.tell(second, "command", "done")
    fleet.tell(second, "release", "failed", "the box was started 3 times")
    fleet.turn()
    assert fleet.shown(rollout) == ("rolling_back", ["going_back", "failed"])
    assert fleet.apply(first).arguments["sha256"] == older["sha256"]
    assert fleet.commands(second) == []
    assert fleet.shown(rollout) == ("rolled_back", ["back", "failed"])
    page = district.ask(administrator, "GET", "/boxes/rollouts").text
    assert "the box was started 3 times" in page
    assert "Taken back" in page


def test_box_that_falls_silent_is_offered_its_own_file_again(district: District, administrator: Somebody) -> None:
    fleet = Fleet(district, administrator, 1)
    rollout = fleet.begin(fleet.release()["id"], stages=["100%"])
    fleet.turn()
    fleet.apply(fleet.boxes[0])
    with district.database() as db:
        db.add(BoxSilence(box_id=fleet.boxes[0].box_id, incident_id="i", silent_since=fleet.now))
    fleet.turn()
    assert fleet.shown(rollout) == ("rolling_back", ["going_back"])
    command = fleet.commands(fleet.boxes[0])[0]
    assert command.arguments == {"release": "", "sha256": ""}


def test_box_that_refuses_pauses_it_and_a_person_goes_on_or_back(district: District, administrator: Somebody) -> None:
    fleet = Fleet(district, administrator, 1)
    rollout = fleet.begin(fleet.release()["id"], stages=["100%"])
    fleet.turn()
    fleet.tell(fleet.boxes[0], "command", "refused", "no id in sensors")
    fleet.turn()
    assert fleet.shown(rollout) == ("paused", ["refused"])
    path = f"/api/v1/rollouts/{rollout['id']}"
    fleet.post(f"{path}/pause", 422)
    fleet.post(f"{path}/resume", 200)
    fleet.turn()
    assert fleet.shown(rollout) == ("running", ["offered"])
    form = {"data": {"csrf": administrator.csrf}}
    answer = district.ask(administrator, "POST", f"/boxes/rollouts/{rollout['id']}/roll_back", **form)
    assert answer.status_code == 303
    fleet.turn()
    assert fleet.shown(rollout) == ("rolling_back", ["going_back"])


@pytest.mark.parametrize(
    "document",
    [
        "server: {url: https://elsewhere.example}", "cameras: [{id: a, source: rtsp://x}]",
        "cameras: [{id: a, masks: []}]", "sensors: [{id: a, name: {file: box.key}}]",
        "remote: {allow: [restart]}", "a: &x [1]\nb: *x", "{", "", "limits",
        "sensors: {a: 1}", "sensors: [{id: a}, {id: a}]",
    ],
)  # fmt: skip
def test_document_beyond_the_named_sections_is_refused(
    district: District, administrator: Somebody, document: str
) -> None:
    assert Fleet(district, administrator, 0).release(document, status=422)["code"] == "release"


def test_release_that_is_too_large_is_refused(district: District, administrator: Somebody) -> None:
    Fleet(district, administrator, 0).release("#" * 300_000, status=413)


def test_stage_shorter_than_the_silence_bound_is_refused(district: District, administrator: Somebody) -> None:
    fleet = Fleet(district, administrator, 1)
    body = {"release": fleet.release()["id"], "boxes": [fleet.boxes[0].box_id], "soak_s": 60}
    assert "soak_s" in fleet.post("/api/v1/rollouts", 422, json=body)["detail"]


def test_administrator_of_a_region_sees_and_moves_nothing_of_another(
    district: District, administrator: Somebody
) -> None:
    fleet = Fleet(district, administrator, 1)
    release = fleet.release()
    rollout = fleet.begin(release["id"], stages=["100%"])
    district.enrol_code("B")
    theirs, ours = district.somebody("administrator", "B"), district.somebody("administrator", "A")
    body = {"release": release["id"], "boxes": [fleet.boxes[0].box_id], "soak_s": SOAK_S}
    for who, status in ((theirs, 404), (ours, 200)):
        listed = district.ask(who, "GET", "/api/v1/rollouts").json()["rollouts"]
        assert (rollout["id"] in [row["id"] for row in listed]) == (status == 200)
        assert district.ask(who, "GET", f"/api/v1/rollouts/{rollout['id']}").status_code == status
    assert "no box is meant" in district.ask(theirs, "POST", "/api/v1/rollouts", json=body).json()["detail"]
    own = district.ask(theirs, "POST", "/api/v1/releases", params={"name": "b"}, content=DOCUMENT.encode()).json()["id"]
    seen = {who.name: district.ask(who, "GET", "/api/v1/releases").json()["releases"] for who in (ours, theirs)}
    assert own in [row["id"] for row in seen[theirs.name]]
    assert own not in [row["id"] for row in seen[ours.name]]
    assert release["id"] in [row["id"] for row in seen[ours.name]]  # made above: to be used below
