"""Certificate pinning: whoever the authorities vouch for, the centre's own key must be one of those we know.

A pin is the SHA-256 of the certificate's SubjectPublicKeyInfo in base64 (as in RFC 7469): it outlives a renewed
certificate with the same key. It is checked at the end of the handshake, before any byte of a request leaves.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ssl
from pathlib import Path


def check_pin(text: str) -> str:
    """The pin without its ``sha256/``; raises ValueError with the remedy."""
    pin = text.removeprefix("sha256/")
    try:
        raw = base64.b64decode(pin, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != 32:
        raise ValueError("must be the SHA-256 of a public key in base64, such as sha256/…= (44 characters)")
    return pin


def pin_of(certificate_der: bytes) -> str:
    """The pin of a certificate in DER."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = x509.load_der_x509_certificate(certificate_der).public_key()
    info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(info).digest()).decode()


def client_context(ca_file: Path | None, pins: tuple[str, ...] = ()) -> ssl.SSLContext:
    """A TLS client that trusts the system's authorities, or only *ca_file*, and with *pins* only these keys."""
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if pins:
        allowed = frozenset(check_pin(pin) for pin in pins)

        class PinnedObject(ssl.SSLObject):
            """Ends the handshake when the peer's key is none of ours."""

            def do_handshake(self) -> None:
                super().do_handshake()
                certificate = self.getpeercert(binary_form=True)
                if certificate is None or pin_of(certificate) not in allowed:
                    raise ssl.SSLCertVerificationError("certificate pin: the centre shows a key that is not configured")

        context.sslobject_class = PinnedObject
    return context
