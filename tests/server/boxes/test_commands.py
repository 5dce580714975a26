"""Commands reach their own box alone, once, on a call that nobody else can make or make again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from telemetry.batch import sha256_hex
from telemetry.commands import Call, Command, CommandError, Commands, Signed, open_answer, sign_answer, sign_call
from telemetry.signing import PublicKey, Signer
from tests.server.centre import Box, Centre, Person, is_problem
from tests.waiting import wait_for

RECHECK = {"kind": "recheck", "arguments": {"camera": "cam", "kind": "no_mask", "zone": "desk"}}


class Caller:
    """A box at the door for commands."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.number = int(time.time() * 1000)

    def call(self, wait_s: int = 0, known: Sequence[str] = ()) -> Call:
        self.number += 1
        return Call(box_id=self.box.box_id, number=self.number, wait_s=wait_s, known=list(known))

    def post(self, call: Call, signer: Signer | None = None) -> httpx.Response:
        body = sign_call(call, signer or self.box.signer).model_dump()
        with self.box.centre.client() as client:
            return client.post("/api/v1/boxes/self/commands", json=body)

    def commands(self, wait_s: int = 0, known: Sequence[str] = ()) -> list[Command]:
        call = self.call(wait_s, known)
        answer = self.post(call)
        assert answer.status_code == 200, answer.text
        return open_answer(Signed.model_validate_json(answer.content), centre_key(self.box), call)


def centre_key(box: Box) -> PublicKey:
    return Signer.load(box.centre.data / "commands.key").public_key


def order(person: Person, box: Box, body: dict[str, Any], status: int = 202) -> dict[str, Any]:
    answer = person.post(f"/api/v1/boxes/{box.box_id}/commands", json=body, headers=person.csrf)
    assert answer.status_code == status, answer.text
    read: dict[str, Any] = answer.json()
    return read


def test_command_waits_for_its_box_alone_until_the_result_is_here(centre: Centre, regulator: Person) -> None:
    box, other = centre.box(), centre.box()
    given = order(regulator, box, RECHECK)
    caller = Caller(box)
    first, again = caller.commands(), caller.commands()
    assert [item.command_id for item in first] == [given["id"]]
    assert first == again
    assert first[0].arguments == RECHECK["arguments"]
    assert caller.commands(known=[given["id"]]) == []
    assert Caller(other).commands() == []
    result = {"kind": "command", "command_id": given["id"], "status": "done", "verdict": "compliant"}
    other.send_event("box_status", data={**result, "verdict": "forged"})
    box.send_event("box_status", data=result)
    box.send_event("box_status", data={**result, "status": "failed", "verdict": "second word"})
    row = regulator.get(f"/api/v1/boxes/{box.box_id}/commands").json()["commands"][0]
    assert (row["state"], row["result"]["verdict"], row["by"]) == ("done", "compliant", regulator.name)
    assert caller.commands() == []


def test_waiting_call_is_answered_when_the_command_comes(centre: Centre, regulator: Person) -> None:
    caller = Caller(centre.box())
    found: list[Command] = []
    waits = threading.Thread(target=lambda: found.extend(caller.commands(wait_s=30)))
    started_s = time.monotonic()
    waits.start()
    order(regulator, caller.box, {"kind": "restart"})
    waits.join(25)
    assert [item.kind for item in found] == ["restart"]
    assert time.monotonic() - started_s < 20


def test_recorded_forged_and_outdated_calls_get_nothing(centre: Centre, regulator: Person) -> None:
    caller, stranger = Caller(centre.box()), Caller(centre.box())
    order(regulator, caller.box, {"kind": "restart"})
    call = caller.call()
    assert caller.post(call).status_code == 200
    replayed = caller.post(call)
    assert (replayed.status_code, replayed.headers["brightline-after"]) == (409, str(call.number))
    forged = caller.post(caller.call(), stranger.box.signer)
    assert forged.status_code == 400
    assert is_problem(forged)
    old = Call(box_id=stranger.box.box_id, number=1000, wait_s=0)
    assert stranger.post(old).status_code == 409
    nobody = Call(box_id="box-nobody", number=caller.number, wait_s=0)
    assert caller.post(nobody).status_code == 401
    with centre.client() as client:
        for body in ({"said": "{}", "signature": ""}, {"said": "x" * 70_000, "signature": ""}, {}):
            assert client.post("/api/v1/boxes/self/commands", json=body).status_code in (400, 413, 422)


def test_answer_of_another_call_or_of_another_centre_is_refused_by_the_box(centre: Centre) -> None:
    caller = Caller(centre.box())
    call, later = caller.call(), caller.call()
    ours, theirs = Signer.load(centre.data / "commands.key"), Signer.generate()
    mine = Commands(box_id=call.box_id, number=call.number, commands=[])
    assert open_answer(sign_answer(mine, ours), ours.public_key, call) == []
    for signed, asked in ((sign_answer(mine, theirs), call), (sign_answer(mine, ours), later)):
        with pytest.raises(CommandError):
            open_answer(signed, ours.public_key, asked)


def test_expired_command_is_not_offered_and_a_wrong_one_not_queued(centre: Centre, regulator: Person) -> None:
    box = centre.box()
    caller = Caller(box)
    order(regulator, box, {"kind": "restart", "valid_s": 10})
    wait_for("the command expires", lambda: not caller.commands())
    order(regulator, box, {"kind": "snapshot"}, 422)
    order(regulator, box, {"kind": "restart", "arguments": {"shell": "rm"}}, 422)
    order(regulator, box, {"kind": "shell", "arguments": {}}, 422)
    staff = centre.person("staff", "Canteen A")
    order(staff, box, {"kind": "restart"}, 403)


def test_boxes_are_listed_with_what_they_told(centre: Centre, regulator: Person) -> None:
    box = centre.box("Canteen <b>")
    facts = {"kind": "heartbeat", "version": "9.9 <script>", "clock_synced": True, "pending_events": 3}
    box.send_event("box_status", data=facts)
    order(regulator, box, {"kind": "restart"})
    listed = regulator.get("/api/v1/boxes").json()["boxes"]
    row = next(item for item in listed if item["id"] == box.box_id)
    assert (row["status"]["version"], row["commands_waiting"], row["silent_since"]) == ("9.9 <script>", 1, None)
    page = regulator.get("/boxes", headers={"accept-language": "en"}).text
    assert "9.9 &lt;script&gt;" in page
    assert "<script>" not in page


def test_picture_that_was_asked_for_is_shown_to_whoever_sees_the_box(
    centre: Centre, regulator: Person, jpeg: Callable[..., bytes]
) -> None:
    box = centre.box()
    given = order(regulator, box, {"kind": "snapshot", "arguments": {"camera": "cam"}})
    blobs = {name: jpeg(seed) for name, seed in (("asked", 71), ("unasked", 72))}
    for name, blob in blobs.items():
        incident = given["id"] if name == "asked" else "another"
        sealed = box.evidence(blob, incident, role="snapshot", kind="snapshot")
        assert box.send_evidence(sealed, sha256_hex(blob)).status_code == 201
    paths = {name: f"/api/v1/evidence/{sha256_hex(blob)}" for name, blob in blobs.items()}
    assert regulator.get(paths["asked"]).content == blobs["asked"]
    assert regulator.get(paths["unasked"]).status_code == 404
    head = centre.person("site_head", "Canteen A")
    assert head.get(paths["asked"]).status_code == 200
    for stranger in (centre.person("site_head", "Canteen B"), centre.person("staff", "Canteen A")):
        assert stranger.get(paths["asked"]).status_code == 404
