"""Zones: which boxes belong to them, whatever the size of the picture; masks: what nobody looks at."""

from __future__ import annotations

import numpy as np
import pytest

from vision.zones import Anchor, Masks, Zone

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
LOWER_HALF = ((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0))
L_SHAPE = ((0.0, 0.0), (0.4, 0.0), (0.4, 0.6), (1.0, 0.6), (1.0, 1.0), (0.0, 1.0))


def box(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize("size", [(640, 360), (1920, 1080), (100, 400)])
def test_a_zone_keeps_its_place_at_any_picture_size(size: tuple[int, int]) -> None:
    width, height = size
    zone = Zone("z", polygon=LEFT_HALF)
    assert zone.holds(box(0.1 * width, 0, 0.3 * width, height), width, height)
    assert not zone.holds(box(0.6 * width, 0, 0.8 * width, height), width, height)


@pytest.mark.parametrize(("anchor", "inside"), [("centre", False), ("bottom", True), ("top", False), ("any", True)])
def test_the_anchor_decides_for_a_person_half_inside(anchor: Anchor, inside: bool) -> None:
    assert Zone("z", polygon=LOWER_HALF, anchor=anchor).holds(box(10, 5, 30, 60), 100, 100) is inside


def test_a_person_cut_off_by_the_lower_edge_still_stands_in_a_zone_that_reaches_it() -> None:
    assert Zone("z", polygon=LOWER_HALF, anchor="bottom").holds(box(10, 5, 30, 100), 100, 100)
    assert Zone("z", polygon=LOWER_HALF).holds(box(100, 80, 100, 90), 100, 100)


def test_a_zone_may_have_a_corner_that_points_inwards() -> None:
    zone = Zone("z", polygon=L_SHAPE)
    assert zone.holds(box(60, 70, 80, 90), 100, 100)
    assert not zone.holds(box(60, 10, 80, 30), 100, 100)


def test_no_polygon_is_the_whole_picture() -> None:
    assert Zone("z").holds(box(0, 0, 1, 1), 100, 100)
    assert Zone("z").bounds_px(64, 36) == (0, 0, 64, 36)


def test_the_bounds_enclose_the_polygon() -> None:
    assert Zone("z", polygon=((0.1, 0.2), (0.5, 0.25), (0.3, 0.9))).bounds_px(100, 200) == (10, 40, 50, 180)


@pytest.mark.parametrize(
    "polygon",
    [
        ((0, 0), (1, 1)),
        ((0, 0), (0.5, 0.5), (1, 1)),  # a line
        ((0, 0), (2, 0), (1, 1)),
        ((0, 0), (float("nan"), 0), (1, 1)),
        tuple((i / 100, (i * i % 7) / 7) for i in range(65)),
    ],
)
def test_a_polygon_that_encloses_nothing_is_refused(polygon: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match=r"polygon|points"):
        Zone("z", polygon=polygon)
    with pytest.raises(ValueError, match=r"polygon|points"):
        Masks([polygon])


def test_an_unknown_anchor_is_refused() -> None:
    with pytest.raises(ValueError, match="one of centre, bottom, top, any"):
        Zone("z", anchor="middle")  # type: ignore[arg-type]


def test_a_mask_hides_its_part_and_leaves_the_camera_s_picture_as_it_was() -> None:
    image = np.full((40, 60, 3), 7, np.uint8)
    covered = Masks([LEFT_HALF]).cover(image)
    assert (covered[:, :30] == 114).all()
    assert (covered[:, 32:] == 7).all()
    assert (image == 7).all()


def test_without_masks_nothing_is_copied() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    assert Masks([]).cover(image) is image
