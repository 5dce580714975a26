"""The service worker in Chromium: a push message is shown, and a newer one on the same fault takes its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import CDPSession, Page, sync_playwright

from tests.browser.test_closed_loop import FLAGS, PHONE
from tests.server.centre import PASSWORD, Centre
from tests.services import require
from tests.waiting import wait_for

pytestmark = pytest.mark.browser
SHOWN = """async (count) => {
  const worker = await navigator.serviceWorker.ready;
  const shown = (await worker.getNotifications()).map(item => [item.title, item.body, item.data.url]);
  return shown.some(item => item[1] === count) ? shown : null;
}"""


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    running = Centre(tmp_path / "data")
    yield running
    running.stop()


def deliver(cdp: CDPSession, origin: str, registration: str, body: str) -> None:
    """A push message as the browser's push service hands it over, decrypted.

    Handed over again until it is shown: a busy Chromium was seen to lose one.
    """
    told = {"id": "1", "title": "T", "body": body, "tag": "thread", "url": "/alerts/1"}
    message = {"origin": origin, "registrationId": registration, "data": json.dumps(told)}
    cdp.send("ServiceWorker.deliverPushMessage", message)


def log_in(page: Page, centre: Centre, name: str) -> None:
    page.goto(f"{centre.url}/login")
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", PASSWORD)
    page.click("button.primary")


def test_newer_message_on_a_fault_takes_the_place_of_the_older(centre: Centre) -> None:
    chromium = require("chromium")
    staff = centre.person("staff", "Canteen A")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        context = browser.new_context(viewport=PHONE, permissions=["notifications"])  # type: ignore[arg-type]
        page = context.new_page()
        page.set_default_timeout(30_000)
        log_in(page, centre, staff.name)
        page.goto(f"{centre.url}/me/notifications")
        assert page.locator("#push-enable").is_visible()
        cdp = context.new_cdp_session(page)
        found: list[Any] = []
        cdp.on("ServiceWorker.workerRegistrationUpdated", lambda event: found.extend(event["registrations"]))
        cdp.send("ServiceWorker.enable")
        page.evaluate("navigator.serviceWorker.register('/push-worker.js').then(() => navigator.serviceWorker.ready)")
        for body in ("older", "newer"):

            def is_shown(body: str = body) -> bool:
                deliver(cdp, centre.url, found[0]["registrationId"], body)
                return page.evaluate(SHOWN, body) is not None

            wait_for(f"the {body} message is shown", is_shown)
        assert page.evaluate(SHOWN, "newer") == [["T", "newer", "/alerts/1"]]
        browser.close()
