"""A model on its way: kept when its parts fit, fetched by pieces, and taken back to the one that was live."""

from __future__ import annotations

from typing import Any

import pytest

from server.blob_references import referenced_blobs
from telemetry.batch import sha256_hex
from telemetry.released_model import MANIFEST_BYTES_MAX, MODEL_BYTES_MAX, PIECE_BYTES_MAX
from tests.server.rollout.fleet import SOAK_S, Fleet, manifest_of
from tests.server.tenancy.district import District, Somebody


def test_model_is_kept_with_its_manifest_and_offered_by_both_digests(
    district: District, administrator: Somebody
) -> None:
    fleet = Fleet(district, administrator, 1)
    (box,) = fleet.boxes
    release = fleet.model(b"v1")
    manifest = manifest_of(b"v1")
    assert (release["kind"], release["slot"], release["size_bytes"]) == ("model", "mask", 2)
    assert (release["sha256"], release["model_sha256"]) == (sha256_hex(manifest), sha256_hex(b"v1"))
    with district.database() as db:
        assert {release["sha256"], release["model_sha256"]} <= set(referenced_blobs(db))
    assert fleet.fetch(box, release["model_sha256"]).status_code == 404  # not offered yet
    rollout = fleet.begin(release["id"], stages=["100%"], mode="shadow")
    assert rollout["mode"] == "shadow"
    fleet.turn()
    assert fleet.fetch(box, release["sha256"]).content == manifest
    assert fleet.fetch(box, release["model_sha256"]).content == b"v1"
    said = {"release": str(release["id"]), "slot": "mask", "mode": "shadow"}
    digests = {name: release[name] for name in ("sha256", "model_sha256")}
    assert fleet.commands(box)[0].arguments == {**said, **digests}


def test_large_model_is_fetched_by_pieces_alone(district: District, administrator: Somebody) -> None:
    fleet = Fleet(district, administrator, 1)
    (box,) = fleet.boxes
    model = bytes(range(256)) * (2 * PIECE_BYTES_MAX // 256) + b"the end"
    release = fleet.model(model)
    digest = release["model_sha256"]
    fleet.begin(release["id"], stages=["100%"])
    fleet.turn()
    got = b""
    while len(got) < len(model):
        answer = fleet.fetch(box, digest, range=f"bytes={len(got)}-{len(got) + PIECE_BYTES_MAX - 1}")
        assert answer.status_code == 206
        last = len(got) + len(answer.content) - 1
        assert answer.headers["content-range"] == f"bytes {len(got)}-{last}/{len(model)}"
        got += answer.content
    assert got == model
    wrong = [
        "", f"bytes={len(model)}-{len(model)}", f"bytes=0-{PIECE_BYTES_MAX}", "bytes=5-4", "bytes=-5", "bytes=0-",
        "bytes=0-1,3-4", "chapters=0-1",
    ]  # fmt: skip
    for text in wrong:
        refused = fleet.fetch(box, digest, range=text)
        assert (refused.status_code, refused.json()["code"]) == (416, "range"), text
        assert refused.headers["content-range"] == f"bytes */{len(model)}"


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"sha256": "0" * 64}, "the manifest says"),
        ({"names": {"0": "mask", "2": "no_mask"}}, "without a hole"),
        ({"names": {}}, "names"),
        ({"input_px": 4096}, "input_px"),
        ({"licence": " "}, "licence"),
        ({"head": "else"}, "head"),
        ({"thresholds": {"hat": 0.5}}, "hat is no class"),
        ({"thresholds": {"mask": 0.1}}, "thresholds"),
        ({"close_look": "yes"}, "close_look"),
        ({"model": b""}, "more than none"),
        ({"slot": "../mask"}, "slot"),
        ({"name": ""}, "name"),
        ({"name": "x" * 81}, "name"),
    ],
)
def test_model_that_cannot_be_used_is_refused_with_the_reason(
    district: District, administrator: Somebody, said: dict[str, Any], word: str
) -> None:
    problem = Fleet(district, administrator, 0).model(**{"status": 422, **said})
    assert problem["code"] == "release"
    assert word in problem["detail"]


def test_model_or_manifest_that_is_too_large_or_missing_is_refused(district: District, administrator: Somebody) -> None:
    fleet = Fleet(district, administrator, 0)
    assert "model has at most" in fleet.model(b"x" * (MODEL_BYTES_MAX + 1), 413)["detail"]
    assert "manifest has at most" in fleet.model(b"v1", 413, card="x" * MANIFEST_BYTES_MAX)["detail"]
    fleet.model(b"x" * (MODEL_BYTES_MAX + 300_000), 413)
    files = {"manifest": ("m.json", b"{}")}
    assert "named model" in fleet.post("/api/v1/model-releases", 422, data={"name": "x"}, files=files)["detail"]
    assert "only a model" in fleet.begin(fleet.release()["id"], stages=["100%"], mode="shadow", status=422)["detail"]


def test_candidate_and_live_model_are_taken_back_to_the_model_that_was_live(
    district: District, administrator: Somebody
) -> None:
    fleet = Fleet(district, administrator, 1)
    (box,) = fleet.boxes
    first, second = fleet.model(b"v1"), fleet.model(b"v2")
    configuration = fleet.release()
    for release in (configuration, first):
        rollout = fleet.begin(release["id"], stages=["100%"])
        fleet.turn()
        fleet.apply(box)
        fleet.turn(SOAK_S + 60)
        assert fleet.shown(rollout)[0] == "done"
    for mode in ("shadow", "live"):
        rollout = fleet.begin(second["id"], stages=["100%"], mode=mode)
        fleet.turn()
        assert fleet.apply(box).arguments["mode"] == mode
        fleet.turn(SOAK_S + 60)
    fleet.post(f"/api/v1/rollouts/{rollout['id']}/roll_back", 200)
    fleet.turn()
    said = fleet.apply(box).arguments
    assert (said["release"], said["model_sha256"], said["mode"]) == (str(first["id"]), first["model_sha256"], "live")
    assert fleet.shown(rollout) == ("rolled_back", ["back"])


def test_model_that_does_worse_after_its_trial_takes_the_rollout_back(
    district: District, administrator: Somebody
) -> None:
    fleet = Fleet(district, administrator, 2)
    first, second = fleet.boxes
    rollout = fleet.begin(fleet.model(b"v3")["id"], stages=[1, "100%"])
    fleet.turn()
    fleet.apply(first)
    fleet.tell(first, "release", "failed", "60 of 60 pictures differ")
    fleet.turn()
    assert fleet.shown(rollout) == ("rolled_back", ["failed", "waiting"])
    assert fleet.commands(second) == []


def test_page_takes_a_model_begins_its_rollout_and_says_why_not(district: District, administrator: Somebody) -> None:
    fleet = Fleet(district, administrator, 1)
    (box,) = fleet.boxes

    def submit(path: str, **said: Any) -> Any:
        said["data"] = {"csrf": administrator.csrf, **said["data"]}
        return district.ask(administrator, "POST", path, **said)

    name = f"page {box.box_id}"
    files = {"manifest": ("m.json", manifest_of(b"v9")), "model": ("m.onnx", b"v9")}
    data = {"name": name, "slot": "mask"}
    assert submit("/boxes/rollouts/models", data=data, files=files).status_code == 303
    refused = submit("/boxes/rollouts/models", data=data, files={**files, "model": ("m.onnx", b"v8")})
    assert (refused.status_code, "the manifest says" in refused.text) == (422, True)
    assert submit("/boxes/rollouts/models", data={**data, "csrf": "x"}, files=files).status_code == 403
    listed = district.ask(administrator, "GET", "/api/v1/releases").json()["releases"]
    (release,) = [row["id"] for row in listed if row["name"] == name]
    wanted = {"release": release, "boxes": [box.box_id], "mode": "shadow"}
    assert submit("/boxes/rollouts", data=wanted).status_code == 303
    assert submit("/boxes/rollouts", data=wanted).status_code == 422  # it is under way
    assert submit("/boxes/rollouts", data={**wanted, "mode": "x"}).status_code == 422
    page = district.ask(administrator, "GET", "/boxes/rollouts").text
    assert "model mask · it looks along and says nothing" in page
    viewer = district.somebody("auditor", "")
    assert 'id="upload"' in page
    assert 'id="upload"' not in district.ask(viewer, "GET", "/boxes/rollouts").text


@pytest.mark.parametrize("told", [["mask 7 c947f4b8c8fe live"], "text", 7, None])
def test_page_of_a_box_shows_its_released_models_whatever_it_tells(
    district: District, administrator: Somebody, told: Any
) -> None:
    (box,) = Fleet(district, administrator, 1).boxes
    box.send_event("box_status", data={"kind": "heartbeat", "model_releases": told})
    page = district.ask(administrator, "GET", f"/boxes/{box.box_id}")
    assert page.status_code == 200
    assert ("mask 7 c947f4b8c8fe live" in page.text) == isinstance(told, list)
