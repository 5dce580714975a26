"""The pictures of the simulated camera: a real photographed person in a drawn kitchen, with or without a mask.

The portrait is NASA's of Eileen Collins (public domain), as scikit-image ships it, cut out of its background.
A detector therefore has real pixels of a face to judge; only the kitchen and the mask are drawn.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Look = Literal["no_mask", "mask", "empty"]
PORTRAIT = Path(__file__).with_name("data") / "astronaut.png"
SWAY_PERIOD_S = 24.0

# In pixels of the portrait: the outline of a surgical mask on this face, its folds and its ear loops.
MASK_OUTLINE = (
    (163, 116),
    (141, 121),
    (121, 128),
    (124, 158),
    (142, 182),
    (165, 190),
    (187, 181),
    (204, 157),
    (208, 126),
    (185, 120),
)
MASK_FOLDS = (
    ((126, 140), (165, 146), (205, 138)),
    ((129, 153), (165, 160), (202, 151)),
    ((136, 167), (165, 174), (196, 165)),
)
EAR_LOOPS = (((122, 130), (112, 118)), ((125, 157), (112, 132)), ((207, 128), (216, 116)), ((203, 156), (216, 130)))


class Kitchen:
    """Draws BGR frames of *width* × *height* pixels; raises ValueError when the person does not fit."""

    def __init__(self, width: int = 640, height: int = 360) -> None:
        self._background = _draw_kitchen(width, height)
        portrait = cv2.imread(str(PORTRAIT), cv2.IMREAD_UNCHANGED)
        if portrait is None:
            raise FileNotFoundError(f"{PORTRAIT}: the portrait is missing; install brightline again")
        scale = 0.78 * height / portrait.shape[0]
        self._looks = {
            "no_mask": _scaled(np.asarray(portrait, np.uint8), scale),
            "mask": _scaled(_with_mask(np.asarray(portrait, np.uint8)), scale),
        }
        if self._looks["mask"].shape[1] > width:
            raise ValueError(f"a picture of {width} × {height} pixels is too narrow for the person in it")
        self._noise = np.random.default_rng(7)

    def frame(self, at_s: float, look: Look) -> Image:
        """The picture at *at_s* seconds: the person sways slowly from side to side."""
        image = self._background.copy()
        if look != "empty":
            person = self._looks[look]
            space = image.shape[1] - person.shape[1]
            left = round(space * (0.5 + 0.32 * math.sin(2 * math.pi * at_s / SWAY_PERIOD_S)))
            top = image.shape[0] - person.shape[0] + round(3 * math.sin(2 * math.pi * at_s / 3))
            _paste(image, person, left, max(top, 0))
        grain = self._noise.integers(-4, 5, image.shape, dtype=np.int16)
        return np.asarray(np.clip(image.astype(np.int16) + grain, 0, 255), np.uint8)


def _with_mask(portrait: Image) -> Image:
    image = portrait.copy()
    colour = image[..., :3].copy()
    outline = np.array(MASK_OUTLINE, np.int32)
    cover = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(cover, [outline], 255, cv2.LINE_AA)
    shade = np.linspace(1.04, 0.82, image.shape[1], dtype=np.float32)[None, :, None]
    cloth = np.clip(np.full(colour.shape, (226, 196, 150), np.float32) * shade, 0, 255)
    for fold in MASK_FOLDS:
        line = [np.array(fold, np.int32)]
        cv2.polylines(cloth, line, False, (188, 158, 116), 2, cv2.LINE_AA)
    cv2.polylines(cloth, [outline], True, (236, 222, 198), 4, cv2.LINE_AA)
    alpha = cv2.GaussianBlur(cover, (3, 3), 0)[..., None].astype(np.float32) / 255
    colour = (colour * (1 - alpha) + cloth * alpha).astype(np.uint8)
    for start, end in EAR_LOOPS:
        cv2.line(colour, start, end, (238, 238, 238), 2, cv2.LINE_AA)
    image[..., :3] = colour
    return image


def _scaled(image: Image, scale: float) -> Image:
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _paste(image: Image, person: Image, left: int, top: int) -> None:
    height = min(person.shape[0], image.shape[0] - top)
    part = image[top : top + height, left : left + person.shape[1]]
    alpha = person[:height, :, 3:].astype(np.float32) / 255
    part[:] = (part * (1 - alpha) + person[:height, :, :3] * alpha).astype(np.uint8)


def _draw_kitchen(width: int, height: int) -> Image:
    """Tiles, an extractor hood, a shelf with pots and a steel counter."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:] = np.linspace(205, 168, height)[:, None, None] * np.array([0.97, 1.0, 1.0])
    for x in range(0, width, 32):
        cv2.line(image, (x, 0), (x, int(height * 0.7)), (160, 168, 168), 1)
    for y in range(0, int(height * 0.7), 24):
        cv2.line(image, (0, y), (width, y), (160, 168, 168), 1)
    hood = np.array([[0.55, 0], [0.97, 0], [0.9, 0.17], [0.62, 0.17]]) * (width, height)
    cv2.fillPoly(image, [hood.astype(np.int32)], (150, 148, 142), cv2.LINE_AA)
    cv2.rectangle(
        image, (int(width * 0.62), int(height * 0.17)), (int(width * 0.9), int(height * 0.21)), (120, 118, 112), -1
    )
    shelf_y = int(height * 0.36)
    cv2.rectangle(image, (0, shelf_y), (int(width * 0.42), shelf_y + 7), (105, 110, 118), -1)
    for index, shade in enumerate((96, 122, 84, 134, 108)):
        x = int(width * (0.03 + 0.078 * index))
        tall = 26 + 9 * (index % 3)
        cv2.rectangle(image, (x, shelf_y - tall), (x + 30, shelf_y), (shade, shade + 4, shade + 8), -1)
        cv2.ellipse(
            image, (x + 15, shelf_y - tall), (15, 4), 0, 0, 360, (shade + 34, shade + 36, shade + 38), -1, cv2.LINE_AA
        )
    counter_y = int(height * 0.7)
    steel = np.linspace(176, 112, height - counter_y)[:, None, None] * np.array([1.0, 0.99, 0.97])
    image[counter_y:] = steel.astype(np.uint8)
    cv2.line(image, (0, counter_y), (width, counter_y), (222, 222, 220), 3)
    return np.asarray(cv2.GaussianBlur(image, (3, 3), 0), np.uint8)
