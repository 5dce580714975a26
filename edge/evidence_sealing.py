"""Seals an original to the regulator's public keys with age (age-encryption.org/v1, X25519): the box cannot open it.

Every one of the keys opens the file by itself, so a key is replaced by adding the new one to the configuration.
"""

from __future__ import annotations

from collections.abc import Sequence


def seal_to(original: bytes, recipients: Sequence[str]) -> bytes:
    """*original* encrypted to each of *recipients* (``age1…``); raises ValueError for one that is no key, or none."""
    from pyrage import RecipientError, encrypt, x25519

    if not recipients:
        raise ValueError("there is nobody to seal it to")
    try:
        keys = [x25519.Recipient.from_str(text) for text in recipients]
    except RecipientError as error:
        raise ValueError(f"sealed_to holds something that is no age public key: {error}") from error
    return bytes(encrypt(original, keys))
