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
    "not recorded, kept is: ": "not_recorded",
    "that film has more than": "film_too_large",
    "that moment is still to come": "ahead",
}


def reason_text(reason: object, language: str) -> str:
    """The reason in *language*; one that this centre does not know stays as the box said it."""
    if not isinstance(reason, str):
        return ""
    for beginning, key in BEGINNINGS.items():
        if reason.startswith(beginning):
            said = translate(language, f"box_says_{key}")
            return f"{said} ({reason.removeprefix(beginning)})" if key == "not_recorded" else said
    return reason
