"""Every page on a phone, as each role sees it: nothing cut, everything large enough to read and to press.

The pages are found by their own links, so that a new page is looked at by itself. The rules are those of
`page_faults.js`: WCAG 2.2 contrast (1.4.3, 1.4.11) and target size (2.5.8), and 40 px for what school staff press.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.crawl import ALL_LOOKS, LOOKS, PHONE, faults_of, page_routes, pages_from, route_of
from tests.browser.test_closed_loop import FLAGS, keep
from tests.browser.whole_canteen import TYPED, Whole, furnish
from tests.server.centre import Centre
from tests.server.rollout.fleet import manifest_of
from tests.services import require

pytestmark = pytest.mark.browser
STAFF_TARGET_PX, TARGET_PX = 40, 24
STAFF = ("staff", "safety_officer", "site_head")
NOT_LINKED = {"/oidc/login", "/oidc/callback"}  # of an identity provider, where the centre has one
# in every run: what staff see, and of the others what staff do not; the rest at leisure
SHORT = [("staff", "zh-CN"), ("administrator", "en"), ("regulator", "zh-CN"), ("public", "en")]
LONG = [
    ("staff", "en"), ("safety_officer", "zh-CN"), ("safety_officer", "en"), ("site_head", "zh-CN"), ("viewer", "en"),
    ("regulator", "en"), ("administrator", "zh-CN"), ("public", "zh-CN"),
]  # fmt: skip


class Visitor:
    """Goes through the pages of each role once, and remembers where it was and what it found there."""

    def __init__(self, centre: Centre, whole: Whole, browser: Browser) -> None:
        self.centre, self.whole, self.browser = centre, whole, browser
        self._found: dict[tuple[str, str], tuple[set[str], dict[str, str]]] = {}

    def visit(self, role: str, language: str) -> tuple[set[str], dict[str, str]]:
        """The routes of all pages within reach, and each fault with the first page that has it."""
        if (role, language) not in self._found:
            self._found[role, language] = self._visit(role, language)
        return self._found[role, language]

    def _visit(self, role: str, language: str) -> tuple[set[str], dict[str, str]]:
        context = self.browser.new_context(viewport=PHONE, locale=language, service_workers="block")
        context.set_default_timeout(30_000)
        if role in self.whole.cookies:
            cookie = {"name": "bl_session", "value": self.whole.cookies[role], "url": self.centre.url}
            context.add_cookies([cookie])  # type: ignore[list-item]
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "response", lambda answer: said.append(f"{answer.status} {answer.url}") if answer.status > 399 else None
        )
        routes, faults = set(), defaultdict[str, list[str]](list)
        typed = sorted({*TYPED, *self.whole.names.values()}, key=len, reverse=True)
        starts = ("/", self.whole.public_path) if role == "public" else ("/",)
        short = [reached for both, (reached, _) in self._found.items() if both in SHORT and (role, language) in SHORT]
        known = set().union(*short)
        for path in pages_from(page, self.centre.url, starts, known):
            routes.add(route_of(path.partition("?")[0]))
            looks = [look for look in ALL_LOOKS if look != "words" or path != "/api/docs"]  # it is in English
            target_px = STAFF_TARGET_PX if role in STAFF else TARGET_PX
            for fault in faults_of(page, language, target_px, typed, looks) | set(said):
                faults[fault].append(path)
            said.clear()
        context.close()
        return routes, {fault: f"{paths[0]} (and {len(paths) - 1} more)" for fault, paths in faults.items()}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = require("chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def visitor(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    data = tmp_path_factory.mktemp("phone") / "data"
    whole = furnish(data)
    centre = Centre(data)
    yield Visitor(centre, whole, browser)
    assert centre.stop() == 0


@pytest.mark.parametrize(
    ("role", "language"),
    [*SHORT, *(pytest.param(*both, marks=pytest.mark.slow) for both in LONG)],
)
def test_every_page_of_a_role_can_be_read_and_pressed_on_a_phone(visitor: Visitor, role: str, language: str) -> None:
    routes, faults = visitor.visit(role, language)
    assert {"/login", "/p/{token}"} <= routes if role == "public" else {"/", "/alerts/{alert_id}"} <= routes
    assert not faults, "\n".join(f"{fault}  at {where}" for fault, where in sorted(faults.items()))


FAULTY = """<html lang="de"><body style="background: #fff">
<h1>One</h1>
<h1 style="font-size: 9px; color: #999">Two words here and</h1>
<div style="width: 500px; height: 20px; overflow: hidden"><p>cut<br>below</p></div>
<p style="margin-left: 340px">outside</p>
<a href="/" style="display: block; width: 20px; height: 20px">x</a>
<input placeholder="far too long for its room" style="width: 60px; border: 1px solid #eee">
<img src="data:," alt="" id="a"><i id="a">some_code</i><b>None</b>
<div style="width: 9px; overflow: auto">wider</div>
</body></html>"""
FOUND = (
    "scrolls sideways", "cut or scrolled", "cut below", "outside the screen", "too narrow", "letters of 9",
    "20x20 px to press", "has no name", "has no alternative", "2 headings", "two elements have the id a",
    "the page says", "letters of contrast", "the edge of a field", "a code instead", "a value of the program",
    "not in Chinese",
)  # fmt: skip


def test_each_fault_is_found_on_a_page_that_has_it(browser: Browser) -> None:
    page = browser.new_page(viewport=PHONE)
    page.set_content(FAULTY)
    asked = {"looks": list(ALL_LOOKS), "target": TARGET_PX, "language": "zh-CN", "typed": []}
    faults = page.evaluate(LOOKS, asked)
    page.close()
    assert [what for what in FOUND if not any(fault.startswith(what) for fault in faults)] == []


def test_every_page_is_reached_from_another(visitor: Visitor) -> None:
    reached = set().union(*(visitor.visit(*both)[0] for both in SHORT))
    assert page_routes() - reached == NOT_LINKED


def test_model_is_uploaded_and_rolled_out_from_a_phone_and_each_refusal_is_a_sentence(
    visitor: Visitor, tmp_path: Path
) -> None:
    manifest, model, other = (tmp_path / name for name in ("model.json", "model.onnx", "other.onnx"))
    manifest.write_bytes(manifest_of(b"v2"))
    model.write_bytes(b"v2")
    other.write_bytes(b"v3")
    context = visitor.browser.new_context(viewport=PHONE, locale="zh-CN")
    cookie = {"name": "bl_session", "value": visitor.whole.cookies["administrator"], "url": visitor.centre.url}
    context.add_cookies([cookie])  # type: ignore[list-item]
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(f"{visitor.centre.url}/boxes/rollouts")

    def upload(chosen: Path) -> None:
        page.fill("#upload input[name=name]", "口罩 2")
        page.set_input_files("#upload input[name=manifest]", manifest)
        page.set_input_files("#upload input[name=model]", chosen)
        page.click("#upload button")

    upload(other)
    expect(page.get_by_role("alert")).to_contain_text("模型文件与清单中的 SHA-256 不符")
    upload(model)
    expect(page.get_by_role("alert")).to_have_count(0)
    release = page.locator("#begin option", has_text="口罩 2").get_attribute("value")
    assert release
    page.select_option("#begin select[name=release]", release)
    page.select_option("#begin select[name=boxes]", visitor.whole.free_box_id)
    page.select_option("#begin select[name=mode]", "shadow")
    page.click("#begin button")
    begun = page.locator(".rollout", has_text="口罩 2")
    expect(begun).to_contain_text("影子试看，不报警")
    keep(page, "9-rollouts-phone")
    page.select_option("#begin select[name=release]", release)
    page.select_option("#begin select[name=boxes]", visitor.whole.free_box_id)
    page.click("#begin button")
    expect(page.get_by_role("alert")).to_contain_text("正在进行另一次下发")
    begun.get_by_role("button", name="暂停").click()
    expect(begun.locator("h2 + .pill")).to_have_text("已暂停")
    context.close()
