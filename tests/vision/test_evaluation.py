"""Average precision against cases worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vision.dataset import Dataset, DatasetError
from vision.detections import Detections
from vision.evaluation import THRESHOLDS, average_precision, evaluate, match, score
from vision.frame import Image

Box = tuple[float, float, float, float]
HERE: Box = (0, 0, 100, 100)
THERE: Box = (300, 300, 400, 400)


def boxes(*items: tuple[Box, float]) -> Detections:
    return Detections.of([box for box, _ in items], [confidence for _, confidence in items], [0] * len(items))


def true(*items: Box) -> Detections:
    return boxes(*((box, 1.0) for box in items))


@pytest.mark.parametrize(
    ("hits", "count", "expected"),
    [
        ([1], 1, 1.0),
        ([], 3, 0.0),
        ([0, 0], 2, 0.0),
        ([1, 1], 2, 1.0),
        ([1], 2, 51 / 101),  # recalls 0 ... 0.50 at precision 1
        ([0, 1], 1, 0.5),  # precision 1/2 at every recall
        ([1, 0, 1], 2, (51 * 1 + 50 * 2 / 3) / 101),  # 1 up to recall 0.5, then 2/3
        ([1, 0, 0, 1], 4, (26 * 1 + 25 * 0.5) / 101),  # recalls 0-0.25 at 1, 0.26-0.50 at 2/4, nothing beyond
        ([0, 1, 1], 2, 2 / 3),  # the monotone envelope lifts 1/2 at recall 0.5 to 2/3
    ],
)
def test_average_precision_reads_the_monotone_curve_at_101_recalls(
    hits: list[int], count: int, expected: float
) -> None:
    assert average_precision(np.array(hits, np.bool_), count) == pytest.approx(expected)


def test_a_perfect_detector_scores_one() -> None:
    result = score({"mask": [(boxes((HERE, 0.9), (THERE, 0.8)), true(HERE, THERE))]})
    mask = result.classes["mask"]
    assert (mask.boxes, mask.ap50, mask.ap50_95, mask.precision, mask.recall) == (2, 1.0, 1.0, 1.0, 1.0)
    assert (result.map50, result.map50_95) == (1.0, 1.0)


def test_a_loose_box_counts_only_up_to_its_overlap() -> None:
    # 100 x 72 of 100 x 100: IoU 0.72 passes 0.50, 0.55, 0.60, 0.65, 0.70 of the ten thresholds
    result = score({"mask": [(boxes(((0, 0, 100, 72), 0.9)), true(HERE))]})
    assert (result.classes["mask"].ap50, result.classes["mask"].ap50_95) == (1.0, pytest.approx(0.5))


def test_an_overlap_of_exactly_the_threshold_counts() -> None:
    hit = match(boxes(((0, 0, 100, 50), 0.9)), np.array([HERE], np.float32))
    assert hit[:, 0].tolist() == [True] + [False] * 9
    hit = match(boxes(((0, 0, 100, 95), 0.9)), np.array([HERE], np.float32))
    assert hit[:, 0].all()
    assert len(THRESHOLDS) == 10


def test_the_second_box_on_one_head_is_a_false_alarm() -> None:
    result = score({"mask": [(boxes((HERE, 0.9), ((2, 0, 102, 100), 0.8)), true(HERE))]}, at_confidence=0.5)
    assert (result.classes["mask"].precision, result.classes["mask"].recall) == (0.5, 1.0)
    assert result.classes["mask"].ap50 == 1.0  # the surer one came first


def test_the_surer_detection_chooses_first_and_takes_what_it_overlaps_most() -> None:
    truth = np.array([(0, 0, 100, 100), (40, 0, 140, 100)], np.float32)
    found = boxes(((30, 0, 130, 100), 0.9), ((10, 0, 110, 100), 0.8))
    assert match(found, truth)[0].tolist() == [True, True]
    # alone, the second would take the first true box too; after the first took the second, it still can
    found = boxes(((10, 0, 110, 100), 0.9), ((0, 0, 100, 100), 0.8))
    assert match(found, truth)[0].tolist() == [True, False]  # IoU with the box left over: 60/140


def test_detections_of_all_pictures_are_ranked_together() -> None:
    pairs = [(boxes((HERE, 0.6)), true(HERE)), (boxes((HERE, 0.9)), true(THERE))]
    # ranked: 0.9 wrong, 0.6 right of two true boxes: precision 1/2 up to recall 0.5
    assert score({"mask": pairs}).classes["mask"].ap50 == pytest.approx(0.5 * 51 / 101)


def test_the_order_in_which_a_detector_lists_its_boxes_does_not_matter() -> None:
    truth = true(HERE, THERE)
    one = score({"mask": [(boxes((HERE, 0.9), ((500, 0, 510, 9), 0.7), (THERE, 0.5)), truth)]})
    other = score({"mask": [(boxes((THERE, 0.5), ((500, 0, 510, 9), 0.7), (HERE, 0.9)), truth)]})
    assert one == other
    assert one.classes["mask"].ap50 == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_precision_and_recall_are_given_where_mean_f1_is_highest() -> None:
    found = boxes((HERE, 0.9), (THERE, 0.6), ((500, 0, 510, 9), 0.5), ((600, 0, 610, 9), 0.4))
    result = score({"mask": [(found, true(HERE, THERE))]})
    # F1 at 0.9: 2/3; at 0.6: 1; at 0.5: 4/5; at 0.4: 2/3
    assert result.confidence == pytest.approx(0.6)
    assert (result.classes["mask"].precision, result.classes["mask"].recall) == (1.0, 1.0)


def test_one_confidence_serves_all_classes() -> None:
    mask = [(boxes((HERE, 0.9), (THERE, 0.3)), true(HERE, THERE))]
    no_mask = [(boxes((HERE, 0.8), ((500, 0, 510, 9), 0.5)), true(HERE))]
    result = score({"mask": mask, "no_mask": no_mask})
    # mean F1: 0.9: (2/3 + 0)/2; 0.8: (2/3 + 1)/2 = 0.833; 0.5: (2/3 + 2/3)/2; 0.3: (1 + 2/3)/2 = 0.833 (the first wins)
    assert result.confidence == pytest.approx(0.3)
    assert result.classes["mask"].recall == 1.0
    assert result.classes["no_mask"].precision == 0.5


def test_a_class_without_true_boxes_has_no_figures_and_does_not_enter_the_mean() -> None:
    result = score({"mask": [(boxes((HERE, 0.9)), true(HERE))], "no_mask": [(boxes((HERE, 0.9)), true())]})
    assert result.classes["no_mask"].ap50 is None
    assert result.map50 == 1.0


def test_a_class_never_found_scores_zero_and_does_enter_the_mean() -> None:
    result = score({"mask": [(boxes((HERE, 0.9)), true(HERE))], "no_mask": [(boxes(), true(HERE))]})
    assert (result.classes["no_mask"].ap50, result.classes["no_mask"].recall) == (0.0, 0.0)
    assert result.map50 == 0.5


def test_nothing_found_at_all_is_zero_and_no_confidence() -> None:
    result = score({"mask": [(boxes(), true(HERE))]})
    assert (result.map50, result.confidence, result.classes["mask"].precision) == (0.0, None, 0.0)


class ByBrightness:
    """Finds the whole picture, of class 0 where it is dark and 1 where it is bright."""

    sha256 = "0" * 64

    def __init__(self, names: dict[int, str]) -> None:
        self.names = names

    def detect(self, image: Image) -> Detections:
        return Detections.of([[0, 0, image.shape[1], image.shape[0]]], [0.9], [int(image.mean() > 128)])


def write_data(folder: Path, names: object) -> Path:
    import cv2
    import yaml

    for index, (level, class_id) in enumerate([(0, 0), (255, 1), (255, 0)]):
        for kind in ("images", "labels"):
            (folder / kind).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "images" / f"{index}.png"), np.full((20, 30, 3), level, np.uint8))
        (folder / "labels" / f"{index}.txt").write_text(f"{class_id} 0.5 0.5 1 1\n")
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump({"test": "images", "names": names}))
    return path


def test_classes_are_matched_by_name_and_what_only_one_side_knows_is_reported(tmp_path: Path) -> None:
    data = Dataset.load(write_data(tmp_path, ["dark", "bright"]), "test")
    same = evaluate(ByBrightness({0: "dark", 1: "bright"}), data)
    assert same.classes["dark"].recall == 0.5
    assert same.classes["bright"].precision == 0.5
    assert (same.pictures, same.only_in_model, same.only_in_data) == (3, (), ())
    swapped = evaluate(ByBrightness({0: "bright", 1: "dark"}), data)
    assert swapped.classes["dark"].ap50 != same.classes["dark"].ap50
    partly = evaluate(ByBrightness({0: "dark", 1: "grey"}), data)
    assert list(partly.classes) == ["dark"]
    assert (partly.only_in_model, partly.only_in_data) == (("grey",), ("bright",))


def test_no_class_in_common_is_an_error_that_lists_both_sides(tmp_path: Path) -> None:
    data = Dataset.load(write_data(tmp_path, ["dark", "bright"]), "test")
    with pytest.raises(DatasetError, match="knows rat, the data dark, bright: no class in common"):
        evaluate(ByBrightness({0: "rat"}), data)
