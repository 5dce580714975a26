"""The blob store's port: bytes by the SHA-256 of their content, kept whole before the call returns, never changed.

What comes back is what was put: a store checks the digest of what it gives out.
"""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

_DIGEST = re.compile(r"[0-9a-f]{64}")


class BlobDamaged(Exception):
    """The bytes under a digest are others than were put; the message names the digest."""


class BlobsUnavailable(Exception):
    """The store cannot be reached or cannot work now; the same call may succeed later. Holds no secret."""


class BlobStore(Protocol):
    """Every call may block for its time-outs and raises BlobsUnavailable, or OSError where it is a folder."""

    def put(self, data: bytes) -> str:
        """Keep *data*; on return it is stored for good. Returns its SHA-256 in hex. Put again it changes nothing."""

    def get(self, sha256: str) -> bytes:
        """The blob; raises KeyError when there is none (or that is no digest), BlobDamaged when it was changed."""

    def close(self) -> None:
        """End its connections."""


def checked_digest(sha256: str) -> str:
    """*sha256* if it is a digest in hex; raises KeyError for anything else, so that no name leads elsewhere."""
    if not _DIGEST.fullmatch(sha256):
        raise KeyError(sha256)
    return sha256


def checked_blob(sha256: str, data: bytes) -> bytes:
    """*data* if that is its digest; raises BlobDamaged."""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BlobDamaged(f"the bytes of {sha256} were changed")
    return data
