"""The drawing page's door: one token for one browser, nothing without it, no other file, only what can be loaded."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
import yaml

from edge.config_cameras import Camera
from firmware_sim.camera import Schedule, write_file
from vision.zones_draft import as_yaml, check_draft, read_draft
from vision.zones_page import BODY_BYTES_MAX, ZonesServer

TRIANGLE = [[0, 0], [0.5, 0], [0.5, 1]]
DRAFT: dict[str, Any] = {
    "zones": [{"id": "line", "kind": "serving", "polygon": TRIANGLE, "anchor": "top"}],
    "masks": [[[0.8, 0], [1, 0], [1, 0.33333]]],
}
EMPTY: dict[str, Any] = {"zones": [], "masks": []}


class Browser:
    """Asks one server, with the cookie that it was given."""

    def __init__(self, server: ZonesServer) -> None:
        self._address = urlsplit(server.address)
        self.cookie = ""

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(str(self._address.hostname), self._address.port, timeout=20)
        sent = {"cookie": self.cookie, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        answer = connection.getresponse()
        self.cookie = (answer.headers["set-cookie"] or self.cookie).partition(";")[0]
        data = answer.read()
        connection.close()
        return answer.status, data

    def log_in(self) -> int:
        return self.ask("GET", f"/?{self._address.query}")[0]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "kitchen.mp4"
    write_file(Schedule("no_mask:9"), path, 2, fps=5, width=320, height=180)
    return path


@pytest.fixture
def server(film: Path, tmp_path: Path) -> Iterator[ZonesServer]:
    with ZonesServer(str(film), check_draft(DRAFT), tmp_path / "zones.yaml") as server:
        yield server


def test_only_the_first_browser_with_the_token_gets_in(server: ZonesServer) -> None:
    assert urlsplit(server.address).hostname == "127.0.0.1"
    stranger, first, late = Browser(server), Browser(server), Browser(server)
    for path in ("/", "/draft", "/picture", "/?token=", "/?token=guess"):
        assert stranger.ask("GET", path)[0] == 403
    assert first.log_in() == 303
    assert late.log_in() == 403
    assert first.ask("GET", "/")[0] == 200
    assert json.loads(first.ask("GET", "/draft")[1]) == {**check_draft(DRAFT), "save": "zones.yaml"}
    assert first.ask("GET", "/draft", host="attacker.example")[0] == 403
    assert first.ask("POST", "/save", EMPTY, origin="http://attacker.example")[0] == 403
    assert first.ask("GET", "/../zones_page.py")[0] == 404


def test_the_picture_is_the_cameras(server: ZonesServer) -> None:
    browser = Browser(server)
    browser.log_in()
    status, data = browser.ask("GET", "/picture")
    assert status == 200
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.std() > 10


def test_a_draft_comes_back_as_yaml_and_is_saved_only_to_the_named_file(server: ZonesServer, tmp_path: Path) -> None:
    browser = Browser(server)
    browser.log_in()
    status, data = browser.ask("POST", "/yaml", DRAFT)
    assert status == 200
    assert list(tmp_path.iterdir()) == []
    assert yaml.safe_load(json.loads(data)["yaml"]) == check_draft(DRAFT)
    assert json.loads(browser.ask("POST", "/save", DRAFT)[1])["saved"] == "zones.yaml"
    assert [path.name for path in tmp_path.iterdir()] == ["zones.yaml"]
    camera = yaml.safe_load((tmp_path / "zones.yaml").read_text("utf-8"))
    loaded = Camera.model_validate({"id": "k", "name": "k", "source": "x", **camera})
    assert (loaded.zones[0].id, loaded.zones[0].anchor, loaded.zones[0].polygon[2]) == ("line", "top", (0.5, 1.0))
    assert loaded.masks[0][2] == (1, 0.3333)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({**DRAFT, "source": "x"}, "nothing else"),
        ({"zones": DRAFT["zones"] * 2, "masks": []}, "two zones"),
        ({"zones": [{**DRAFT["zones"][0], "id": "a b"}]}, "a zone's name"),
        ({"zones": [{**DRAFT["zones"][0], "id": "x\ny: 1"}]}, "a zone's name"),
        ({"zones": [{**DRAFT["zones"][0], "anchor": "side"}]}, "anchor is one of"),
        ({"zones": [{**DRAFT["zones"][0], "polygon": [[0, 0], [1, 1]]}]}, "3 to 64"),
        ({"masks": [[[0, 0], [2, 0], [1, 1]]]}, "between 0 and 1"),
        ({"masks": [[[0, 0], [True, 0], [1, 1]]]}, "are numbers"),
        ({"masks": [[[0, 0], [0.5, 0.5], [1, 1]]]}, "encloses nothing"),
        ({"masks": [TRIANGLE] * 33}, "at most 32"),
        ([], "a draft has"),
    ],
)
def test_what_the_box_could_not_load_is_refused_with_a_sentence(given: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_draft(given)


def test_a_refused_draft_is_told_and_not_saved(server: ZonesServer, tmp_path: Path) -> None:
    browser = Browser(server)
    browser.log_in()
    status, data = browser.ask("POST", "/save", {"masks": [[[0, 0], [2, 0], [1, 1]]]})
    assert (status, "between 0 and 1" in json.loads(data)["problem"]) == (422, True)
    assert list(tmp_path.iterdir()) == []


def test_a_body_that_is_too_large_or_no_json_is_refused(server: ZonesServer) -> None:
    browser = Browser(server)
    browser.log_in()
    assert browser.ask("POST", "/yaml", "x" * BODY_BYTES_MAX)[0] == 413
    assert browser.ask("POST", "/yaml", None, content_length="-1")[0] == 413
    assert browser.ask("POST", "/yaml", [[]] * 3)[0] == 422
    assert browser.ask("POST", "/other", EMPTY)[0] == 404


def test_without_a_named_file_nothing_can_be_saved(film: Path, tmp_path: Path) -> None:
    with ZonesServer(str(film), check_draft(EMPTY), None) as server:
        browser = Browser(server)
        browser.log_in()
        status, data = browser.ask("POST", "/save", EMPTY)
    assert (status, "--save" in json.loads(data)["problem"]) == (422, True)


def test_the_zones_of_a_configuration_are_where_drawing_begins(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        "cameras:\n  - {id: a, source: a.mp4}\n  - id: b\n    source: {env: B}\n"
        + "".join(f"    {line}\n" for line in as_yaml(check_draft(DRAFT)).splitlines()),
        "utf-8",
    )
    assert read_draft(config, "") == ("a.mp4", EMPTY)
    assert read_draft(config, "b") == ("", check_draft(DRAFT))
    with pytest.raises(ValueError, match="has no camera c; its cameras are: a, b"):
        read_draft(config, "c")
    assert as_yaml(check_draft(EMPTY)) == "zones: []\nmasks: []\n"
