"""The kitchen's pictures: a real portrait, with and without a mask, and nobody when it is empty."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from firmware_sim.scene import PORTRAIT, Image, Kitchen

WIDTH, HEIGHT = 640, 360


def picture(look: str, at_s: float = 3.0) -> Image:
    return Kitchen(WIDTH, HEIGHT).frame(at_s, look)  # type: ignore[arg-type]


def difference(one: Image, other: Image) -> Image:
    """Where two pictures differ by more than the grain of both."""
    return np.asarray(np.abs(one.astype(int) - other.astype(int)).max(axis=2) > 20, np.uint8)


def portrait(scale: float) -> Image:
    image = cv2.imread(str(PORTRAIT), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def find_portrait(image: Image) -> tuple[float, int]:
    """How well the portrait's upper half fits at its best place (1 is the same), and that place's x."""
    template = portrait(0.78 * HEIGHT / portrait(1.0).shape[0])
    half = template[: template.shape[0] // 2]
    mask = np.repeat((half[:, :, 3:] > 250).astype(np.uint8), 3, axis=2)
    fit = cv2.matchTemplate(image, half[:, :, :3], cv2.TM_CCORR_NORMED, mask=mask)
    _, best, _, place = cv2.minMaxLoc(np.nan_to_num(fit))
    return float(best), int(place[0])


def test_frames_have_the_size_asked_for() -> None:
    assert picture("mask").shape == (HEIGHT, WIDTH, 3)
    assert picture("mask").dtype == np.uint8


def test_frame_holds_the_portrait_and_an_empty_kitchen_does_not() -> None:
    there, _ = find_portrait(picture("no_mask"))
    nobody, _ = find_portrait(picture("empty"))
    assert there > 0.995
    assert nobody < there - 0.03


def test_mask_covers_the_lower_face_and_changes_nothing_else() -> None:
    changed = difference(picture("mask"), picture("no_mask"))
    person = difference(picture("no_mask"), picture("empty"))
    assert 0.02 < changed.sum() / person.sum() < 0.4
    rows, columns = np.nonzero(changed)
    person_rows = np.nonzero(person)[0]
    share = (np.median(rows) - person_rows.min()) / (person_rows.max() - person_rows.min())
    assert 0.15 < share < 0.6, "below the eyes, above the shoulders"
    assert changed.sum() == changed[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].sum()
    assert columns.max() - columns.min() < WIDTH / 4


def test_person_sways_from_side_to_side() -> None:
    places = [find_portrait(picture("no_mask", at_s))[1] for at_s in (6, 12, 18)]
    assert places[0] > places[1] > places[2]


def test_same_seconds_give_the_same_pictures() -> None:
    assert np.array_equal(picture("mask", 7.0), picture("mask", 7.0))


def test_picture_too_narrow_for_the_person_is_refused() -> None:
    with pytest.raises(ValueError, match="too narrow"):
        Kitchen(120, 360)
