"""A released model is fetched, tried, made live or a shadow, proved or taken back, and never breaks what was there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import release_fetch
from edge.camera_check import check_cameras
from edge.model_folder import KEPT_MAX
from edge.release_fetch import FREE_BYTES_MIN
from edge.trial_record import STARTS_MAX
from telemetry.batch import sha256_hex
from telemetry.released_model import PIECE_BYTES_MAX
from tests.edge.released_cameras import OWN, PIECE_BYTES, CameraBox
from tests.small_disk import mounting_small_disk
from vision.detector import DEFAULT_MODEL

V1, V2, V3 = b"the first", b"the second", b"the third model"


@pytest.fixture
def box(tmp_path: Path) -> CameraBox:
    return CameraBox(tmp_path)


def test_model_is_live_from_the_next_start_on_beside_the_one_before_it(box: CameraBox) -> None:
    asyncio.run(box.judge())
    assert box.order("1", V1) == ("done", "")
    assert box.file_of(V1).read_bytes() == V1
    cameras, checked = box.checked[0]
    assert checked == box.file_of(V1)
    (tried,) = cameras[0].models_used
    model = box.start()
    assert model == tried
    assert model.path is None
    assert model.shadow is not None
    assert (model.shadow.path, model.shadow.live_by, model.shadow.rate_fps_before) == (box.file_of(V1), "c1", 4.5)
    assert box.told == []
    box.live_on()
    assert box.told == [("1", "applied")]
    assert box.order("1", V1) == ("done", "")
    assert len(box.checked) == 1  # it was in force already


def test_candidate_looks_along_until_it_is_made_live_and_the_way_back_leads_to_what_was_live(box: CameraBox) -> None:
    box.prove("1", V1)
    box.prove("2", V2, "shadow")
    model = box.start()
    assert model.path == box.file_of(V1)
    assert model.shadow is not None
    assert (model.shadow.path, model.shadow.live_by) == (box.file_of(V2), None)
    box.prove("2", V2, "live")
    model = box.start()
    assert model.shadow is not None
    assert (model.path, model.shadow.path, model.shadow.live_by) == (box.file_of(V1), box.file_of(V2), "c2")
    box.prove("1", V1)  # the centre takes the second one back
    model = box.start()
    assert (model.path, model.shadow) == (box.file_of(V2), model.shadow)
    box.prove("0", None)
    model = box.start()
    assert (model.path, model.shadow) == (None, None)
    assert [status for _, status in box.told] == ["applied"] * 5


def test_box_that_does_not_stay_up_goes_back_to_the_model_before(box: CameraBox) -> None:
    box.prove("1", V1)
    box.order("2", V2)
    for _ in range(STARTS_MAX):
        assert box.start().path == box.file_of(V1)
    model = box.start()
    assert (model.path, model.shadow) == (box.file_of(V1), None)
    box.live_on()
    assert box.told == [("1", "applied"), ("2", "failed")]


def test_model_that_the_cameras_take_back_is_taken_back_by_the_box_also_after_its_proof(box: CameraBox) -> None:
    box.prove("1", V1)
    box.prove("2", V2)
    taken_back = {"type": "model_changed", "kind": "rolled_back", "reason": "60 of 60 pictures differ"}
    box.start()
    box.live_on({**taken_back, "model_sha256": sha256_hex(V1), "other_sha256": sha256_hex(V2)})
    assert box.told[-1] == ("2", "failed")
    assert "60 of 60 pictures differ" in str(box.events[-1].data["reason"])
    assert box.start().path == box.file_of(V1)


def test_candidate_that_the_cameras_turn_off_fails_its_release_also_after_its_proof(box: CameraBox) -> None:
    box.prove("1", V1)
    box.prove("2", V2, "shadow")
    off = {"type": "model_changed", "kind": "candidate_off", "reason": "the camera process died inside of it"}
    model = box.start()
    assert model.shadow is not None
    assert model.shadow.release == "2"
    box.live_on({**off, "model_sha256": sha256_hex(V2)})
    assert box.told[-1] == ("2", "failed")
    assert "died inside of it" in str(box.events[-1].data["reason"])
    model = box.start()
    assert (model.path, model.shadow) == (box.file_of(V1), None)
    box.prove("3", V2, "shadow")
    model = box.start()
    assert model.shadow is not None
    assert (model.shadow.path, model.shadow.release) == (box.file_of(V2), "3")
    box.live_on()
    assert box.told[-1] == ("3", "applied")


def test_another_candidate_that_is_off_fails_no_release(box: CameraBox) -> None:
    box.prove("1", V1)
    box.start()
    off = {"type": "model_changed", "kind": "candidate_off", "reason": "it crashed", "model_sha256": sha256_hex(V2)}
    asyncio.run(box.judge(**off))
    assert box.desk()._failed_for("mask")(box.folder.record("mask").state.current) == ""


def test_camera_process_that_ends_again_and_again_fails_the_model_on_trial(box: CameraBox) -> None:
    box.order("1", V1)
    box.start()
    box.trial_s = 0.2

    async def live() -> None:
        service = asyncio.create_task(box.desk().run())
        async with asyncio.timeout(20):
            for _ in range(3):
                await box.camera.tell_blind("its process ended with status -11")
            await box.restarts.wait()
        service.cancel()

    asyncio.run(live())
    assert box.told == [("1", "failed")]
    assert "status -11" in str(box.events[-1].data["reason"])
    assert box.start().shadow is None


def test_trial_lasts_until_a_picture_was_judged_and_the_box_does_its_work(box: CameraBox) -> None:
    box.order("1", V1)
    box.start()
    record = box.folder.record("mask")
    lacks = box.desk()._lacks_for("mask")
    assert lacks(record.state.current) == "no camera judged a picture with it"
    asyncio.run(box.judge())
    box.lacks = "the centre could not be reached"
    assert lacks(record.state.current) == "the centre could not be reached"


def test_model_that_the_check_refuses_or_that_has_no_place_is_not_put_on_trial(box: CameraBox) -> None:
    box.problems = [(0, "a shadow needs the classes of mask_v1.onnx"), (1, "onnxruntime cannot run it")]
    assert box.order("1", V1) == (
        "refused", "a shadow needs the classes of mask_v1.onnx; onnxruntime cannot run it"
    )  # fmt: skip
    status, reason = box.order("2", V1, slot="rats")
    assert (status, reason) == ("refused", "no camera of this box has a model with the slot rats")
    assert box.order("3", V1, mode="both") == ("refused", "the command names no release")
    for digests in ({"sha256": "../../x"}, {"model_sha256": "../x"}, {"model_sha256": ""}):
        said = {**box.release(V1), **digests}
        box.release = lambda model, said=said: said  # type: ignore[method-assign, misc]
        assert box.order("4", V1)[0] == "refused"
        del box.release
    assert box.start().shadow is None


def test_model_with_its_own_path_has_a_place_only_when_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.onnx").write_bytes(b"own")
    own = OWN.replace('"rtsp://c/1"', '"rtsp://c/1", models: [{path: own.onnx, slot: rats}]')
    box = CameraBox(tmp_path, own)
    assert box.order("1", V1)[0] == "refused"
    assert box.order("2", V1, slot="rats") == ("done", "")
    model = box.start()
    assert model.path == tmp_path / "own.onnx"
    assert model.shadow is not None
    assert model.shadow.path == box.file_of(V1)


def test_fetch_goes_on_where_it_was_cut_also_after_it_was_given_up(
    box: CameraBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_fetch, "BACKOFF_S_MAX", 0.05)
    box.caller.fails = {2, 3, 4, 5, 6}
    assert box.order("1", V3) == ("failed", "the model could not be fetched: down")
    assert box.folder.fetching(sha256_hex(V3)).read_bytes() == V3[:PIECE_BYTES]
    assert box.order("2", V3) == ("done", "")
    assert box.caller.asked == [0, 4, 4, 4, 4, 4, 4, 8, 12]
    assert box.file_of(V3).read_bytes() == V3
    assert list(box.folder.path.glob("*.fetching")) == []


def test_fetch_that_a_power_cut_tore_or_completed_is_made_good(box: CameraBox) -> None:
    box.release(V1)
    part = box.folder.fetching(sha256_hex(V1))
    part.parent.mkdir(parents=True)
    part.write_bytes(V1)
    assert box.order("1", V1) == ("done", "")
    assert box.caller.asked == []
    part = box.folder.fetching(sha256_hex(V2))
    part.write_bytes(b"\0" * len(V2))
    assert box.order("2", V2) == ("done", "")
    assert box.file_of(V2).read_bytes() == V2


def test_other_bytes_or_another_model_than_announced_are_not_kept(box: CameraBox) -> None:
    said = box.release(V1)
    box.caller.blobs[str(said["model_sha256"])] = b"another"
    box.release = lambda model: said  # type: ignore[method-assign]
    assert box.order("1", V1) == ("refused", "the centre sent other bytes than it announced")
    assert list(box.folder.path.iterdir()) == []
    said["model_sha256"] = sha256_hex(V2)
    assert box.order("2", V1) == ("refused", "the manifest names another model than the command")
    assert box.start().shadow is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounting_small_disk(tmp_path / "disk") as disk:
        yield disk


def test_full_disk_is_told_and_nothing_is_left_of_the_model(small_disk: Path) -> None:
    assert FREE_BYTES_MIN > 4 * 1024 * 1024
    box = CameraBox(small_disk)
    assert box.order("1", V1) == ("failed", "the model could not be kept: No space left on device")
    assert [path for path in small_disk.rglob("*") if path.is_file()] == [box.path]
    assert box.start().shadow is None


def test_model_that_was_damaged_on_the_disk_gives_its_place_to_the_one_before(box: CameraBox) -> None:
    box.prove("1", V1)
    box.prove("2", V2)
    box.file_of(V2).write_bytes(b"damaged")
    model = box.start()
    assert (model.path, model.shadow) == (box.file_of(V1), None)
    box.file_of(V1).unlink()
    model = box.start()
    assert (model.path, model.shadow) == (None, None)
    box.live_on()
    assert box.told[2:] == [("2", "failed"), ("1", "failed")]


def test_folders_that_nobody_names_go_but_for_the_newest(box: CameraBox) -> None:
    models = [f"model {number}".encode() for number in range(KEPT_MAX + 4)]
    for number, model in enumerate(models):
        box.prove(str(number), model)
    kept = [model for model in models if box.file_of(model).exists()]
    assert kept == models[-KEPT_MAX - 2 :]
    (box.folder.path / f"{'a' * 64}.new").mkdir()
    box.problems = [(0, "it does not run")]
    for number in range(KEPT_MAX + 2):
        box.order(str(number), f"refused {number}".encode())
    assert len([path for path in box.folder.path.iterdir() if path.is_dir()]) == KEPT_MAX + 2
    assert not list(box.folder.path.glob("*.new"))


def test_packaged_model_and_its_copy_are_tried_for_real_and_what_does_not_run_is_refused(tmp_path: Path) -> None:
    box = CameraBox(tmp_path)
    box._check = check_cameras  # type: ignore[method-assign]
    box.caller.piece_bytes = PIECE_BYTES_MAX
    relabelled = DEFAULT_MODEL.read_bytes() + b"\x32\x02v2"  # a doc_string in ONNX' protobuf: other bytes, the same
    assert box.order("1", b"no model at all")[0] == "refused"
    assert "no model at all" not in str(box.folder.record("mask").state)
    status, reason = box.order("2", relabelled)
    assert (status, reason) == ("done", "")
