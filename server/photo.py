"""Proof photos from phones: judged by their content, never by their name; shown without their metadata."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from dataclasses import dataclass
from typing import Literal

PHOTO_BYTES_MAX = 10 * 1024 * 1024
PIXELS_MAX = 50_000_000
SHOWN_SIDE_PX = 1600
FORMATS = ("JPEG", "PNG", "WEBP")
DECODE_WAIT_S = 10.0
_decoding = threading.BoundedSemaphore(2)  # a picture of 50 megapixels takes some 300 MB while it is decoded
Refusal = Literal["photo_missing", "photo_too_large", "photo_not_a_picture", "photo_too_many_pixels", "busy"]


class PhotoRefused(Exception):
    """``code`` is the key of the sentence in the catalogue."""

    def __init__(self, code: Refusal) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Photo:
    """The bytes as uploaded and the JPEG that is shown (upright, without EXIF, at most 1600 px)."""

    original: bytes
    shown: bytes


def read_photo(data: bytes) -> Photo:
    """Check and convert an upload; raises PhotoRefused."""
    if not data:
        raise PhotoRefused("photo_missing")
    if len(data) > PHOTO_BYTES_MAX:
        raise PhotoRefused("photo_too_large")
    if not _decoding.acquire(timeout=DECODE_WAIT_S):
        raise PhotoRefused("busy")
    try:
        return Photo(data, _shown(data))
    finally:
        _decoding.release()


def _shown(data: bytes) -> bytes:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > PIXELS_MAX:
                raise PhotoRefused("photo_too_many_pixels")
            opened.draft("RGB", (SHOWN_SIDE_PX, SHOWN_SIDE_PX))  # a JPEG is decoded no larger than is needed
            upright = ImageOps.exif_transpose(opened).convert("RGB")
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise PhotoRefused("photo_too_many_pixels") from error
    except (UnidentifiedImageError, OSError, ValueError, TypeError, SyntaxError, LookupError, EOFError) as error:
        raise PhotoRefused("photo_not_a_picture") from error
    except (struct.error, zlib.error, OverflowError) as error:  # what Pillow lets through from damaged files
        raise PhotoRefused("photo_not_a_picture") from error
    upright.thumbnail((SHOWN_SIDE_PX, SHOWN_SIDE_PX))
    clean = Image.new("RGB", upright.size)
    clean.paste(upright)
    shown = io.BytesIO()
    clean.save(shown, "JPEG", quality=86)
    return shown.getvalue()
