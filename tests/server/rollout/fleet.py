"""Boxes of one site that take releases, and the centre's clock; for tests of roll-outs."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx

from server.models_audit import AuditEntry
from server.rollout.desk import turn
from telemetry.batch import sha256_hex
from telemetry.commands import Call, Command, Fetch, Signed, open_answer, sign_call, sign_fetch
from telemetry.signing import Signer
from tests.server.centre import Box, Centre
from tests.server.tenancy.district import District, Somebody

DOCUMENT = "limits: [{sensor: cold-1, high_c: 6, delay_s: 600}]\n"
SOAK_S = 900


def manifest_of(model: bytes, **changes: Any) -> bytes:
    """What has to stand beside a model, but for the *changes*."""
    said = {"sha256": sha256_hex(model), "input_px": 320, "names": {"0": "mask", "1": "no_mask"}, "licence": "x"}
    return json.dumps({**said, **changes}).encode()


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

    def model(
        self, model: bytes = b"v1", status: int = 201, *, slot: str = "mask", name: str = "m", **changes: Any
    ) -> dict[str, Any]:
        """Upload *model* with a manifest that fits but for the *changes*."""
        files = {"manifest": ("m.json", manifest_of(model, **changes)), "model": ("m.onnx", model)}
        return self.post("/api/v1/model-releases", status, data={"name": name, "slot": slot}, files=files)

    def begin(self, release: int, *, stages: list[int | str], status: int = 201, mode: str = "live") -> dict[str, Any]:
        names = [box.box_id for box in self.boxes]
        body = {"release": release, "boxes": names, "stages": stages, "soak_s": SOAK_S, "mode": mode}
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

    def fetch(self, box: Box, digest: str, signer: Signer | None = None, **headers: str) -> httpx.Response:
        self.number += 1
        asked = sign_fetch(Fetch(box_id=box.box_id, number=self.number, sha256=digest), signer or box.signer)
        return self.district.client_.post("/api/v1/boxes/self/release", json=asked.model_dump(), headers=headers)

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
