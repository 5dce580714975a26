"""A model goes from a real centre to a box with a real camera process, and back when it does worse than before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from firmware_sim.camera import Schedule, write_file
from server.models import StoredEvent
from tests.scenario.rollout_site import Site, running_site
from tests.waiting import wait_for
from vision import cli as vision_cli
from vision.detector import DEFAULT_MODEL

CONFIG = """
box: {{name: b, data_dir: data}}
server: {{url: "{url}"}}
remote: {{allow: [apply], trial_s: 4}}
cameras: [{{id: kitchen, name: 备餐间, source: FILM}}]
evidence: {{films: false, free_bytes_min: 0}}
"""
MANIFEST = json.loads(DEFAULT_MODEL.with_suffix(".json").read_text("utf-8"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("models")
    write_file(Schedule("mask:60"), folder / "film.mp4", 10, fps=5, width=640, height=360)
    with running_site(folder, CONFIG.replace("FILM", str(folder / "film.mp4"))) as made:
        yield made


def relabelled(text: str) -> bytes:
    """The packaged model with a doc_string (field 6 of ONNX' ModelProto): other bytes that see the same."""
    said = text.encode()
    return DEFAULT_MODEL.read_bytes() + bytes([0x32, len(said)]) + said


def roll_out(site: Site, model: bytes, mode: str = "live") -> int:
    manifest = json.dumps({**MANIFEST, "sha256": hashlib.sha256(model).hexdigest()})
    files = {"manifest": ("m.json", manifest), "model": ("m.onnx", model)}
    release = site.post("/api/v1/model-releases", data={"name": "m"}, files=files)
    return site.begin(release, mode=mode)


def changes(site: Site) -> list[tuple[object, object]]:
    """What cameras told of their models, oldest first."""
    with site.centre.changing() as db:
        rows = db.scalars(select(StoredEvent).where(StoredEvent.type == "box_status").order_by(StoredEvent.at))
        told = [row.data for row in rows if row.data.get("kind") == "model"]
    return [(data["change"], data["model_sha256"]) for data in told]


@pytest.mark.slow
def test_model_is_live_over_a_kill_and_taken_back_by_itself_when_the_camera_takes_it_back(site: Site) -> None:
    second = relabelled("v2")
    digest = hashlib.sha256(second).hexdigest()
    site.kill.write_text("piece")
    rollout = roll_out(site, second)
    shown = site.wait_for(rollout, "paused", "refused")
    assert shown["boxes"][0]["reason"] == "the box was interrupted"
    part = site.folder / f"data/models/{digest}.fetching"
    assert 0 < part.stat().st_size < len(second)
    site.post(f"/api/v1/rollouts/{rollout}/resume")
    site.wait_for(rollout, "running", "applied")
    assert not part.exists()
    wait_for("the centre knows which model judges", lambda: changes(site) == [("promoted", digest)])
    assert vision_cli.main(["shadow", "rollback", str(site.folder / "data/shadow/kitchen/0"), "--reason", "worse"]) == 0
    shown = site.wait_for(rollout, "rolled_back", "failed")
    assert "took it back: worse" in shown["boxes"][0]["reason"]
    assert changes(site)[-1] == ("rolled_back", MANIFEST["sha256"])


@pytest.mark.slow
def test_what_onnxruntime_cannot_run_is_refused_by_the_box_and_pauses_the_rollout(site: Site) -> None:
    rollout = roll_out(site, b"no model at all")
    shown = site.wait_for(rollout, "paused", "refused")
    assert "onnxruntime cannot run it" in shown["boxes"][0]["reason"]
    site.post(f"/api/v1/rollouts/{rollout}/roll_back")
    site.wait_for(rollout, "rolled_back", "refused")


@pytest.mark.slow
def test_candidate_looks_along_and_is_taken_back(site: Site) -> None:
    rollout = roll_out(site, relabelled("v3"), "shadow")
    site.wait_for(rollout, "running", "applied")
    figures = site.folder / "data/shadow/kitchen/0/counts.json"
    wait_for("the candidate looks along", lambda: relabelled_counts(figures.read_bytes()))
    site.take_back(rollout)


def relabelled_counts(raw: bytes) -> bool:
    digest = hashlib.sha256(relabelled("v3")).hexdigest()
    found = json.loads(raw)
    return bool(found["models"] == [MANIFEST["sha256"], digest] and found["counts"]["pictures"])
