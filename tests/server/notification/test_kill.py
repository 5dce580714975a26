"""A power cut between send and receipt: the same message comes again with the same key, and nothing is lost."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.receivers import WAIT_S, HttpReceiver, Request
from tests.server.centre import Centre

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    made = HttpReceiver()
    yield made
    made.close()


def test_message_and_event_are_sent_again_with_their_keys_after_a_kill_before_the_receipt(
    receiver: HttpReceiver, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "secret").write_text(SECRET)
    settings = {
        "trusted_hosts": [receiver.host],
        "lease_s": 2,
        "webhooks": [{"name": "city", "url": f"{receiver.url}/hook", "secrets": [{"file": "secret"}]}],
    }
    (data / "notification.yaml").write_text(json.dumps(settings))
    centre = Centre(data)
    try:
        staff = centre.person("staff", "Canteen A")
        form = {"kind": "json", "address": f"{receiver.url}/notices", "csrf": staff.csrf["x-csrf-token"]}
        assert staff.post("/me/notifications", data=form).status_code == 303

        both = threading.Barrier(2, action=centre.process.kill, timeout=WAIT_S)

        def kill(request: Request) -> None:
            del request
            both.wait()  # neither is answered before the centre is gone

        receiver.on_request = kill
        alert_id = centre.box().raise_alert(staff)
        centre.process.wait(WAIT_S)
        receiver.on_request = lambda request: None
        before = len(receiver.inbox.items)
        centre.kill()
        centre.restart()
        centre.people.clear()
        receiver.inbox.wait(before + 2)
        notices = [item for item in receiver.inbox.items if item.path == "/notices"]
        hooks = [item for item in receiver.inbox.items if item.path == "/hook"]
        assert len(notices) == 2
        assert len({item.headers["idempotency-key"] for item in notices}) == 1
        assert len({item.json()["message"] for item in notices}) == 1
        assert len(hooks) == 2
        assert len({item.headers["webhook-id"] for item in hooks}) == 1
        assert hooks[0].json()["subject"] == f"alerts/{alert_id}"
    finally:
        centre.stop()
