"""A candidate model beside the live one: counted rightly, bounded, never waited for, promoted and taken back."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from firmware_sim.scene import Kitchen
from tests.vision.views import START, boxes, frame
from vision.cli import main
from vision.crew import Crew
from vision.detections import Detections
from vision.detector import DEFAULT_MODEL, OnnxDetector
from vision.frame import Image
from vision.looker import LoadedModel
from vision.shadow import STARTS_MAX, WINDOW, Shadow, current_use, turned
from vision.shadow_counts import Seen, ShadowCounts, compare, wilson
from vision.shadow_folder import SEEN_MAX, Decision, ShadowFolder
from vision.watch_settings import ModelUse, ShadowUse, WatchSettings

NAMES = {0: "mask", 1: "no_mask"}
THRESHOLDS = {"mask": 0.35, "no_mask": 0.3}  # of the candidate
HEAD, AWAY = (1, 10, 10, 60, 60), (1, 200, 10, 260, 60)
PICTURE = frame(0)
USE = ModelUse(Path("live.onnx"), shadow=ShadowUse(Path("other.onnx"), share=1.0, cpu_share=1.0))


def wait_until(step: Callable[[], bool], within_s: float) -> None:
    """Take *step* after *step* until one is the last; the shadow's thread gets its turn in between."""
    ends_s, pause = time.monotonic() + within_s, threading.Event()
    while not step():
        assert time.monotonic() < ends_s, f"not within {within_s} s"
        pause.wait(0.002)


class Scripted:
    """A detector that answers with *found*, after *work*."""

    def __init__(self, letter: str, found: Detections, work: Callable[[], object] = lambda: None) -> None:
        self.names, self.sha256, self.found = NAMES, letter * 64, found
        self.looks = 0
        self._work = work

    def detect(self, image: Image) -> Detections:
        self._work()
        self.looks += 1
        return self.found

    def detect_many(self, images: Sequence[Image]) -> list[Detections]:
        return [self.detect(image) for image in images]


class Stage:
    """A shadow on its own, with both models scripted; `swap` gives them each other's place."""

    def __init__(self, folder: Path, live: Scripted, other: Scripted, use: ModelUse = USE) -> None:
        self.models = [LoadedModel(live), LoadedModel(other)]
        self.folder = ShadowFolder(folder)
        self.shadow = Shadow(
            use, *self.models, self.folder, self.swap, lambda detector, image: detector.detect(image), look_s=0.0
        )
        self.shown = 0

    def swap(self, use: ModelUse) -> tuple[LoadedModel, LoadedModel]:
        self.models.reverse()
        return self.models[0], self.models[1]

    def show(self, found: Detections) -> None:
        self.shown += 1
        at_s = self.shown / 5
        self.shadow.offer(replace(PICTURE, monotonic_s=at_s, captured_at=START + timedelta(seconds=at_s)), found)

    def show_until(self, found: Detections, done: Callable[[], bool]) -> None:
        """Show one picture after another until *done*."""

        def step() -> bool:
            self.show(found)
            return done()

        wait_until(step, within_s=30)


def seen(*rows: tuple[int, float, float, float, float] | tuple[int, float, float, float, float, float]) -> Seen:
    return Seen.of(boxes(*rows), NAMES, {"mask": 0.4, "no_mask": 0.6})


def test_boxes_of_a_class_are_paired_by_overlap_and_doubtful_ones_are_not_meant() -> None:
    result = compare(seen(HEAD, (0, 100, 100, 150, 150)), seen((1, 12, 11, 61, 62), (1, 100, 100, 150, 150)))
    assert result.both == ("no_mask",)
    assert [name for name, _ in result.only_live] == ["mask"]
    assert [name for name, _ in result.only_other] == ["no_mask"]
    assert not result.agrees
    assert compare(seen(HEAD, (1, 200, 10, 260, 60, 0.5)), seen(HEAD)).agrees, "0.5 is below the class's 0.6"
    assert compare(seen(), seen()).agrees
    assert compare(seen(HEAD, HEAD), seen(HEAD)).only_live[0][0] == "no_mask", "one box has one partner"


def test_the_interval_of_a_share_is_wilsons() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)  # Newcombe (1998), method 3
    assert wilson(0, 0) == (0, 1)
    assert wilson(0, 20)[0] == 0
    assert wilson(20, 20)[1] == pytest.approx(1)


def test_agreement_is_counted_class_by_class_and_kept_over_a_restart(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "s", Scripted("a", boxes(HEAD)), Scripted("b", boxes(HEAD, AWAY)))
    stage.show_until(boxes(HEAD), lambda: stage.folder.counts().pictures >= 1)
    counts = stage.folder.counts()
    assert counts.classes == {"no_mask": [counts.pictures, 0, counts.pictures]}
    (first, *_) = stage.folder.seen()
    assert [row["class"] for row in first["only_candidate"]] == ["no_mask"]
    assert Path(first["picture"]).read_bytes()[:2] == b"\xff\xd8"
    assert (tmp_path / "s").stat().st_mode & 0o077 == 0
    again = Stage(tmp_path / "s", Scripted("a", boxes(HEAD)), Scripted("b", boxes(HEAD)))
    again.show_until(boxes(HEAD), lambda: again.shadow._pair.counts.pictures > counts.pictures)
    other = Stage(tmp_path / "s", Scripted("a", boxes(HEAD)), Scripted("c", boxes(HEAD)))
    assert other.shadow._pair.counts.pictures == 0, "another candidate begins anew"


def test_a_candidate_that_hangs_delays_no_live_picture(tmp_path: Path) -> None:
    gate = threading.Event()
    stage = Stage(tmp_path / "s", Scripted("a", boxes(HEAD)), Scripted("b", boxes(HEAD), lambda: gate.wait(30)))
    begun_s = time.monotonic()
    for _ in range(500):
        stage.show(boxes(HEAD))
    assert time.monotonic() - begun_s < 10
    assert stage.shadow._pair.counts.skipped >= 498
    gate.set()
    stage.show_until(boxes(HEAD), lambda: stage.shadow._pair.counts.pictures >= 2)


def test_a_candidate_takes_no_more_cpu_than_its_share(tmp_path: Path) -> None:
    def burn() -> None:
        until_s = time.thread_time() + 0.02
        while time.thread_time() < until_s:
            pass

    other = Scripted("b", boxes(HEAD), burn)
    use = replace(USE, shadow=replace(USE.shadow, cpu_share=0.2))
    stage = Stage(tmp_path / "s", Scripted("a", boxes(HEAD)), other, use)
    begun_s = time.monotonic()
    stage.show_until(boxes(HEAD), lambda: other.looks >= 6)
    assert 0.2 * (time.monotonic() - begun_s) >= 5 * 0.02, "five whole rests lie between six looks"


def test_a_share_of_the_pictures_is_shown(tmp_path: Path) -> None:
    other = Scripted("b", boxes(HEAD))
    use = replace(USE, shadow=replace(USE.shadow, share=0.25))
    stage = Stage(tmp_path / "s", Scripted("a", boxes(HEAD)), other, use)
    stage.show_until(boxes(HEAD), lambda: stage.shown >= 100)
    wait_until(lambda: stage.shadow._pair.counts.pictures + stage.shadow._pair.counts.skipped == 25, within_s=30)


def test_disagreements_are_bounded_by_number_and_age(tmp_path: Path) -> None:
    folder = ShadowFolder(tmp_path / "s", keep_days=1)
    for number in range(SEEN_MAX + 5):
        folder.keep(START + timedelta(seconds=number), b"x", {"number": number})
    kept = [item["number"] for item in folder.seen()]
    assert kept == list(range(SEEN_MAX + 4, 4, -1))
    assert len(list((tmp_path / "s" / "seen").iterdir())) == 2 * SEEN_MAX
    ShadowFolder(tmp_path / "s", keep_days=1e-9).keep(START, b"x", {"number": -1})
    assert list(folder.seen()) == []


def test_a_person_promotes_and_rolls_back_and_the_running_camera_follows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s"
    stage = Stage(path, Scripted("a", boxes(HEAD)), Scripted("b", boxes(HEAD)))
    assert main(["shadow", "promote", str(path)]) == 2, "no figures yet"
    stage.show_until(boxes(HEAD), lambda: stage.folder.counts().pictures >= 1)
    assert main(["shadow", "rollback", str(path)]) == 2, "the former model is live"
    assert main(["shadow", "promote", "--reason", "better in steam", str(path)]) == 0
    stage.show_until(boxes(HEAD), lambda: bool(stage.shadow.news))
    change = stage.shadow.news.popleft()
    assert (change.promoted, change.reason, change.live_sha256) == (True, "better in steam", "b" * 64)
    stage.show_until(boxes(HEAD), lambda: stage.folder.state()["models"] == ["b" * 64, "a" * 64])
    assert main(["shadow", "promote", str(path)]) == 2, "it is live already"
    assert main(["shadow", "rollback", str(path)]) == 0
    stage.show_until(boxes(HEAD), lambda: bool(stage.shadow.news))
    assert stage.shadow.news.popleft().live_sha256 == "a" * 64
    capsys.readouterr()
    assert main(["shadow", "report", "--json", str(path)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(row["promoted"], row["by"]) for row in report["history"]] == [(True, "person"), (False, "person")]
    assert main(["shadow", "report", str(path)]) == 0
    assert "agreeing pictures: " in capsys.readouterr().out


def promoted(folder: Path, rate_fps: float = 0.0) -> Decision:
    """The candidate b is live in place of a."""
    decision = turned(Decision("a" * 64, "b" * 64, promoted=False, at="", by="person"), "person", "", rate_fps)
    ShadowFolder(folder).decide(decision)
    return decision


def test_a_promotion_is_taken_back_when_the_two_differ_too_often(tmp_path: Path) -> None:
    promoted(tmp_path / "s")
    stage = Stage(tmp_path / "s", Scripted("b", boxes(HEAD)), Scripted("a", boxes(AWAY)))
    stage.show_until(boxes(HEAD), lambda: bool(stage.shadow.news))
    change = stage.shadow.news.popleft()
    assert (change.promoted, change.live_sha256) == (False, "a" * 64)
    assert "pictures differ from the former model, more than 30%" in change.reason
    found = stage.folder.decision()
    assert found is not None
    assert (found.by, found.promoted) == ("automatic", False)
    assert len(list(stage.folder.seen())) >= WINDOW // 4 - 1, "the last one may still be on its way to the disk"


def test_a_promotion_stands_while_the_two_agree_and_falls_with_the_rate(tmp_path: Path) -> None:
    promoted(tmp_path / "s", rate_fps=5.0)
    stage = Stage(tmp_path / "s", Scripted("b", boxes(HEAD)), Scripted("a", boxes(HEAD)))
    stage.show_until(boxes(HEAD), lambda: stage.shown > WINDOW)  # five pictures a second
    assert not stage.shadow.news
    stage.shadow.offer(replace(PICTURE, monotonic_s=1000), boxes(HEAD))  # after minutes in the dark
    stage.show(boxes(HEAD))
    assert not stage.shadow.news
    for number in range(WINDOW):  # two a second
        stage.shadow.offer(replace(PICTURE, monotonic_s=2000 + number / 2), boxes(HEAD))
    assert "pictures a second instead of 5.00" in stage.shadow.news.popleft().reason


def test_a_promoted_model_with_which_the_process_does_not_live_is_taken_back(tmp_path: Path) -> None:
    for name, letter in (("live", "a"), ("other", "b")):
        manifest = {"sha256": letter * 64, "input_px": 320, "names": {"0": "x"}, "licence": "x"}
        (tmp_path / f"{name}.json").write_text(json.dumps(manifest), "utf-8")
    use = ModelUse(tmp_path / "live.onnx", shadow=ShadowUse(tmp_path / "other.onnx"))
    assert current_use(use, tmp_path / "s", 0) is use, "no decision"
    promoted(tmp_path / "s" / "0")
    for _ in range(STARTS_MAX):
        started = current_use(use, tmp_path / "s", 0)
        assert started.shadow is not None
        assert (started.path.name, started.shadow.path.name) == ("other.onnx", "live.onnx")
    assert current_use(use, tmp_path / "s", 0) is use
    found = ShadowFolder(tmp_path / "s" / "0").decision()
    assert found is not None
    assert (found.promoted, found.by) == (False, "automatic")
    assert current_use(use, tmp_path / "s", 0) is use
    stage = Stage(tmp_path / "s" / "0", Scripted("a", boxes(HEAD)), Scripted("b", boxes(HEAD)))
    assert "ended 3 times in a row" in stage.shadow.news.popleft().reason
    again = Stage(tmp_path / "s" / "0", Scripted("a", boxes(HEAD)), Scripted("b", boxes(HEAD)))
    assert not again.shadow.news, "it is told once"


def test_an_order_makes_the_candidate_live_once_and_is_told(tmp_path: Path) -> None:
    for name, letter in (("live", "a"), ("other", "b")):
        manifest = {"sha256": letter * 64, "input_px": 320, "names": {"0": "x"}, "licence": "x"}
        (tmp_path / f"{name}.json").write_text(json.dumps(manifest), "utf-8")
    shadow = ShadowUse(tmp_path / "other.onnx", share=1.0, cpu_share=1.0, live_by="c1", rate_fps_before=5.0)
    use = ModelUse(tmp_path / "live.onnx", shadow=shadow)
    folder = ShadowFolder(tmp_path / "s" / "0")
    assert current_use(use, tmp_path / "s", 0).path.name == "other.onnx"
    found = folder.decision()
    assert found is not None
    assert (found.by, found.order, found.rate_fps, found.promoted) == ("order", "c1", 5.0, True)
    stage = Stage(folder.path, Scripted("b", boxes(HEAD)), Scripted("a", boxes(HEAD)), use)
    news = stage.shadow.news.popleft()
    assert (news.promoted, news.live_sha256, news.other_sha256) == (True, "b" * 64, "a" * 64)
    folder.decide(turned(found, "automatic", "it was worse"))
    assert current_use(use, tmp_path / "s", 0) is use, "the order was carried out, and taken back"
    again = replace(use, shadow=replace(shadow, live_by="c2"))
    assert current_use(again, tmp_path / "s", 0).path.name == "other.onnx"


def test_a_broken_decision_is_none_and_a_shadow_has_to_fit(tmp_path: Path) -> None:
    folder = ShadowFolder(tmp_path / "s")
    promoted(tmp_path / "s")
    for broken in ('{"live', "[]", '{"live_sha256": 1}'):
        folder.decision_file.write_text(broken, "utf-8")
        assert folder.decision() is None
    with pytest.raises(ValueError, match="the same model"):
        Stage(tmp_path / "t", Scripted("a", boxes(HEAD)), Scripted("a", boxes(HEAD)))
    strange = Scripted("b", boxes(HEAD))
    strange.names = {0: "rat"}
    with pytest.raises(ValueError, match="needs the classes of"):
        Stage(tmp_path / "t", Scripted("a", boxes(HEAD)), strange)
    assert ShadowCounts().as_report()["share"] is None


def copy_model(path: Path) -> str:
    """The packaged model with other bytes and thresholds; returns their digest."""
    data = DEFAULT_MODEL.read_bytes() + b"\x32\x01x"  # a doc_string, in ONNX' protobuf
    path.write_bytes(data)
    manifest = json.loads(DEFAULT_MODEL.with_suffix(".json").read_text("utf-8"))
    digest = hashlib.sha256(data).hexdigest()
    path.with_suffix(".json").write_text(json.dumps({**manifest, "sha256": digest, "thresholds": THRESHOLDS}))
    return digest


def test_candidate_of_a_release_that_is_off_is_told_at_each_start_and_tried_anew_in_another_release(
    tmp_path: Path,
) -> None:
    digest = copy_model(tmp_path / "candidate.onnx")

    def start(release: str, *crashed: int) -> tuple[bool, list[str]]:
        use = ModelUse(shadow=ShadowUse(tmp_path / "candidate.onnx", release=release))
        settings = WatchSettings("kitchen", "x", models=(use,), shadow_dir=tmp_path / "shadow", crashed_shadows=crashed)
        crew = Crew(settings)
        return crew.lookers[0].shadow is not None, [item.sha256 for item in crew.refusals()]

    assert start("7", 0) == (False, [digest])
    assert start("7") == (False, [digest])
    assert start("8") == (True, [])


def test_a_candidate_that_ended_the_process_is_loaded_no_more_until_somebody_allows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = copy_model(tmp_path / "candidate.onnx")
    use = ModelUse(shadow=ShadowUse(tmp_path / "candidate.onnx"))
    settings = WatchSettings("kitchen", "x", models=(use,), shadow_dir=tmp_path / "shadow", crashed_shadows=(0,))
    work: list[bool] = []

    def start(settings: WatchSettings) -> tuple[bool, list[str]]:
        crew = Crew(settings, in_shadow=lambda number: work.append)
        return crew.lookers[0].shadow is not None, [item.sha256 for item in crew.refusals()]

    assert start(settings) == (False, [digest])
    later = replace(settings, crashed_shadows=())
    assert start(later) == (False, []), "off, and told already"
    assert work == [], "it never came near native code"
    path = tmp_path / "shadow" / "0"
    live = OnnxDetector().sha256
    ShadowFolder(path).save_counts(ShadowCounts(), models=[live, digest], rate_fps=5.0)
    assert main(["shadow", "promote", str(path)]) == 2
    assert "is off since" in capsys.readouterr().err
    assert main(["shadow", "report", str(path)]) == 0
    assert "the candidate is off since" in capsys.readouterr().out
    assert [main(["shadow", "allow", str(path)]) for _ in range(2)] == [0, 2]
    assert start(later) == (True, [])
    assert work[:2] == [True, False]


def test_a_real_candidate_is_looked_through_and_takes_the_live_ones_place(tmp_path: Path) -> None:
    candidate = tmp_path / "candidate.onnx"
    digest = copy_model(candidate)
    use = ModelUse(shadow=ShadowUse(candidate, share=1.0, cpu_share=1.0))
    crew = Crew(WatchSettings("kitchen", "x", models=(use,), shadow_dir=tmp_path / "shadow"))
    (looker,) = crew.lookers
    shadow, folder = looker.shadow, tmp_path / "shadow" / "0"
    assert shadow is not None
    shadow._look_s = 0.0
    image = np.asarray(Kitchen(640, 360).frame(3, "no_mask"), np.uint8)
    shown = iter(range(10_000))

    def look_until(done: Callable[[], bool]) -> None:
        def step() -> bool:
            looker.look(frame(next(shown), image))
            return done()

        wait_until(step, within_s=60)

    look_until(lambda: ShadowFolder(folder).counts().pictures >= 1)
    counts = ShadowFolder(folder).counts()
    assert counts.agreed == counts.pictures
    assert main(["shadow", "promote", str(folder)]) == 0
    changes: list[bool] = []
    look_until(lambda: bool(changes.extend(item.promoted for item in crew.news()) or changes))
    assert changes == [True]
    assert looker.detector.sha256 == digest
    assert crew.thresholds == THRESHOLDS
    assert [item.name for item in looker.sightings] == ["no_mask"]
