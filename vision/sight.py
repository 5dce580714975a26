"""Whether the camera sees: black, dark, flooded with light, covered, defocused, moved and frozen are told apart.

A doubtful picture is not judged from its first moment (`Sight.clear` is false); after ``HOLD_S`` of it the camera is
blind, with the reason, and it sees again after ``CLEAR_S`` of good pictures. What the camera should see is learnt from
its first seconds and followed slowly, so that the light of the day and pots on a shelf do not matter. A moved
camera stays blind until it looks where it did, over a restart too (`vision.sight_memory`), or its configuration says
that it has a new view: its zones were drawn for the old one.
Measured on grey pictures of 160 pixels' width; thresholds were set on rendered kitchens (tests/vision/test_sight.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vision.detections import Floats
from vision.frame import Image
from vision.keyframes import Keyframe
from vision.stillness import Stillness

HOLD_S = 2.0
CLEAR_S = 1.0
LEARN_S = 2.0
FOLLOW_S = 600.0  # time constant with which the reference follows the picture
FROZEN_S = 2.0  # before it counts as a doubt: some cameras send a picture twice
FROZEN_TOLD_S = 3.0  # it was seen to stand still for so long: it need not be doubtful for HOLD_S on top
SIZE = (160, 96)  # width, height of the pictures that are measured
BLOCK_PX = 16
BLACK_LEVEL_MAX = 12.0  # of 255
FLOODED_LEVEL, FLOODED_SHARE_MIN = 250, 0.5
FLAT_STD_MAX = 3.0  # grey levels within a block: nothing to be seen in it
FLAT_SHARE_MAX = 0.85  # of all blocks, when there is no reference yet
LOST_SHARE_MAX = 0.6  # of the blocks that had something in them
SHARPNESS_SHARE_MIN = 0.55  # of the reference's, at the median block
DARK_LIGHT_MAX = 0.35  # of the reference's: then contrast is measured beside the light and the noise that are left
DARK_MATCHED_SHARE_MIN = 0.2  # of the edges, where noise and people hide the others: it is not covered
NOISE_TIMES = 3.0  # what has less contrast than that cannot be told from noise
LAPLACIAN_GAIN = 20**0.5  # of white noise: the root of the sum of the kernel's squares
SAME_VIEW_MIN = 0.6  # correlation of the coarse pictures: the same view, only without its details
MATCH_MIN, MATCHED_SHARE_MIN = 0.5, 0.3
STAYS_SHARE_MIN = 0.8
SHIFT_PX_MIN, SHIFT_GAIN_MIN = 3.0, 0.1
EMPTY_LOOK = {"coarse": (6, 10), "edges": (96, 160), "contrast": (6, 10), "sharpness": (6, 10)}  # shapes of a Look
_WINDOW = cv2.createHanningWindow(SIZE, cv2.CV_32F)


@dataclass(frozen=True)
class Sight:
    """``clear``: may be judged. ``blind``: is to be told, with the reason."""

    clear: bool
    blind: bool
    reason: str = ""


@dataclass(frozen=True)
class Look:
    """What is measured in one picture."""

    level: float
    flooded_share: float
    coarse: Floats  # (6, 10), the view without its details
    edges: Floats  # (96, 160)
    contrast: Floats  # (6, 10), standard deviation within each block
    sharpness: Floats  # (6, 10), what is left of each block's contrast in its finest details

    @classmethod
    def at(cls, image: Image) -> Look:
        grey = shrink(image)
        values = grey.astype(np.float32)
        coarse, contrast = _mean_and_std(values)
        fine = _mean_and_std(cv2.Laplacian(values, cv2.CV_32F))[1]
        across, along = cv2.Sobel(values, cv2.CV_32F, 1, 0), cv2.Sobel(values, cv2.CV_32F, 0, 1)
        return cls(
            float(cv2.mean(grey)[0]),
            cv2.countNonZero(cv2.threshold(grey, FLOODED_LEVEL - 1, 1, cv2.THRESH_BINARY)[1]) / grey.size,
            coarse,
            np.asarray(cv2.magnitude(across, along), np.float32),
            contrast,
            np.asarray(fine / (contrast + 1), np.float32),
        )

    @property
    def noise(self) -> float:
        """The sensor's, as a standard deviation in these pixels: what there is in the blocks with the least details."""
        fine = np.sort(self._fine, axis=None)
        return float(fine[len(fine) // 10]) / LAPLACIAN_GAIN

    @property
    def details(self) -> Floats:
        """(6, 10): as ``sharpness``, without what noise adds to it and without a constant that matters in the dark."""
        noise = self.noise
        signal = np.sqrt(np.maximum(self._fine**2 - (LAPLACIAN_GAIN * noise) ** 2, 0))
        contrast = np.sqrt(np.maximum(self.contrast**2 - noise**2, 0))
        return np.asarray(signal / np.maximum(contrast, 1e-3), np.float32)

    @property
    def _fine(self) -> Floats:
        return np.asarray(self.sharpness * (self.contrast + 1), np.float32)


def _light(look: Look, reference: Look) -> float:
    """How bright it is, as a share of what it was: at the median block, whatever stands before the others."""
    return float(np.median(look.coarse / np.maximum(reference.coarse, 1)))


def shrink(image: Image) -> Image:
    """The green of *image*, most of its brightness, in SIZE; of a large one every second (third, ...) pixel counts."""
    step = max(1, min(image.shape[1] // 320, image.shape[0] // 176))
    part = np.ascontiguousarray(image[::step, ::step, 1])
    return np.asarray(cv2.resize(part, SIZE, interpolation=cv2.INTER_AREA), np.uint8)


def _block_means(values: Floats) -> Floats:
    """(6, 10): the mean of each block of a picture of SIZE; OpenCV's area average of whole blocks is exactly that."""
    size = (SIZE[0] // BLOCK_PX, SIZE[1] // BLOCK_PX)
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)


def _mean_and_std(values: Any) -> tuple[Floats, Floats]:
    """Of each block."""
    mean = _block_means(values)
    variance = _block_means(values * values) - mean * mean
    return mean, np.sqrt(np.maximum(variance, 0))  # rounding can leave a flat block just below zero


def _correlation(first: Floats, second: Floats) -> float:
    """Pearson's of two small pictures; 0 where one of the two is flat."""
    one, two = first - first.mean(), second - second.mean()
    return float((one * two).sum() / max(float(np.sqrt((one * one).sum() * (two * two).sum())), 1e-3))


def _matched_share(edges: Floats, reference: Floats, rich: npt.NDArray[np.bool_]) -> float:
    """The share of the *rich* blocks of the reference whose edges are where they were: Pearson's in each block."""
    (mean, std), (mean_before, std_before) = _mean_and_std(edges), _mean_and_std(reference)
    together = _block_means(edges * reference) - mean * mean_before
    match = together[rich] / np.maximum(std * std_before, 1e-3 / BLOCK_PX**2)[rich]
    return float((match > MATCH_MIN).mean()) if len(match) else 1.0


def _is_moved(edges: Floats, reference: Floats, rich: npt.NDArray[np.bool_]) -> bool:
    """Whether the camera looks elsewhere: hardly an edge is in its place, or clearly more are when all is shifted.

    People move as well, but do not take the kitchen with them: the shift that phase correlation proposes must explain
    more blocks than staying does.
    """
    here = _matched_share(edges, reference, rich)
    if here < MATCHED_SHARE_MIN:
        return True
    if here > STAYS_SHARE_MIN:
        return False
    return _shift_explains(edges, reference, rich, here)


def _shift_explains(edges: Floats, reference: Floats, rich: npt.NDArray[np.bool_], here: float) -> bool:
    """Whether clearly more than *here*, the share that is in its place, is so when all is shifted."""
    (across, along), _ = cv2.phaseCorrelate(reference.copy(), edges.copy(), _WINDOW)  # it writes into its arguments
    if np.hypot(across, along) < SHIFT_PX_MIN:
        return False
    back = np.asarray(np.roll(edges, (-round(along), -round(across)), (0, 1)), np.float32)
    return _matched_share(back, reference, rich) > here + SHIFT_GAIN_MIN


def _has_turned(look: Look, before: Look) -> bool:
    """Whether it looks elsewhere than it did *before* a restart, between which the light may have changed altogether.

    Edges that are gone prove nothing then (night and lamps draw others), unless the view without details differs too.
    """
    rich = before.contrast >= FLAT_STD_MAX
    here = _matched_share(look.edges, before.edges, rich)
    if here > STAYS_SHARE_MIN:
        return False
    elsewhere = here < MATCHED_SHARE_MIN and _correlation(look.coarse, before.coarse) < SAME_VIEW_MIN
    return elsewhere or _shift_explains(look.edges, before.edges, rich, here)


@dataclass
class SightCheck:
    """One per camera; call `look` with every picture. ``before`` is what it saw before a restart."""

    before: Look | None = None
    _reference: Look | None = None
    _learning: list[Look] = field(default_factory=list)
    _since_s: dict[str, float] = field(default_factory=dict)
    _reason: str = ""
    _blind: bool = False
    _doubt_s: float = 0.0  # how long the pictures have been doubtful, and ...
    _clear_s: float = 0.0  # ... how long they have been good without a break
    _last_s: float | None = None
    _stillness: Stillness = field(default_factory=Stillness)
    _followed_s: float | None = None

    def look(self, image: Image, now_s: float, keyframe: Keyframe | None = None) -> Sight:
        """Judge one picture taken at monotonic *now_s*; *keyframe* is the latest of its stream, see `Frame`."""
        look = Look.at(image)
        self._stillness.look(keyframe, now_s)
        reason = self._doubt(look) or self._frozen(now_s)
        if not reason:
            self._learn(look, now_s)
        return self._decide(reason, now_s)

    @property
    def reference(self) -> Look | None:
        """What it should see; None while that is being learnt."""
        return self._reference

    def alive_s(self, now_s: float) -> float:
        """Up to when the pictures surely were of their time, as far as it can be known at *now_s*."""
        return self._stillness.alive_s(now_s)

    def lost(self) -> None:
        """No pictures at all: what comes after that is judged by its own pictures."""
        self._blind, self._doubt_s, self._clear_s, self._last_s = False, 0.0, 0.0, None
        self._stillness = Stillness()

    def _doubt(self, look: Look) -> str:
        if look.level < BLACK_LEVEL_MAX:
            return "black"
        if look.flooded_share > FLOODED_SHARE_MIN:
            return "flooded with light"
        if self._reference is not None:
            return self._differs(look, self._reference)
        if (look.contrast < FLAT_STD_MAX).mean() > FLAT_SHARE_MAX:
            return "covered"
        return "moved" if self.before is not None and _has_turned(look, self.before) else ""

    @staticmethod
    def _differs(look: Look, reference: Look) -> str:
        flat = look.contrast < FLAT_STD_MAX
        rich = reference.contrast >= FLAT_STD_MAX
        light = _light(look, reference)
        least = 0.3 * reference.contrast
        is_dark = light < DARK_LIGHT_MAX
        if is_dark:
            least = np.maximum(light * least, NOISE_TIMES * look.noise)
        lost = (look.contrast < least) & rich
        if flat.mean() > FLAT_SHARE_MAX or lost.sum() > LOST_SHARE_MAX * rich.sum():
            if is_dark and _matched_share(look.edges, reference.edges, rich) >= DARK_MATCHED_SHARE_MIN:
                return "dark"
            same_view = _correlation(look.coarse, reference.coarse) >= SAME_VIEW_MIN
            return ("dark" if is_dark else "defocused") if same_view else "covered"
        now, before = (look.details, reference.details) if is_dark else (look.sharpness, reference.sharpness)
        sharpness = now[rich & ~lost] / np.maximum(before[rich & ~lost], 1e-3)
        if len(sharpness) and float(np.median(sharpness)) < SHARPNESS_SHARE_MIN:
            return "defocused"
        return "moved" if _is_moved(look.edges, reference.edges, rich) else ""

    def _frozen(self, now_s: float) -> str:
        still_s = self._stillness.still_s(now_s)
        if still_s >= FROZEN_TOLD_S:
            self._doubt_s = HOLD_S
        return "frozen" if still_s >= FROZEN_S else ""

    def _learn(self, look: Look, now_s: float) -> None:
        """The first LEARN_S of good pictures make the reference; then it follows them slowly."""
        if self._reference is None:
            self._followed_s = now_s if self._followed_s is None else self._followed_s
            self._learning.append(look)
            if now_s - self._followed_s >= LEARN_S:
                self._reference = _mean(self._learning)
                self._learning.clear()
                self._followed_s = now_s
            return
        assert self._followed_s is not None
        share = min(1.0, max(0.0, now_s - self._followed_s) / FOLLOW_S)
        if share >= 0.001:
            self._reference = _blend(self._reference, look, share)
            self._followed_s = now_s

    def _decide(self, reason: str, now_s: float) -> Sight:
        """Doubtful time adds up, good time takes it away at half the pace: a flickering doubt ends in blindness too."""
        step_s = 0.0 if self._last_s is None else min(max(0.0, now_s - self._last_s), HOLD_S)
        self._last_s = now_s
        if reason:
            self._clear_s = 0.0
            self._doubt_s += step_s
            if not self._blind and self._doubt_s >= HOLD_S:
                self._blind, self._reason = True, reason
            return Sight(False, self._blind, self._reason if self._blind else reason)
        self._clear_s += step_s
        self._doubt_s = max(0.0, self._doubt_s - step_s / 2)
        if self._blind and self._clear_s < CLEAR_S:
            return Sight(False, True, self._reason)
        if self._blind:
            self._blind, self._doubt_s = False, 0.0
        return Sight(True, False)


def _mean(looks: list[Look]) -> Look:
    return _mixed([(look, 1 / len(looks)) for look in looks])


def _blend(old: Look, new: Look, share: float) -> Look:
    return _mixed([(old, 1 - share), (new, share)])


def _mixed(parts: list[tuple[Look, float]]) -> Look:
    values = {item.name: sum(getattr(look, item.name) * share for look, share in parts) for item in fields(Look)}
    return Look(**values)  # floats stay floats, arrays arrays
