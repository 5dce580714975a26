"""Seals an original to the regulator's public keys with age (age-encryption.org/v1, X25519): the box cannot open it.

Every one of the keys opens the file by itself, so a key is replaced by adding the new one to the configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def read_recipients(recipients: Sequence[str]) -> list[Any]:
    """The keys of ``age1…`` texts; raises ValueError for one that is none (each has a checksum)."""
    from pyrage import RecipientError, x25519

    keys = []
    for text in recipients:
        try:
            keys.append(x25519.Recipient.from_str(text))
        except RecipientError as error:
            raise ValueError(f"{text} is no age public key; make one with brightline-vision keygen") from error
    return keys


def seal_to(original: bytes, recipients: Sequence[str]) -> bytes:
    """*original* encrypted to each of *recipients* (``age1…``); raises ValueError for one that is no key, or none."""
    from pyrage import encrypt

    if not recipients:
        raise ValueError("there is nobody to seal it to")
    return bytes(encrypt(original, read_recipients(recipients)))
