"""Proof photos from phones: judged by their content, never by their name; shown without their metadata."""

from __future__ import annotations

import io
import math
import struct
import threading
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from server.life_cycle.likeness import likeness_of

if TYPE_CHECKING:
    from PIL.Image import Exif

PHOTO_BYTES_MAX = 10 * 1024 * 1024
PIXELS_MAX = 50_000_000
SHOWN_SIDE_PX = 1600
FORMATS = ("JPEG", "PNG", "WEBP")
DECODE_WAIT_S = 10.0
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
TAKEN, TAKEN_OFFSET = 0x9003, 0x9011  # DateTimeOriginal, OffsetTimeOriginal (Exif 2.31)
_decoding = threading.BoundedSemaphore(2)  # a picture of 50 megapixels takes some 300 MB while it is decoded
Refusal = Literal[
    "photo_missing", "photo_too_large", "photo_not_a_picture", "photo_too_many_pixels", "photo_blank", "busy"
]


class PhotoRefused(Exception):
    """``code`` is the key of the sentence in the catalogue."""

    def __init__(self, code: Refusal) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Photo:
    """The bytes as uploaded, the JPEG that is shown (upright, without EXIF, at most 1600 px), and what the phone said.

    ``taken_at`` is without a zone where the phone gave none; ``place`` is latitude and longitude in degrees.
    ``likeness``: see `server.life_cycle.likeness`.
    """

    original: bytes
    shown: bytes
    likeness: int
    taken_at: datetime | None = None
    place: tuple[float, float] | None = None


def read_photo(data: bytes) -> Photo:
    """Check and convert an upload; raises PhotoRefused."""
    if not data:
        raise PhotoRefused("photo_missing")
    if len(data) > PHOTO_BYTES_MAX:
        raise PhotoRefused("photo_too_large")
    if not _decoding.acquire(timeout=DECODE_WAIT_S):
        raise PhotoRefused("busy")
    try:
        return _read(data)
    finally:
        _decoding.release()


def _read(data: bytes) -> Photo:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > PIXELS_MAX:
                raise PhotoRefused("photo_too_many_pixels")
            exif = opened.getexif()
            taken_at, place = _taken_at(exif), _place(exif)
            opened.draft("RGB", (SHOWN_SIDE_PX, SHOWN_SIDE_PX))  # a JPEG is decoded no larger than is needed
            upright = ImageOps.exif_transpose(opened).convert("RGB")
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise PhotoRefused("photo_too_many_pixels") from error
    except (UnidentifiedImageError, OSError, ValueError, TypeError, SyntaxError, LookupError, EOFError) as error:
        raise PhotoRefused("photo_not_a_picture") from error
    except (struct.error, zlib.error, OverflowError) as error:  # what Pillow lets through from damaged files
        raise PhotoRefused("photo_not_a_picture") from error
    upright.thumbnail((SHOWN_SIDE_PX, SHOWN_SIDE_PX))
    likeness = likeness_of(upright)
    if likeness is None:
        raise PhotoRefused("photo_blank")
    clean = Image.new("RGB", upright.size)
    clean.paste(upright)
    shown = io.BytesIO()
    clean.save(shown, "JPEG", quality=86)
    return Photo(data, shown.getvalue(), likeness, taken_at, place)


def _taken_at(exif: Exif) -> datetime | None:
    """When the phone says that it was taken, with its offset if it gave one; None for what is no time."""
    fields = exif.get_ifd(EXIF_IFD)
    try:
        taken = datetime.strptime(str(fields.get(TAKEN, "")).strip("\0 "), "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007 - below
    except ValueError:
        return None
    if not 1990 <= taken.year < 2200:
        return None
    offset = str(fields.get(TAKEN_OFFSET, "")).strip("\0 ")
    try:
        zone = datetime.strptime(offset, "%z").tzinfo if offset else None
    except ValueError:
        zone = None
    return taken.replace(tzinfo=zone)


def _place(exif: Exif) -> tuple[float, float] | None:
    """Latitude and longitude in degrees (Exif 2.31, GPS tags 1-4); None for what is no place."""
    fields = exif.get_ifd(GPS_IFD)
    found = []
    for reference, value, negative, degrees_max in ((1, 2, "S", 90), (3, 4, "W", 180)):
        try:
            degrees, minutes, seconds = (float(part) for part in fields[value])
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return None
        angle = degrees + minutes / 60 + seconds / 3600
        if not math.isfinite(angle) or not 0 <= angle <= degrees_max:
            return None
        found.append(-angle if str(fields.get(reference, "")).startswith(negative) else angle)
    return found[0], found[1]
