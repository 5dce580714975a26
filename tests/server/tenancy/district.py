"""Two regions with a canteen each and one canteen outside, in one process; people of every role look at them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI
from sqlalchemy.orm import Session

from server import accounts
from server.accounts import add_user, ensure_site, finish_login, make_enrolment_code
from server.blobs import FolderBlobStore
from server.database import make_engine, writing
from server.models import User
from server.models_life_cycle import Interview
from server.policy import ROLES, SITE_ROLES, may
from server.regions import ensure_region
from server.reports import desk
from server.reports.document import Document
from server.reports.files import make_file
from server.reports.fonts import Font
from server.reports.ledger import Files
from server.rollout.models import Release, Rollout, RolloutBox
from server.series.stores import open_store
from server.settings import Settings, SqliteRecord
from server.verify import Verification, verify
from telemetry.batch import sha256_hex
from tests.ready_record import lay_ready_record
from tests.server.centre import AT, PASSWORD, QUICK_HASHER, Box, Centre, reading

REGIONS = {"A": "浙江/杭州/西湖", "B": "浙江/杭州/上城", "N": None}
BINDINGS = [(role, "A") for role in ROLES] + [(role, "") for role in ROLES if role not in SITE_ROLES]


@dataclass(frozen=True)
class Somebody:
    """A person with a session; ``place`` is the site, or the site whose region it is, or empty for the whole."""

    name: str
    role: str
    place: str
    user_id: int
    cookie: str
    csrf: str

    @property
    def headers(self) -> dict[str, str]:
        return {"cookie": f"bl_session={self.cookie}", "x-csrf-token": self.csrf, "accept-language": "en"}

    def reaches(self, place: str) -> bool:
        """What DOMAIN.md says of this role."""
        return self.place in ("", place)


@dataclass
class Place:
    """A canteen and one of each thing that belongs to it."""

    site_id: int
    box_id: str
    alert_id: int
    picture: str
    interview_id: int
    number: str = ""
    user_id: int = 0
    record_id: int = 0
    sample_id: int = 0
    rollout_id: int = 0


class InProcess:
    """The application without a port; its event loop runs in a thread of its own."""

    def __init__(self, app: FastAPI, portal: BlockingPortal) -> None:
        self._portal = portal
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://centre")

    def request(self, method: str, path: str, **said: Any) -> httpx.Response:
        self.client.cookies.clear()
        return self._portal.call(partial(self.client.request, method, path, **said))

    def post(self, path: str, **said: Any) -> httpx.Response:
        return self.request("POST", path, **said)

    def put(self, path: str, **said: Any) -> httpx.Response:
        return self.request("PUT", path, **said)


@dataclass
class District:
    """The centre in this process; stands for `Centre` where a `Box` sends to it."""

    client_: InProcess
    settings: Settings
    places: dict[str, Place] = field(default_factory=dict)
    people: list[Somebody] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=dict)  # by the name of their owner

    @contextmanager
    def database(self) -> Iterator[Session]:
        engine = make_engine(self.settings)
        try:
            with Session(writing(engine), expire_on_commit=False) as db, db.begin():
                yield db
        finally:
            engine.dispose()

    def verified(self) -> Verification:
        """What `verify` finds."""
        engine = make_engine(self.settings)
        with Session(engine) as db, closing(open_store(self.settings.series, engine)) as series:
            found = verify(db, FolderBlobStore(self.settings.blob_dir), series)
        engine.dispose()
        return found

    @contextmanager
    def client(self) -> Iterator[InProcess]:
        yield self.client_

    def enrol_code(self, site: str) -> str:
        names = REGIONS[site]
        with self.database() as db:
            region = ensure_region(db, names) if names else None
            return make_enrolment_code(db, ensure_site(db, site, region=region))

    def somebody(self, role: str, place: str) -> Somebody:
        """A new person, logged in."""
        names = REGIONS.get(place)
        with self.database() as db:
            site = ensure_site(db, place) if role in SITE_ROLES else None
            region = ensure_region(db, names) if names and role not in SITE_ROLES else None
            name = f"{role}-{place or 'whole'}-{uuid.uuid4().hex[:6]}"
            user = add_user(db, name, name, PASSWORD, role, site, region)
            token, session = finish_login(db, name, fits=True)
            made = Somebody(name, role, place, user.id, token, session.csrf_token)
        self.people.append(made)
        return made

    def user(self, somebody: Somebody) -> User:
        with self.database() as db:
            return db.get_one(User, somebody.user_id)

    def ask(self, who: Somebody | None, method: str, path: str, **said: Any) -> httpx.Response:
        headers = who.headers if who else {"accept-language": "en"}
        return self.client_.request(method, path, headers=headers, **said)

    def give_token(self, who: Somebody) -> None:
        """A token of their own, to whoever may have one."""
        if may(self.user(who), "token.manage"):
            body = {"name": "spare", "permissions": ["alert.read"]}
            self.tokens[who.name] = self.ask(who, "POST", "/api/v1/tokens", json=body).json()["id"]

    def furnish(self, name: str, photo: Callable[..., bytes]) -> None:
        """A box, a sensor with readings, an alert with a picture, and a signed report."""
        box = Box(cast(Centre, self), name)
        with self.database() as db:
            site_id = ensure_site(db, name).id
        event = box.send_event(at=AT)
        readings = [reading(4.0, minute * 60.0) for minute in range(10)]
        assert box.send(box.seal("readings", readings)).status_code == 200
        blob = photo(len(self.places) + 1)
        digest = sha256_hex(blob)
        assert box.send_evidence(box.evidence(blob, event.incident_id), digest).status_code == 201
        staff = self.somebody("staff", name)
        alert_id = self.ask(staff, "GET", "/api/v1/alerts").json()["alerts"][0]["id"]
        with self.database() as db:
            entry = Interview(
                site_id=site_id, reason="overdue", count=3, within_d=30, alert_id=alert_id, listed_at=AT, note=""
            )
            db.add(entry)
            db.flush()
            place = self.places[name] = Place(site_id, box.box_id, alert_id, digest, entry.id)
            place.rollout_id = _roll_out(db, box.box_id)
        place.user_id = staff.user_id
        card = {"valid_from": "2026-01-01", "name": "冷库"}
        path = f"/api/v1/reports/sensors/{box.box_id}/cold-1/cards"
        assert self.ask(staff, "POST", path, json=card).status_code == 201
        draft = self.ask(staff, "GET", "/api/v1/reports/drafts/temperature/json", params=wanted(place))
        seen = {"content_sha256": draft.json()["content_sha256"]}
        signed = self.ask(staff, "POST", "/api/v1/reports/drafts/temperature/sign", params=wanted(place), data=seen)
        assert signed.status_code == 201, signed.text
        place.number = signed.json()["number"]
        wanted_record = {"site": site_id, "kind": "daily", "day": "2026-01-02"}
        draft = self.ask(staff, "POST", "/api/v1/self-control/records", json=wanted_record)
        place.record_id = draft.json()["id"]
        sample = self.ask(staff, "POST", f"/api/v1/self-control/samples?site={site_id}", json=new_sample())
        place.sample_id = sample.json()["id"]


def _roll_out(db: Session, box_id: str) -> int:
    """A paused roll-out to the box: nothing moves it."""
    release = Release(name="x", sha256="0" * 64, size_bytes=1, region_path="/", made_by="x", made_at=AT)
    row = Rollout(
        release=release, stages=[1], soak_s=900, state="paused", stage=0, begun_by="x", begun_at=AT, changed_at=AT
    )
    row.boxes = [RolloutBox(box_id=box_id, position=0, stage=0, state="waiting", changed_at=AT)]
    db.add(row)
    db.flush()
    return row.id


def wanted(place: Place) -> dict[str, Any]:
    """The report on the place's sensor."""
    first = AT.replace(second=0)
    return {
        "start": first.isoformat(), "end": (first + timedelta(minutes=10)).isoformat(), "box": place.box_id,
        "sensor": "cold-1", "site": place.site_id,
    }  # fmt: skip


def new_sample() -> dict[str, Any]:
    """A dish put aside now."""
    at = datetime.now(UTC).isoformat()
    return {"meal": "lunch", "dish": "番茄炒蛋", "weight_g": 130, "taken_at": at, "taken_by": "王"}


def json_only(document: Document, font: Font | None) -> Files:
    del font
    return {("json", ""): make_file(document, "json", "en", None)}


@contextmanager
def settled(
    data: Path,
    photo: Callable[..., bytes],
    places: Iterable[str] = tuple(REGIONS),
    people: Iterable[tuple[str, str]] = BINDINGS,
    **said: Any,
) -> Iterator[District]:
    """The district with its places and people; *said*: further settings. Without places there are no people either."""
    from server.app import create_app

    settings = Settings(data_dir=data, secure_cookies=False, **said)
    if isinstance(settings.database, SqliteRecord):
        lay_ready_record(data)
    app = create_app(settings)
    with (
        pytest.MonkeyPatch.context() as patch,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(app.router.lifespan_context(app)),
    ):
        patch.setattr(accounts, "_hasher", QUICK_HASHER)
        patch.setattr(desk, "make_files", json_only)  # drawing the PDFs takes seconds and is not what is asked here
        district = District(InProcess(app, portal), settings)
        for name in places:
            district.furnish(name, photo)
        district.people.clear()
        for role, place in people if places else ():
            district.give_token(district.somebody(role, place))
        yield district
        portal.call(district.client_.client.aclose)
