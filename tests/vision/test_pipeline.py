"""One camera, frame by frame: what opens, what closes, and that blindness is never a verdict."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from firmware_sim.camera import Schedule, write_file
from tests.vision.views import START, black, boxes, frame
from vision.coverage import CoverageReport
from vision.detections import Detections
from vision.detector import ScriptedDetector
from vision.frame import Frame
from vision.happenings import CameraStatus, FrameStats, ViolationClosed, ViolationOpened, WatchItem
from vision.manifest import ModelError
from vision.pipeline import Watch
from vision.site_times import SiteTimes, Span
from vision.watch_settings import ModelUse, OpenIncident, Watched, WatchSettings
from vision.watchroom import watch_cameras
from vision.zones import Zone

NAMES = {0: "mask", 1: "no_mask", 2: "pot"}
MASKS = Watched("no_mask", changes={"dwell_s": 2, "recover_s": 4})
SETTINGS = WatchSettings("cam-1", "unused.mp4", violations=(MASKS,))


def head(class_id: int, *, confidence: float = 0.9, size: float = 60) -> Detections:
    return Detections.of([[100, 100, 100 + size, 100 + size]], [confidence], [class_id])


def watch(*script: Detections, settings: WatchSettings = SETTINGS) -> Watch:
    return Watch(settings, [ScriptedDetector(NAMES, script)])


def judge(target: Watch, frames: list[Frame]) -> list[WatchItem]:
    return [item for one in frames for item in target.judge(one)]


def with_changes(**changes: object) -> WatchSettings:
    return replace(SETTINGS, violations=(replace(MASKS, changes={**MASKS.changes, **changes}),))


def test_a_violation_opens_once_with_pictures_and_closes_after_recovery() -> None:
    target = watch(*[head(1)] * 30, head(0))
    opened, closed = judge(target, [frame(i) for i in range(60)])
    assert isinstance(opened, ViolationOpened)
    assert (opened.kind, opened.camera_id, opened.at) == ("no_mask", "cam-1", START + timedelta(seconds=2))
    assert opened.confidence == pytest.approx(0.9)
    assert opened.duration_s == pytest.approx(2)
    assert isinstance(closed, ViolationClosed)
    assert closed.incident_id == opened.incident_id
    assert closed.at == START + timedelta(seconds=29 / 5 + 4)


def test_the_pictures_are_jpegs_of_the_frame_and_one_has_the_finding_drawn_in() -> None:
    (opened,) = judge(watch(head(1)), [frame(i) for i in range(12)])
    assert isinstance(opened, ViolationOpened)
    raw, drawn = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        for data in (opened.snapshot_jpeg, opened.annotated_jpeg)
    )
    assert raw is not None
    assert drawn is not None
    assert raw.shape == drawn.shape == (360, 640, 3)
    assert abs(float(raw.mean()) - float(frame(10).image.mean())) < 2
    blue, green, red = drawn[100:160, 99:102].reshape(-1, 3).mean(axis=0)  # the left side of the box
    assert red > blue + 50
    assert red > green + 50


def test_a_black_picture_is_blindness_and_no_verdict() -> None:
    target = watch(head(1))
    items = judge(target, [black(i) for i in range(50)])
    assert [(type(item), getattr(item, "blind", None)) for item in items] == [(CameraStatus, True)]
    assert items[0].at <= START + timedelta(seconds=5)
    seeing, opened = judge(target, [frame(50 + i) for i in range(17)])
    assert isinstance(seeing, CameraStatus)
    assert not seeing.blind
    assert isinstance(opened, ViolationOpened)


def test_one_black_picture_forgets_a_half_made_judgement_and_is_not_yet_blindness() -> None:
    target = watch(head(1))
    (opened,) = judge(target, [black(i) if i == 8 else frame(i) for i in range(25)])
    assert isinstance(opened, ViolationOpened)
    assert opened.at == START + timedelta(seconds=9 / 5 + 2)


def test_an_open_incident_does_not_close_in_the_dark() -> None:
    target = watch(*[head(1)] * 12, head(0))
    (opened,) = judge(target, [frame(i) for i in range(12)])
    assert isinstance(opened, ViolationOpened)
    items = judge(target, [black(12 + i) for i in range(200)])
    assert [type(item) for item in items] == [CameraStatus]


@pytest.mark.parametrize(
    "found",
    [
        head(1, size=20),  # too small to judge
        head(1, confidence=0.3),  # too doubtful
        head(2),  # not a head at all
        head(0),
        Detections.of([], [], []),
    ],
)
def test_small_doubtful_foreign_and_masked_heads_never_open(found: Detections) -> None:
    assert judge(watch(head(0), found), [frame(i) for i in range(100)]) == []


def test_a_foreign_class_does_not_count_as_recovery_of_the_offender() -> None:
    items = judge(watch(*[head(1)] * 12, head(2)), [frame(i) for i in range(100)])
    assert [type(item) for item in items] == [ViolationOpened]


def test_an_incident_from_before_the_restart_closes_under_its_id() -> None:
    settings = replace(SETTINGS, open_incidents=(OpenIncident("old", "no_mask"),))
    (closed,) = judge(watch(head(0), settings=settings), [frame(i) for i in range(22)])
    assert isinstance(closed, ViolationClosed)
    assert closed.incident_id == "old"


def test_a_model_that_cannot_see_the_violation_is_refused_with_the_classes_that_are_missing() -> None:
    with pytest.raises(ModelError, match=r"needs the classes no_mask, mask; .* know person; missing: mask, no_mask"):
        Watch(SETTINGS, [ScriptedDetector({0: "person"}, [])])


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (replace(SETTINGS, violations=(Watched("juggling"),)), "no such violation"),
        (with_changes(dwell_s=0), "dwell_s"),
        (with_changes(window_share=2), "window_share"),
        (with_changes(confidence=0), "confidence"),
        (with_changes(active=["brunch"]), "no such period"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: WatchSettings, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        watch(head(1), settings=settings)


def test_zones_that_do_not_exist_or_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="line: no such zone on camera cam-1"):
        replace(SETTINGS, violations=(Watched("no_mask", ("line",)),))
    with pytest.raises(ValueError, match="at least one model and one violation"):
        replace(SETTINGS, violations=())
    with pytest.raises(ValueError, match="two zones have this id"):
        replace(SETTINGS, zones=(Zone("a"), Zone("a")))
    store = (Zone("shelf", "store", ((0, 0), (1, 0), (1, 1))),)
    with pytest.raises(ValueError, match="no_mask: camera cam-1 has no zone of the kind special, serving"):
        watch(head(1), settings=replace(SETTINGS, zones=store))


LEFT = Zone("left", "serving", ((0, 0), (0.5, 0), (0.5, 1), (0, 1)))
RIGHT = Zone("right", "serving", ((0.5, 0), (1, 0), (1, 1), (0.5, 1)))


def test_each_zone_has_its_own_incident() -> None:
    both = boxes((1, 100, 100, 160, 160), (1, 500, 100, 560, 160))
    settings = replace(SETTINGS, zones=(LEFT, RIGHT))
    items = judge(watch(*[both] * 30, boxes((1, 500, 100, 560, 160)), settings=settings), [frame(i) for i in range(60)])
    assert [(type(item).__name__, item.zone) for item in items] == [
        ("ViolationOpened", "left"), ("ViolationOpened", "right"), ("ViolationClosed", "left"),
    ]  # fmt: skip
    assert len({item.incident_id for item in items}) == 2


def test_what_is_masked_is_seen_by_nobody() -> None:
    class Curious:
        names = NAMES
        sha256 = "0" * 64

        def __init__(self) -> None:
            self.seen: list[np.ndarray] = []

        def detect(self, image: np.ndarray) -> Detections:
            self.seen.append(image)
            return head(1)

        def detect_many(self, images: object) -> list[Detections]:
            raise AssertionError

    detector = Curious()
    settings = replace(SETTINGS, masks=(((0.5, 0), (1, 0), (1, 1), (0.5, 1)),))
    opened = judge(Watch(settings, [detector]), [frame(i) for i in range(12)])[0]
    assert isinstance(opened, ViolationOpened)
    assert (detector.seen[0][:, 322:] == 114).all()
    kept = cv2.imdecode(np.frombuffer(opened.snapshot_jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert kept is not None
    assert float(np.abs(kept[:, 330:].astype(int) - 114).max()) < 8


def test_a_rule_holds_only_in_its_periods_and_what_is_open_then_runs_out() -> None:
    lunch = SiteTimes(meals={"lunch": (Span("11:00", "12:01"),)})  # the first picture is of 12:00
    settings = replace(with_changes(active=["lunch"]), times=lunch)
    opened, closed = judge(watch(head(1), settings=settings), [frame(i) for i in range(5 * 80)])
    assert isinstance(opened, ViolationOpened)
    assert isinstance(closed, ViolationClosed)
    assert closed.reason == "period_over"
    assert timedelta(seconds=60) <= closed.at - START <= timedelta(seconds=66)


def test_a_second_model_looks_at_its_own_rate_and_a_rule_may_need_both() -> None:
    class Counting(ScriptedDetector):
        looks = 0

        def detect(self, image: np.ndarray) -> Detections:
            self.looks += 1
            return super().detect(image)

    fires = Counting({0: "fire"}, [boxes((0, 100, 200, 150, 240))])
    people = Counting({0: "person"}, [*[boxes((0, 120, 60, 200, 300))] * 10, boxes()])
    settings = WatchSettings(
        "cam-1", "unused.mp4", models=(ModelUse(), ModelUse(rate_fps=1)),
        violations=(Watched("unattended_flame", changes={"dwell_s": 5}),),
    )  # fmt: skip
    (opened,) = judge(Watch(settings, [fires, people]), [frame(i) for i in range(100)])
    assert isinstance(opened, ViolationOpened)
    assert (fires.looks, people.looks) == (100, 21)  # at 0, 0.8 (early enough), 1.8 ...
    assert timedelta(seconds=13) <= opened.at - START <= timedelta(seconds=16)  # somebody was there for ten seconds


def test_a_post_that_is_left_is_an_incident_without_a_box() -> None:
    settings = WatchSettings(
        "cam-1", "unused.mp4", violations=(Watched("absent_post", changes={"dwell_s": 3, "active": ["always"]}),)
    )
    people = ScriptedDetector({0: "person"}, [*[boxes((0, 100, 60, 200, 300))] * 20, boxes()])
    (opened,) = judge(Watch(settings, [people]), [frame(i) for i in range(60)])
    assert isinstance(opened, ViolationOpened)
    assert timedelta(seconds=6.5) <= opened.at - START <= timedelta(seconds=7.2)
    assert cv2.imdecode(np.frombuffer(opened.annotated_jpeg, np.uint8), cv2.IMREAD_COLOR) is not None


def coverage(items: list[WatchItem]) -> list[tuple[float, float, float]]:
    reports = [item for item in items if isinstance(item, CoverageReport)]
    return [(round(r.rows[0].due_s, 3), round(r.rows[0].judged_s, 3), round(r.blind_s, 3)) for r in reports]


def test_the_time_that_was_judged_is_told_beside_the_time_that_was_due() -> None:
    target = watch(head(0), settings=replace(SETTINGS, coverage_interval_s=10))
    seen = judge(target, [black(i) if 20 <= i < 35 else frame(i) for i in range(52)])
    # blind: three seconds of black and not quite one of good pictures; the first step after it counts as neither
    assert coverage(seen) == [(10.0, pytest.approx(10 - 3.8 - 0.2), pytest.approx(3.8))]
    assert [item.models for item in seen if isinstance(item, CoverageReport)] == [("0" * 64,)]


def test_time_without_pictures_is_due_and_not_judged() -> None:
    target = watch(head(0), settings=replace(SETTINGS, coverage_interval_s=10))
    items = [*judge(target, [frame(i) for i in range(11)]), *target.lost("gone", 6.5), *target.lost("gone", 11.0)]
    assert coverage(items) == [(11.0, 2.0, 9.0)]


def test_a_pause_between_two_pictures_is_not_judged() -> None:
    target = watch(head(0))
    items = judge(target, [frame(i) for i in range(6)]) + judge(target, [frame(i) for i in range(50, 56)])
    items += list(target.finish())
    assert coverage(items) == [(11.0, 2.0, 0.0)]


def test_time_outside_of_the_periods_is_not_due() -> None:
    night = SiteTimes(open=(Span("05:00", "19:00"),))
    target = watch(head(0), settings=replace(with_changes(active=["night"]), times=night))
    judge(target, [frame(i) for i in range(11)])
    (report,) = target.finish()
    assert isinstance(report, CoverageReport)
    assert report.rows == ()


def test_a_lost_source_is_told_once_and_statistics_go_on(tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_text("no film")
    target = watch(head(1), settings=replace(SETTINGS, source=str(path), loop=False))
    items = list(watch_cameras([target], threading.Event()))
    (status,) = (item for item in items if isinstance(item, CameraStatus))
    assert status.blind
    assert status.reason.startswith("offline: InvalidDataError")
    stats = next(item for item in items if isinstance(item, FrameStats))
    assert (stats.camera_id, stats.judged, set(stats.drops.values())) == ("cam-1", 0, {0})
    assert isinstance(items[-1], CoverageReport)


def test_a_camera_that_was_told_as_blind_before_a_restart_is_told_as_seeing_once() -> None:
    items = judge(watch(head(0), settings=replace(SETTINGS, blind=True)), [frame(i) for i in range(10)])
    assert [(type(item), getattr(item, "blind", None)) for item in items] == [(CameraStatus, False)]


def test_a_film_is_watched_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_file(Schedule("no_mask:9"), path, 3, fps=10, width=160, height=96)
    target = watch(head(1), settings=replace(with_changes(dwell_s=1), source=str(path), rate_fps=10, loop=False))
    items = list(watch_cameras([target], threading.Event()))
    assert [type(item) for item in items if not isinstance(item, FrameStats)] == [ViolationOpened, CoverageReport]


def test_a_stop_ends_the_watch(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_file(Schedule("no_mask:9"), path, 1, fps=10, width=160, height=96)
    stop = threading.Event()
    items = watch_cameras([watch(head(1), settings=replace(SETTINGS, source=str(path), rate_fps=10))], stop)
    assert isinstance(next(items), FrameStats)
    stop.set()
    assert list(items) == []


def test_a_camera_that_sends_another_size_after_reconnecting_is_judged_anew_and_keeps_its_incident() -> None:
    """The head stands where another one stood in the small picture; its time counts from the first large picture."""
    target = watch(head(1))
    assert judge(target, [frame(i) for i in range(8)]) == []
    large = [frame(i, np.ascontiguousarray(cv2.resize(frame(i).image, (1280, 720)))) for i in range(8, 30)]
    (opened,) = judge(target, large)
    assert isinstance(opened, ViolationOpened)
    assert opened.at == START + timedelta(seconds=8 / 5 + 2)
    assert judge(target, [frame(i) for i in range(30, 40)]) == []
