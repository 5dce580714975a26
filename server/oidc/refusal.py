"""Why a sign-in through the provider ends: one kind of error for all its parts."""

from __future__ import annotations


class OidcRefused(Exception):
    """``code`` is the text for the person; ``reason`` is for the log and the audit: which check failed, nothing secret.

    ``subject`` is who it is at the provider, where that is proved.
    """

    def __init__(self, code: str, reason: str, subject: str = "") -> None:
        super().__init__(reason)
        self.code, self.reason, self.subject = code, reason, subject
