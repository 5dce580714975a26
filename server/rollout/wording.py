"""Why a roll-out stopped or was refused, in the reader's language: known by how the centre's own words read.

What a box or a library says in its own words stays as it is, and is shown beside the sentence as such.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from server.boxes.wording import reason_text as box_reason
from server.i18n import translate

_LOST = re.compile(r"(\S+) (failed|fell silent)")
_NOT_TAKEN = "not taken by "
REFUSALS = {
    "choose a release and boxes": "choose",
    "no box is meant": "choose",
    "there is no such release": "no_release",
    "only a model can look along": "shadow_only",
    "no such box for you": "no_box",
    "a later roll-out changed": "later",
    r"\S+ is in a roll-out": "busy",
    "one of its boxes is in a roll-out": "busy",
    "a roll-out that is": "moved",
    "the model's SHA-256 is": "digest",
    "the manifest": "manifest",
    r"(the model|model|manifest) has": "size",
    "name has": "name",
    "slot has": "slot",
    "send a form": "files",
}
WITH_DETAIL = ("digest", "manifest")  # whoever made the files can mend them with it


def rollout_reason(reason: str, names: Mapping[str, str], language: str) -> str:
    """Why a roll-out paused or goes back; *names*: of boxes by id. Unknown words stay as they are."""
    if reason.startswith(_NOT_TAKEN):
        boxes = [names.get(item, item) for item in reason.removeprefix(_NOT_TAKEN).split(", ")]
        return translate(language, "rollout_not_taken").format(boxes=", ".join(boxes))
    lost = [_LOST.fullmatch(part) for part in reason.split(", ")]
    told = [
        translate(language, "rollout_lost_" + found[2].replace(" ", "_")).format(box=names.get(found[1], found[1]))
        for found in lost
        if found
    ]
    return "; ".join(told) if len(told) == len(lost) else reason


def told_by_box(reason: str, language: str) -> str:
    """Why a box did not take a release."""
    return translate(language, "rollout_no_answer") if reason == "no answer" else box_reason(reason, language)


def refusal(detail: str, language: str) -> tuple[str, str]:
    """The sentence of a refusal, and the words to show beside it (often none)."""
    for pattern, key in REFUSALS.items():
        if re.match(pattern, detail):
            return translate(language, f"rollout_refused_{key}"), detail if key in WITH_DETAIL else ""
    return translate(language, "rollout_refused"), detail
