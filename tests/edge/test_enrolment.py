"""Enrolment against a small real HTTP server: whole or not at all, with the same key at every try."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edge.config import EdgeConfig
from edge.enrolment import EnrolmentError, Identity, enrol, load_identity
from telemetry.signing import Signer
from tests.edge.console import RunEdge

IDENTITY = {"box_id": "box-7", "site": "阳光小学", "time_zone": "Asia/Shanghai"}


class ScriptedCentre:
    """Answers each enrolment with the next of *answers*; keeps what it was shown."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.requests: list[dict[str, Any]] = []
        centre = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                centre.requests.append({"path": self.path, **json.loads(body)})
                status, answer = centre.answers.pop(0)
                self.send_response(status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def centre() -> Iterator[ScriptedCentre]:
    scripted = ScriptedCentre()
    thread = threading.Thread(target=scripted.server.serve_forever)
    thread.start()
    yield scripted
    scripted.server.shutdown()
    scripted.server.server_close()
    thread.join()


def config(folder: Path, url: str, **server: object) -> EdgeConfig:
    return EdgeConfig.model_validate(
        {"box": {"name": "canteen-1", "data_dir": folder / "box"}, "server": {"url": url, **server}}
    )


def good() -> tuple[int, bytes]:
    return 201, json.dumps(IDENTITY).encode()


def test_enrolment_keeps_key_and_identity_and_shows_only_the_public_key(tmp_path: Path, centre: ScriptedCentre) -> None:
    centre.answers.append(good())
    box = config(tmp_path, centre.url)
    assert enrol(box, "code-1") == Identity.model_validate(IDENTITY)
    identity, signer = load_identity(box)
    assert identity.box_id == "box-7"
    wanted = {"path": "/api/v1/enrol", "code": "code-1", "name": "canteen-1", "public_key": signer.public_key_b64}
    assert centre.requests == [wanted]
    assert stat.S_IMODE((tmp_path / "box/box.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "box").stat().st_mode) == 0o700
    assert sorted(path.name for path in (tmp_path / "box").iterdir()) == ["box.key", "identity.json"]


def test_refused_code_leaves_no_identity_and_the_next_try_shows_the_same_key(
    tmp_path: Path, centre: ScriptedCentre
) -> None:
    centre.answers += [(403, b"this code was used"), (503, b""), (201, b"<html>a portal</html>"), good()]
    box = config(tmp_path, centre.url)
    for problem in ("HTTP 403 this code was used", "HTTP 503", "holds no identity"):
        with pytest.raises(EnrolmentError, match=problem):
            enrol(box, "code")
        assert not (tmp_path / "box/identity.json").exists()
    enrol(box, "code")
    assert len({request["public_key"] for request in centre.requests}) == 1


def test_unreachable_centre_keeps_the_key(tmp_path: Path, centre: ScriptedCentre) -> None:
    with pytest.raises(EnrolmentError, match="cannot be reached"):
        enrol(config(tmp_path, "http://127.0.0.1:9"), "code")
    key = (tmp_path / "box/box.key").read_bytes()
    centre.answers.append(good())
    enrol(config(tmp_path, centre.url), "code")
    assert (tmp_path / "box/box.key").read_bytes() == key


def test_enrolled_box_keeps_its_identity_and_asks_nobody(tmp_path: Path, centre: ScriptedCentre) -> None:
    centre.answers.append(good())
    box = config(tmp_path, centre.url)
    enrol(box, "code")
    before = (tmp_path / "box/identity.json").read_bytes()
    with pytest.raises(EnrolmentError, match="enrolled already"):
        enrol(box, "other")
    assert (len(centre.requests), (tmp_path / "box/identity.json").read_bytes()) == (1, before)


def test_half_written_identity_does_not_count(tmp_path: Path, centre: ScriptedCentre) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "box/identity.part").write_text('{"box_id": "bo')  # a power cut during the first try
    centre.answers.append(good())
    enrol(config(tmp_path, centre.url), "code")
    assert load_identity(config(tmp_path, centre.url))[0].box_id == "box-7"


def test_unusable_folder_key_or_authority_is_said_and_nothing_is_sent(tmp_path: Path, centre: ScriptedCentre) -> None:
    (tmp_path / "box").write_text("a file stands where the folder should be")
    with pytest.raises(EnrolmentError, match="cannot be written"):
        enrol(config(tmp_path, centre.url), "code")
    (tmp_path / "box").unlink()
    (tmp_path / "box").mkdir()
    (tmp_path / "box/box.key").touch(mode=0o600)
    with pytest.raises(EnrolmentError, match="not an Ed25519 key"):
        enrol(config(tmp_path, centre.url), "code")
    (tmp_path / "box/box.key").unlink()
    Signer.generate().save(tmp_path / "box/box.key")
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(EnrolmentError, match=r"ca\.pem holds no certificate"):
        enrol(config(tmp_path, centre.url, ca_file=tmp_path / "ca.pem"), "code")
    assert centre.requests == []


def test_console_enrols_and_tells_a_refusal_with_status_1(
    run_edge: RunEdge, tmp_path: Path, centre: ScriptedCentre
) -> None:
    centre.answers += [(409, b"used"), good()]
    (tmp_path / "c.yaml").write_text(f"box: {{name: canteen-1, data_dir: box}}\nserver: {{url: '{centre.url}'}}\n")
    refused = run_edge("enrol", "--code", "c0de-secret", tmp_path / "c.yaml")
    assert (refused.returncode, refused.stderr) == (1, "brightline-edge: the centre refused: HTTP 409 used\n")
    done = run_edge("enrol", "--code", "c0de-secret", tmp_path / "c.yaml")
    assert (done.returncode, done.stdout) == (0, "enrolled as box box-7 of 阳光小学\n")
    assert "c0de-secret" not in refused.stderr + done.stderr
