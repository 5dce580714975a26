"""A release on its way: to the box that may have it, as its words allow, and back; each seen only within reach."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from server.models_boxes import BoxSilence
from telemetry.batch import sha256_hex
from tests.server.rollout.fleet import DOCUMENT, SOAK_S, Fleet
from tests.server.tenancy.district import District, Somebody

StoreTest = Callable[[District, Somebody], None]  # also run on PostgreSQL: tests/contract/test_rollout_store.py


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


def test_word_of_a_box_whose_command_had_expired_counts_while_the_rollout_is_under_way(
    district: District, administrator: Somebody
) -> None:
    fleet = Fleet(district, administrator, 1)
    (box,) = fleet.boxes
    rollout = fleet.begin(fleet.release()["id"], stages=["100%"])
    fleet.turn()
    fleet.tell(box, "command", "failed", "x")
    fleet.turn()
    assert fleet.shown(rollout) == ("paused", ["refused"])
    fleet.tell(box, "release", "applied")
    assert fleet.shown(rollout) == ("paused", ["applied"])
    fleet.post(f"/api/v1/rollouts/{rollout['id']}/roll_back", 200)
    fleet.turn()
    assert fleet.shown(rollout) == ("rolling_back", ["going_back"])  # it has it, and must not keep it


def test_page_of_a_box_shows_the_release_that_it_has(district: District, administrator: Somebody) -> None:
    (box,) = Fleet(district, administrator, 1).boxes
    digest = "ab" * 32
    told = {"kind": "heartbeat", "release": "17", "release_sha256": digest, "release_on_trial": True}
    box.send_event("box_status", data=told)
    page = district.ask(administrator, "GET", f"/boxes/{box.box_id}").text
    assert f'17 <code title="{digest}">{digest[:12]}</code>' in page
    assert "on trial" in page
