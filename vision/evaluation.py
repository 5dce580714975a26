"""How good a detector is on labelled pictures: average precision as COCO defines it, by our own exact arithmetic.

Per class and IoU threshold, detections of a picture take, surest first, the free true box that they overlap most, if
that is at least the threshold. Precision is made monotone and read at 101 recalls 0, 0.01 ... 1; AP is their mean
(Lin et al. 2014; pycocotools ``COCOeval``, with all areas and at most 300 boxes a picture). ``ap50_95`` is the mean
over the thresholds 0.50, 0.55 ... 0.95. Precision and recall are at IoU 0.5 and at one confidence for all classes: the
one with the highest mean F1, as ultralytics' ``val`` reports them (which smooths that curve; this does not).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vision.dataset import Dataset, DatasetError
from vision.detections import Detections, Floats, iou_matrix
from vision.detector import Detector
from vision.heads import DETECTIONS_MAX

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
THRESHOLDS = np.round(np.arange(0.5, 0.96, 0.05), 2)
RECALLS = np.round(np.linspace(0, 1, 101), 2)
ROUNDING = 1e-9
FLOOR_CONFIDENCE = 0.001  # detections below it are too many and change nothing; ultralytics' ``val`` uses the same


@dataclass(frozen=True)
class ClassScore:
    """``boxes`` true boxes; the figures are 0–1, or None where there is no true box to find."""

    boxes: int
    ap50: float | None
    ap50_95: float | None
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class Evaluation:
    """The scores by class name, and what could not be compared: classes that only one side knows."""

    pictures: int
    classes: dict[str, ClassScore]
    map50: float | None
    map50_95: float | None
    confidence: float | None  # at which precision and recall are given
    only_in_model: tuple[str, ...] = ()
    only_in_data: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Curve:
    """All detections of one class, surest first: ``confidence`` (N,), ``hit`` (10, N) per IoU threshold."""

    confidence: Doubles
    hit: Flags
    boxes: int

    def counted(self, confidence: float) -> tuple[float, float]:
        """Precision and recall at IoU 0.5 of the detections of at least *confidence*."""
        kept = int(np.searchsorted(-self.confidence, -confidence, side="right"))
        hits = int(self.hit[0, :kept].sum())
        return hits / kept if kept else 0.0, hits / self.boxes


def evaluate(detector: Detector, data: Dataset, *, at_confidence: float | None = None) -> Evaluation:
    """Run *detector* over *data*; precision and recall at *at_confidence* or, by default, where mean F1 is highest.

    Classes are matched by name. Raises DatasetError when no class is common to both.
    """
    shared = [name for name in detector.names.values() if name in set(data.names.values())]
    if not shared:
        theirs = ", ".join(data.names.values())
        raise DatasetError(
            f"the model knows {', '.join(detector.names.values())}, the data {theirs}: no class in common"
        )
    pairs: dict[str, list[tuple[Detections, Detections]]] = {name: [] for name in shared}
    for image, truth in data.samples():
        found = detector.detect(image)
        for name in shared:
            pairs[name].append((_only(found, detector.names, name), _only(truth, data.names, name)))
    scored = score(pairs, at_confidence=at_confidence)
    return Evaluation(
        pictures=len(data.pictures),
        classes=scored.classes,
        map50=scored.map50,
        map50_95=scored.map50_95,
        confidence=scored.confidence,
        only_in_model=tuple(sorted(set(detector.names.values()) - set(shared))),
        only_in_data=tuple(sorted(set(data.names.values()) - set(shared))),
    )


def score(pairs: dict[str, list[tuple[Detections, Detections]]], *, at_confidence: float | None = None) -> Evaluation:
    """The scores of (found, true) boxes per picture, listed by class name."""
    curves = {name: _curve(rows) for name, rows in pairs.items()}
    present = [curve for curve in curves.values() if curve.boxes]
    confidence = best_confidence(present) if at_confidence is None else at_confidence
    classes = {name: _score_class(curve, confidence) for name, curve in curves.items()}
    return Evaluation(
        pictures=max((len(rows) for rows in pairs.values()), default=0),
        classes=classes,
        map50=_mean([item.ap50 for item in classes.values()]),
        map50_95=_mean([item.ap50_95 for item in classes.values()]),
        confidence=confidence,
    )


def average_precision(hit: Flags, boxes: int) -> float:
    """AP of detections sorted by confidence: *hit* (N,) says which found a true box, of which there are *boxes*."""
    if not len(hit):
        return 0.0
    hits = np.cumsum(hit)
    recall = hits / boxes
    precision = hits / np.arange(1, len(hit) + 1)
    monotone = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(recall, RECALLS - ROUNDING, side="left")
    reached = place < len(hit)
    return float(np.where(reached, monotone[np.minimum(place, len(hit) - 1)], 0.0).mean())


def match(found: Detections, truth: Floats) -> Flags:
    """(10, N): whether each detection, in the order given, finds a free true box at each of THRESHOLDS."""
    hit = np.zeros((len(THRESHOLDS), len(found)), np.bool_)
    overlap = iou_matrix(found.xyxy, truth).astype(np.float64)
    for row, threshold in enumerate(THRESHOLDS):
        free = np.ones(len(truth), np.bool_)
        for column in range(len(found) if len(truth) else 0):
            candidates = np.where(free, overlap[column], -1.0)
            best = int(np.argmax(candidates))
            if candidates[best] >= threshold - 1e-6:  # IoU is computed in single precision
                hit[row, column] = True
                free[best] = False
    return hit


def best_confidence(curves: Iterable[_Curve]) -> float | None:
    """The confidence at which the mean over the classes of F1 at IoU 0.5 is highest; None without a detection."""
    curves = list(curves)
    candidates = np.unique(np.concatenate([curve.confidence for curve in curves] or [np.zeros(0)]))
    if not len(candidates):
        return None
    total = np.zeros(len(candidates))
    for curve in curves:
        kept = np.searchsorted(-curve.confidence, -candidates, side="right")
        hits = np.concatenate([[0], np.cumsum(curve.hit[0])])[kept]
        total += 2 * hits / (kept + curve.boxes)  # F1 = 2 TP / (detections + true boxes)
    return float(candidates[int(np.argmax(total))])


def _curve(rows: list[tuple[Detections, Detections]]) -> _Curve:
    confidences, hits = [np.zeros(0)], [np.zeros((len(THRESHOLDS), 0), np.bool_)]
    for found, truth in rows:
        order = np.argsort(-found.confidence, kind="stable")[:DETECTIONS_MAX]
        ordered = Detections.of(found.xyxy[order], found.confidence[order], found.class_id[order])
        confidences.append(ordered.confidence.astype(np.float64))
        hits.append(match(ordered, truth.xyxy))
    confidence = np.concatenate(confidences)
    order = np.argsort(-confidence, kind="stable")
    boxes = sum(len(truth) for _, truth in rows)
    return _Curve(confidence[order], np.concatenate(hits, axis=1)[:, order], boxes)


def _score_class(curve: _Curve, confidence: float | None) -> ClassScore:
    if not curve.boxes:
        return ClassScore(0, None, None, None, None)
    per_threshold = [average_precision(hit, curve.boxes) for hit in curve.hit]
    precision, recall = (0.0, 0.0) if confidence is None else curve.counted(confidence)
    return ClassScore(curve.boxes, per_threshold[0], float(np.mean(per_threshold)), precision, recall)


def _only(boxes: Detections, names: dict[int, str], name: str) -> Detections:
    number = next(index for index, known in names.items() if known == name)
    kept = boxes.class_id == number
    return Detections.of(boxes.xyxy[kept], boxes.confidence[kept], boxes.class_id[kept])


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
