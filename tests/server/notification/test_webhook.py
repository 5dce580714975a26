"""The feed for upper-level platforms: signed, in order, tried again, and never sent to the inside of the network."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.accounts import ensure_site
from server.models_notification import WebhookCursor, WebhookSkip
from server.notification.egress import Egress, is_public
from server.notification.port import Undelivered
from server.notification.settings import NotificationSettings, Webhook, load_notification
from server.notification.webhook import ensure_cursors, signature
from server.notification.worker import Worker
from server.regions import ensure_region
from tests.receivers import HttpReceiver, Request
from tests.server.notification.desk import SITE, Desk

ROOT = Path(__file__).resolve().parents[3]
OLD, NEW = (SecretStr("whsec_" + base64.b64encode(bytes([byte] * 32)).decode()) for byte in (1, 2))


def fits(request: Request, secret: SecretStr) -> bool:
    """A receiver's own check, as Standard Webhooks describe it."""
    key = base64.b64decode(secret.get_secret_value()[6:])
    signed = b".".join(
        (request.headers["webhook-id"].encode(), request.headers["webhook-timestamp"].encode(), request.body)
    )
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return expected in request.headers["webhook-signature"].split(" ")


@pytest.fixture
def platform() -> Iterator[HttpReceiver]:
    receiver = HttpReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def told(desk: Desk, platform: HttpReceiver) -> Iterator[Desk]:
    """A desk that tells one platform of tiers I and II."""
    hook = Webhook(name="city", url=f"{platform.url}/hook", secrets=[NEW, OLD], tiers=[1, 2])
    desk.settings = NotificationSettings(trusted_hosts=[platform.host], webhooks=[hook])
    desk.egress = Egress([platform.host])
    desk.worker = Worker(desk.engine, desk.settings, [desk.notifier], desk.egress, clock=lambda: desk.now)
    with desk.db() as db:
        ensure_cursors(db, desk.settings.webhooks)
    yield desk
    with Session(desk.engine) as db:
        assert [row.lease_by for row in db.scalars(select(WebhookCursor))] == [None]


def test_signature_is_the_one_of_the_standards_own_example() -> None:
    secret = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert signature([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_platform_gets_cloud_events_in_order_signed_with_both_secrets(told: Desk, platform: HttpReceiver) -> None:
    alert_id = told.alert()
    told.alert(tier=3, kind="no_gloves")
    for change in ("acknowledge", "submit", "accept"):
        told.change(alert_id, change)
    assert told.work() == 4
    assert [item.json()["type"] for item in platform.inbox.items] == [
        f"brightline.alert.{name}.v1" for name in ("raise", "acknowledge", "submit", "accept")
    ]
    event = platform.inbox.items[0].json()
    assert (event["specversion"], event["subject"], event["partitionkey"]) == ("1.0", f"alerts/{alert_id}", "1")
    assert event["data"]["kind"] == "no_mask"
    assert event["id"] == platform.inbox.items[0].headers["webhook-id"]
    assert platform.inbox.items[0].headers["content-type"].startswith("application/cloudevents+json")
    sequence = [item.json()["sequence"] for item in platform.inbox.items]
    assert sequence == sorted(sequence)
    assert all(fits(item, NEW) and fits(item, OLD) for item in platform.inbox.items)
    assert not fits(platform.inbox.items[0], SecretStr("whsec_" + base64.b64encode(b"x" * 32).decode()))
    assert told.work() == 0


def test_what_is_not_taken_is_sent_again_before_anything_later(told: Desk, platform: HttpReceiver) -> None:
    platform.status = 503
    alert_id = told.alert()
    told.change(alert_id, "submit")
    assert told.work() == 0
    platform.status = 204
    told.after(minutes=1)
    assert told.work() == 2
    ids = [item.headers["webhook-id"] for item in platform.inbox.items]
    assert ids[0] == ids[1] != ids[2]
    assert platform.inbox.items[0].headers["webhook-timestamp"] != platform.inbox.items[1].headers["webhook-timestamp"]


def test_platform_that_is_away_for_days_is_not_sent_what_is_too_old_and_that_is_recorded(
    told: Desk, platform: HttpReceiver
) -> None:
    platform.status = 500
    told.alert()
    told.work()
    told.after(days=4)
    told.work()
    with Session(told.engine) as db:
        assert [(row.name, row.position, row.reason) for row in db.scalars(select(WebhookSkip))] == [
            ("city", 1, "refused")
        ]
    platform.status = 200
    told.alert(source="cam-2")
    told.after(hours=1)
    assert told.work() == 1


def test_platform_of_a_region_is_sent_only_what_happens_there(told: Desk, platform: HttpReceiver) -> None:
    hook = told.settings.webhooks[0].model_copy(update={"region": "P/C"})
    told.settings = told.settings.model_copy(update={"webhooks": [hook]})
    told.worker = Worker(told.engine, told.settings, [told.notifier], told.egress, clock=lambda: told.now)
    told.alert()
    assert told.work() == 0
    with told.db() as db:
        ensure_site(db, SITE, region=ensure_region(db, "P/C/D/S"))
    told.alert(source="cam-2")
    assert told.work() == 1
    assert platform.inbox.items[0].json()["data"]["source_id"] == "cam-2"


def test_two_workers_send_each_event_once(told: Desk, platform: HttpReceiver) -> None:
    told.alert()
    hook = told.settings.webhooks[0]
    other = Worker(told.engine, told.settings, [told.notifier], told.egress, clock=lambda: told.now)
    counts: list[int] = []
    platform.on_request = lambda request: counts.append(other.serve_hook(hook))
    assert told.work() == 1
    assert counts == [0], "while one sends, the other keeps off"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
     "ff02::1", "2001:0:7f00:1::"],
)  # fmt: skip
def test_address_inside_is_not_posted_to_under_any_name(address: str) -> None:
    assert not is_public(address)
    egress = Egress(resolve=lambda host, port: ["93.184.216.34", address])
    with pytest.raises(Undelivered) as refused:
        egress.post("https://platform.example/hook", b"", {})
    assert refused.value.reason == "forbidden_address"


def test_name_that_changes_its_mind_is_asked_once_and_the_checked_address_is_used(platform: HttpReceiver) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        del port
        asked.append(host)
        return ["127.0.0.1"]

    egress = Egress([f"platform.example:{platform.port}"], resolve=resolve)
    egress.post(f"http://platform.example:{platform.port}/hook?a=1", b"{}", {})
    assert asked == ["platform.example"]
    assert platform.inbox.items[0].headers["host"] == f"platform.example:{platform.port}"
    assert platform.inbox.items[0].path == "/hook?a=1"


def test_redirect_is_not_followed(platform: HttpReceiver) -> None:
    platform.status = 307
    egress = Egress([platform.host])
    with pytest.raises(Undelivered):
        egress.post(f"{platform.url}/", b"", {})
    assert len(platform.inbox.items) == 1


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "8.8.8.8"])
def test_public_address_is_public(address: str) -> None:
    assert is_public(address)


def test_settings_take_secrets_by_reference_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notification.yaml"
    hook = "webhooks: [{name: city, url: 'https://city.example/hook', secrets: [%s]}]"
    monkeypatch.setenv("CITY_SECRET", NEW.get_secret_value())
    path.write_text(hook % "{env: CITY_SECRET}")
    assert load_notification(tmp_path).webhooks[0].secrets == [NEW]
    wrongs = [
        hook % NEW.get_secret_value(),
        hook % "{env: NOWHERE}",
        hook.replace("https", "http") % "{env: CITY_SECRET}",
        "mail_url: 'mailto://me:pw@host'",
        "trusted_hosts: ['http://x']",
        "unknown: 1",
        "[]",
        ": :",
    ]
    for wrong in wrongs:
        path.write_text(wrong)
        with pytest.raises(ValueError) as refused:
            load_notification(tmp_path)
        assert str(path) in str(refused.value)
        assert not any(secret in str(refused.value) for secret in (NEW.get_secret_value(), "me:pw"))
    with pytest.raises(ValidationError):
        Webhook(name="x", url="https://a.example", secrets=[SecretStr("whsec_c2hvcnQ=")])


def test_sample_settings_load_with_their_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CITY_WEBHOOK_SECRET", "CITY_WEBHOOK_SECRET_OLD"):
        monkeypatch.setenv(name, NEW.get_secret_value())
    monkeypatch.setenv("MAIL_URL", "mailtos://alerts:secret@smtp.example?from=alerts@school.example")
    shutil.copy(ROOT / "configs" / "notification-sample.yaml", tmp_path / "notification.yaml")
    shutil.copytree(ROOT / "configs" / "notification", tmp_path / "notification")
    found = load_notification(tmp_path)
    assert [len(hook.secrets) for hook in found.webhooks] == [2]
    assert found.mail_url is not None
    assert found.rules == NotificationSettings().rules


def test_no_secret_shows_in_the_settings() -> None:
    hook = Webhook(name="city", url="https://a.example", secrets=[NEW])
    assert NEW.get_secret_value() not in repr(hook) + str(hook) + json.dumps(hook.model_dump(mode="json"))
    assert timedelta(seconds=hook.age_max_s) == timedelta(days=3)
