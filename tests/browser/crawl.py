"""Every page that a person can reach by the pages' own links and search forms, opened once and judged at each width."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from fastapi.routing import APIRoute
from playwright.sync_api import Page, ViewportSize
from starlette.routing import Match

from server.app import PARTS

LOOKS = Path(__file__).with_name("page_faults.js").read_text("utf-8")
PHONE: ViewportSize = {"width": 360, "height": 740}
LARGER_PHONE: ViewportSize = {"width": 390, "height": 844}
DESK: ViewportSize = {"width": 1280, "height": 800}
ALL_LOOKS = ("layout", "size", "targets", "named", "contrast", "words")
# no pages: what programs read, downloads, and the choice of a language
NO_PAGES = (
    "/api/v1/",
    "/api/openapi.json",
    "/language/",
    "/export",
    "/template",
    "/files/",
    ".svg",
    ".js",
    "/partials/",
)
ROUTES = [route for part in PARTS for route in part.router.routes if isinstance(route, APIRoute)]
ROLES_DIFFER = {"/alerts/{alert_id}": 4, "/sites/{site_id}": 1, "/records/{record_id}": 1, "/sites": 1, "/tokens": 1}
SEVERAL = {"/alerts/{alert_id}": 9, "/records/{record_id}": 3}  # pages that differ by the state of what they show
OPEN = """() => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  for (const hidden of document.querySelectorAll("[hidden]")) hidden.hidden = false;
  const links = [...document.querySelectorAll("a[href]:not([download])")].map((link) => link.href);
  const forms = [...document.querySelectorAll("form[method=get]")];
  return links.concat(forms.map((form) => `${form.action}?${new URLSearchParams(new FormData(form))}`));
}"""


def route_of(path: str) -> str:
    """The route that answers GET *path*; raises LookupError for none."""
    scope = {"type": "http", "method": "GET", "path": path}
    for route in ROUTES:
        if route.matches(scope)[0] == Match.FULL:
            return route.path
    raise LookupError(f"a link leads to {path}, which is no page")


def page_routes() -> set[str]:
    """The routes of all pages."""
    return {
        route.path
        for route in ROUTES
        if "GET" in route.methods and not route.include_in_schema and not any(part in route.path for part in NO_PAGES)
    }


def pages_from(page: Page, url: str, starts: Iterable[str], known: Collection[str] = ()) -> Iterator[str]:
    """Open each page in turn, all its folds open; gives where it landed. Of pages that differ by a number
    alone: a few; of *known* routes none but the starts and what each role sees otherwise."""
    waiting, opened, seen = [url + start for start in starts], Counter[tuple[str, frozenset[str]]](), set()
    while waiting:
        parts = urlsplit(waiting.pop(0))
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        if f"{parts.scheme}://{parts.netloc}" != url or path in seen or any(part in path for part in NO_PAGES):
            continue
        seen.add(path)
        kind = (route_of(parts.path), frozenset(name for name, value in parse_qsl(parts.query) if value))
        most = ROLES_DIFFER.get(kind[0], 0) if kind[0] in known and path not in starts else SEVERAL.get(kind[0], 1)
        if opened[kind] == most:
            continue
        opened[kind] += 1
        page.goto(url + path)
        waiting += page.evaluate(OPEN)
        yield page.url.removeprefix(url)


def faults_of(
    page: Page, language: str, target_px: int, typed: list[str], looks: Iterable[str] = ALL_LOOKS
) -> set[str]:
    """What is wrong with the open page, at each width, by day and by night; *typed*: words that are no text of ours."""
    faults = set()
    told = {"language": language, "typed": typed}
    by_width = (
        (PHONE, looks, target_px), (LARGER_PHONE, ("layout",), target_px), (DESK, ("layout", "size", "targets"), 24)
    )  # fmt: skip
    for viewport, wanted, target in by_width:
        page.set_viewport_size(viewport)
        asked = {**told, "looks": list(wanted), "target": target}
        faults |= {f"{viewport['width']} px wide: {fault}" for fault in page.evaluate(LOOKS, asked)}
    page.emulate_media(color_scheme="dark")
    asked = {**told, "looks": ["contrast"], "target": target_px}
    faults |= {f"by night: {fault}" for fault in page.evaluate(LOOKS, asked)}
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(PHONE)
    return faults
