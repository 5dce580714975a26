"""Why something is refused at the desk of self-control; one problem for pages and programs alike."""

from __future__ import annotations

from server.problems import Problem


class Refused(Problem):
    """``code`` is a text of the catalogue with ``sc_`` before it; ``lacks`` names what is missing, by target."""

    def __init__(self, code: str, detail: str, *, status: int = 422, lacks: tuple[str, ...] = ()) -> None:
        super().__init__(status, f"sc_{code}", detail)
        self.lacks = lacks


def unknown() -> Refused:
    """There is nothing of this number for this person."""
    return Refused("unknown", "there is no such record for you", status=404)
