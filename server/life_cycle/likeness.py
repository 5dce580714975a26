"""Whether a picture was seen before: a perceptual hash that survives scaling, recompression and small retouching.

64 bits of the low frequencies of a cosine transform (pHash: C. Zauner, "Implementation and Benchmarking of Perceptual
Image Hash Functions", 2010, section 3.2.1). It does not survive mirroring, turning or hard cropping. Two hashes that
differ in at most 7 bits share one of their eight bytes, so that an index finds all candidates.
"""

from __future__ import annotations

from functools import cache
from math import cos, pi, sqrt
from statistics import median, pstdev
from typing import TYPE_CHECKING

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from server.models import Rectification
from server.models_life_cycle import PhotoBand, RectificationPhoto

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE_PX = 32
KEPT = 8
BANDS = 8
BLANK_LEVELS = 2.0  # a picture whose brightness varies by less shows nothing
_SIGN = 1 << 63


@cache
def _cosines() -> list[list[float]]:
    """Rows of the orthonormal DCT-II: frequency × position."""
    scale = [sqrt(1 / SIDE_PX)] + [sqrt(2 / SIDE_PX)] * (KEPT - 1)
    return [
        [scale[u] * cos(pi * (2 * x + 1) * u / (2 * SIDE_PX)) for x in range(SIDE_PX)] for u in range(KEPT)
    ]  # fmt: skip


def likeness_of(picture: Image) -> int | None:
    """The hash as a number of 64 bits; None for a picture that shows nothing (all of one brightness)."""
    from PIL import Image as Images

    small = picture.convert("L").resize((SIDE_PX, SIDE_PX), Images.Resampling.LANCZOS)
    pixels = list(small.tobytes())
    if pstdev(pixels) < BLANK_LEVELS:
        return None
    rows = [pixels[start : start + SIDE_PX] for start in range(0, SIDE_PX * SIDE_PX, SIDE_PX)]
    cosines = _cosines()
    across = [[sum(c * p for c, p in zip(line, row, strict=True)) for line in cosines] for row in rows]
    found = [sum(line[y] * across[y][u] for y in range(SIDE_PX)) for line in cosines for u in range(KEPT)]
    middle = median(found[1:])  # the first is the mean brightness, which says nothing of the shape
    return sum(1 << place for place, value in enumerate(found) if value > middle)


def distance(one: int, other: int) -> int:
    """In how many of the 64 bits two hashes differ."""
    return (one ^ other).bit_count()


def signed(likeness: int) -> int:
    """As the database keeps it: a signed number of 64 bits."""
    return likeness - (1 << 64) if likeness & _SIGN else likeness


def bands(likeness: int) -> list[int]:
    """The eight bytes of a hash."""
    return list(likeness.to_bytes(BANDS, "big"))


def remember(db: Session, photo: RectificationPhoto, likeness: int) -> None:
    """Make a stored photo findable by its likeness."""
    db.add_all(PhotoBand(photo_id=photo.id, band=band, value=value) for band, value in enumerate(bands(likeness)))


def find_alike(db: Session, likeness: int, original_sha256: str, distance_max: int) -> int | None:
    """The alert of the first photo on record that is the same or alike, or None; *distance_max* is at most 7."""
    same = or_(*((PhotoBand.band == band) & (PhotoBand.value == value) for band, value in enumerate(bands(likeness))))
    candidates = (
        select(RectificationPhoto.original_sha256, RectificationPhoto.likeness, Rectification.alert_id)
        .join(Rectification, Rectification.id == RectificationPhoto.rectification_id)
        .where(
            RectificationPhoto.id.in_(select(PhotoBand.photo_id).where(same))
            | (RectificationPhoto.original_sha256 == original_sha256)
        )
        .order_by(RectificationPhoto.id)
    )
    for digest, known, alert_id in db.execute(candidates):
        if digest == original_sha256 or (known is not None and distance(known % (1 << 64), likeness) <= distance_max):
            return int(alert_id)
    return None
