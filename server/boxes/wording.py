"""Why a box did not do what it was asked, in the reader's language: known by how the box's words begin."""

from __future__ import annotations

from server.i18n import translate

BEGINNINGS = {
    "this box's configuration does not allow": "not_allowed",
    "this box has no camera": "no_camera",
    "the camera gave no answer": "no_answer",
    "the camera sees nothing": "blind",
    "it was started ": "just_started",
    "the box was interrupted": "interrupted",
    "no film is kept": "no_film",
    "gone: the film": "film_gone",
    "that moment is still to come": "ahead",
}


def reason_text(reason: object, language: str) -> str:
    """The reason in *language*; one that this centre does not know stays as the box said it."""
    if not isinstance(reason, str):
        return ""
    key = next((key for beginning, key in BEGINNINGS.items() if reason.startswith(beginning)), None)
    return translate(language, f"box_says_{key}") if key else reason
