"""The bytes of the releases that boxes fetch now: read from the blob store once, given out in pieces many times.

A thousand boxes that fetch a model by the half megabyte would else read the whole of it tens of thousands of times.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict

from server.blob_port import BlobStore
from telemetry.released_model import PIECE_BYTES_MAX
from telemetry.releases import RELEASE_BYTES_MAX

KEPT_MAX = 3
_RANGE = re.compile(r"bytes=(\d{1,12})-(\d{1,12})")


class RangeRefused(Exception):
    """The piece that is asked for is none of these bytes, or too large; the message says what may be asked."""


class ReleaseBytes:
    """For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def get(self, blobs: BlobStore, sha256: str) -> bytes:
        """Whole, and checked when they were read; raises as *blobs* does."""
        with self._lock:  # the others wait: they want the same
            if sha256 not in self._kept:
                self._kept[sha256] = blobs.get(sha256)
            self._kept.move_to_end(sha256)
            while len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
            return self._kept[sha256]


def cut_piece(data: bytes, wanted: str) -> tuple[bytes, str]:
    """The piece that a header ``Range`` asks for, and its ``Content-Range`` (RFC 9110, 14); raises RangeRefused.

    One range, ``bytes=FIRST-LAST``. What is empty asks for all, and may if that is no more than a configuration.
    """
    if not wanted:
        if len(data) > RELEASE_BYTES_MAX:
            raise RangeRefused(f"it has {len(data)} bytes; fetch it by pieces of at most {PIECE_BYTES_MAX}")
        return data, ""
    asked = _RANGE.fullmatch(wanted)
    first, last = (int(asked[1]), int(asked[2])) if asked else (1, 0)
    if not first <= last or first >= len(data) or last - first >= PIECE_BYTES_MAX:
        raise RangeRefused(f"ask for bytes=FIRST-LAST, at most {PIECE_BYTES_MAX} of its {len(data)} bytes")
    piece = data[first : last + 1]
    return piece, f"bytes {first}-{first + len(piece) - 1}/{len(data)}"
