"""A centre as a process of its own, the boxes that send to it and the people who use it; all through its real door."""

from __future__ import annotations

import io
import json
import random
import select
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from PIL import Image
from sqlalchemy.orm import Session

from server import accounts
from server.accounts import add_user, ensure_site, make_enrolment_code
from server.cli import main
from server.database import make_engine, writing
from server.settings import Settings, SqliteRecord, load_settings
from telemetry.batch import FIRST_PREVIOUS, BatchHeader, Record, seal_batch, sha256_hex
from telemetry.evidence import EvidenceManifest, seal_evidence
from telemetry.messages import Event, Lane, Reading
from telemetry.signing import Signer
from tests.ready_record import lay_ready_record
from tests.waiting import wait_for
from tests.warm import ROOT, WarmProcess, run_warm

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WAIT_S = 30.0
START_S = 60.0  # two that start at once on a busy machine
PASSWORD = "a long enough password"
# as the log-in takes the cost from the hash, each log-in of a person of the tests takes a hundredth of a real one
QUICK_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def run_cli(*args: str, text: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    """`brightline-server` with these arguments, in a process of its own."""
    done = run_warm("server.cli", *args, text=text)
    assert not check or done.returncode == 0, done.stderr
    return done


def run_here(*args: str) -> subprocess.CompletedProcess[str]:
    """`brightline-server` in this process, whatever its status: for the many runs that one of `run_cli` stands for."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        status = main(list(args))
    return subprocess.CompletedProcess(args, status, out.getvalue(), err.getvalue())


class Centre:
    """`brightline-server serve` on a free port; *settings* is what stands in its centre.yaml, if anything does.

    *cold*: started from nothing, for what measures it.
    """

    def __init__(self, data: Path, settings: str = "", *, cold: bool = False) -> None:
        self.data = data
        self._cold = cold
        if settings:
            data.mkdir(parents=True, exist_ok=True)
            (data / "centre.yaml").write_text(settings, "utf-8")
        if isinstance(self.settings.database, SqliteRecord):
            lay_ready_record(data)
        self.people: list[Person] = []
        self._start()

    def _start(self) -> None:
        serve = ("serve", "--port", "0", "--insecure-cookies", "--data", str(self.data))
        if self._cold:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server.cli", *serve], stdout=subprocess.PIPE, cwd=ROOT, text=True
            )
        else:
            self.process = WarmProcess("server.cli", *serve, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], START_S)
        if not ready:
            self.kill()
        assert ready, "the centre did not say that it serves"
        self.url = json.loads(self.process.stdout.readline())["url"]

    def kill(self) -> None:
        """End it like a power cut."""
        self.process.send_signal(signal.SIGKILL)
        self.stop()

    def restart(self) -> None:
        self._start()

    def stop(self) -> int:
        """Ask it to stop; its exit status."""
        for person in self.people:
            person.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(WAIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    @contextmanager
    def changing(self) -> Iterator[Session]:
        """The record beside the running centre, as its administrator's commands see it."""
        engine = make_engine(self.settings)
        with Session(writing(engine)) as db, db.begin():
            yield db
        engine.dispose()

    @property
    def settings(self) -> Settings:
        file = load_settings(None, self.data)
        return Settings(data_dir=self.data, mode=file.mode, database=file.database, blobs=file.blobs)

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=WAIT_S, headers=headers)

    def enrol_code(self, site: str = "Canteen A") -> str:
        with self.changing() as db:
            return make_enrolment_code(db, ensure_site(db, site))

    def box(self, site: str = "Canteen A") -> Box:
        return Box(self, site)

    def person(self, role: str, site: str | None = None, *, hasher: PasswordHasher = QUICK_HASHER) -> Person:
        """Somebody new, logged in; *hasher*: how long each of their log-ins takes."""
        name = f"{role}-{uuid.uuid4().hex[:8]}"
        with self.changing() as db, pytest.MonkeyPatch.context() as patch:
            patch.setattr(accounts, "_hasher", hasher)
            add_user(db, name, name, PASSWORD, role, ensure_site(db, site) if site else None)
        return Person(self, name)

    def verified(self) -> dict[str, Any]:
        """What `brightline-server verify` finds once the log's worker, who comes after the record, has seen it all."""

        def found() -> dict[str, Any] | None:
            said: dict[str, Any] = json.loads(run_here("verify", "--json", "--data", str(self.data)).stdout)
            return None if any(gap.startswith("log: ") for gap in said["gaps"]) else said

        answer = wait_for("every row has its leaf in the log", found)
        assert answer is not None
        return answer

    def dump(self) -> dict[str, list[Any]]:
        """Every row of every table but what a task in the background works on, and the names of the blobs."""
        with sqlite3.connect(self.data / "record.sqlite") as db:
            names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            tables = {
                name: sorted(db.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)
                for name in names
                if name not in ("event_desk", "duty", "centre_watch") and not name.startswith("log_")
            }
            tables["alert_change"] = db.execute("SELECT event_id, change FROM alert_change ORDER BY id").fetchall()
        db.close()
        blobs = self.data / "blobs"
        tables["blobs"] = sorted(path.name for path in blobs.rglob("*") if path.is_file()) if blobs.exists() else []
        return tables


class Person(httpx.Client):
    """A logged-in browser: knows its CSRF token."""

    def __init__(self, centre: Centre, name: str) -> None:
        super().__init__(base_url=centre.url, timeout=WAIT_S)
        self.name = name
        centre.people.append(self)
        answer = self.post("/api/v1/login", data={"username": name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        self.csrf = {"x-csrf-token": answer.json()["csrf_token"]}

    def move(self, alert_id: int, kind: str, note: str = "") -> httpx.Response:
        return self.post(f"/api/v1/alerts/{alert_id}/moves/{kind}", data={"note": note}, headers=self.csrf)

    def submit(self, alert_id: int, photo: bytes, matter: str = "repaired", **changes: str) -> httpx.Response:
        return self.post(
            f"/api/v1/alerts/{alert_id}/rectifications",
            data={**proof(), "matter": matter, **changes},
            files={"photo": ("p.jpg", photo, "image/jpeg")},
            headers=self.csrf,
        )


class Box:
    """An enrolled box without hardware: it seals what it is told to."""

    def __init__(self, centre: Centre, site: str) -> None:
        self.centre = centre
        self.signer = Signer.generate()
        with centre.client() as client:
            body = {"code": centre.enrol_code(site), "public_key": self.signer.public_key_b64, "name": "box"}
            answer = client.post("/api/v1/enrol", json=body)
        assert answer.status_code == 201, answer.text
        self.box_id = answer.json()["box_id"]
        self.epoch = uuid.uuid4().hex
        self._last: dict[Lane, tuple[int, str]] = {}

    def header(self, lane: Lane, count: int = 1, **changes: Any) -> BatchHeader:
        seq, previous = self._last.get(lane, (0, FIRST_PREVIOUS))
        fields = {
            "box_id": self.box_id, "epoch": self.epoch, "lane": lane, "seq": seq + 1, "previous_sha256": previous,
            "created_at": AT, "count": count, "boot_id": "boot",
        }  # fmt: skip
        return BatchHeader.model_validate({**fields, **changes})

    def seal(self, lane: Lane, records: Sequence[Record], **changes: Any) -> bytes:
        """The next batch of a lane."""
        header = self.header(lane, len(records), **changes)
        raw = seal_batch(header, records, self.signer)
        self._last[lane] = (header.seq, sha256_hex(raw))
        return raw

    def event(self, kind: str = "excursion_opened", **fields: Any) -> Event:
        data = {
            "kind": "temperature_excursion",
            "limit_c": 8.0,
            "peak_c": 11.5,
            "place": "冷库",
            **fields.pop("data", {}),
        }
        defaults = {"event_id": uuid.uuid4().hex, "incident_id": uuid.uuid4().hex, "source_id": "cold-1", "at": AT}
        return Event.model_validate({**defaults, "type": kind, "severity": "critical", "data": data, **fields})

    def send(self, *frames: bytes) -> httpx.Response:
        with self.centre.client() as client:
            return client.post("/api/v1/batches", content=b"".join(frames))

    def send_event(self, kind: str = "excursion_opened", **fields: Any) -> Event:
        """One event, taken by the centre."""
        event = self.event(kind, **fields)
        answer = self.send(self.seal("events", [event]))
        assert answer.status_code == 200, answer.text
        assert answer.json()["receipts"][0]["status"] == "accepted"
        return event

    def raise_alert(self, viewer: Person, **fields: Any) -> int:
        """Send an event that opens an alert; the alert's number."""
        event = self.send_event(**fields)
        found = viewer.get("/api/v1/alerts", params={"limit": 200}).json()["alerts"]
        return int(next(alert["id"] for alert in found if alert["incident_id"] == event.incident_id))

    def evidence(self, blob: bytes, incident_id: str = "incident-1", **changes: Any) -> bytes:
        return seal_evidence(self.manifest(blob, incident_id, **changes), blob, self.signer)

    def manifest(self, blob: bytes, incident_id: str, **changes: Any) -> EvidenceManifest:
        fields = {
            "evidence_id": uuid.uuid4().hex, "sha256": sha256_hex(blob), "size_bytes": len(blob),
            "media_type": "image/jpeg", "role": "annotated", "incident_id": incident_id, "box_id": self.box_id,
            "camera_id": "cam-1", "place": "备餐间", "taken_at": AT, "kind": "no_mask", "model_sha256": "0" * 64,
            "config_sha256": "0" * 64, "faces": "blurred",
        }  # fmt: skip
        return EvidenceManifest.model_validate({**fields, **changes})

    def send_evidence(self, sealed: bytes, sha256: str) -> httpx.Response:
        with self.centre.client() as client:
            return client.put(f"/api/v1/evidence/{sha256}", content=sealed)


def reading(value: float | None = 4.0, at_s: float = 0.0, sensor_id: str = "cold-1") -> Reading:
    at = datetime.fromtimestamp(AT.timestamp() + at_s, UTC)
    quality = "good" if value is not None else "bad"
    return Reading.model_validate(
        {"sensor_id": sensor_id, "quantity": "temperature", "value": value, "unit": "°C", "observed_at": at,
         "quality": quality}
    )  # fmt: skip


def picture(seed: int = 0, size: tuple[int, int] = (64, 48)) -> bytes:
    """A small photo as JPEG; *seed* makes it another one, which looks like no other."""
    out = io.BytesIO()
    blotches = Image.frombytes("RGB", (8, 6), random.Random(seed).randbytes(8 * 6 * 3))
    blotches.resize(size, Image.Resampling.BICUBIC).save(out, "JPEG")
    return out.getvalue()


def proof() -> dict[str, str]:
    """What the form of a whole proof says, the photos apart: of a photo that was taken just now."""
    said = {"place": "冷库", "person": "王丽", "matter": "repaired", "scene": "the room as it is"}
    return {**said, "taken_at": datetime.now(UTC).isoformat()}


def is_problem(answer: httpx.Response) -> bool:
    """Whether it has the shape of RFC 9457, with this status."""
    body = answer.json() if answer.headers["content-type"] == "application/problem+json" else {}
    return body.get("status") == answer.status_code and {"type", "title", "code", "detail"} <= set(body)
