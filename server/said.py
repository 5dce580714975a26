"""What a box says of a finding, in its reader's language and the site's time; what it says in words stays as it is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import tzinfo

from server.i18n import catalogue, translate
from telemetry.coldchain.wording import UNITS, Value, clock_in, write

MOMENT_S_MAX = 32_503_680_000.0  # the year 3000


def sentence(data: Mapping[str, object], language: str, zone: tzinfo, part: str = "") -> str | None:
    """The sentence of an alert: its ``said``, else its ``reason``; *part* (``end_``, ``update_``) for later ones."""
    said = _phrases(data.get(f"{part}said"), language, zone)
    if said:
        return translate(language, "said_joined").join(said)
    reason = data.get(f"{part}reason")
    if not isinstance(reason, str) or not reason:
        return None
    if f"closed_{reason}" in catalogue():
        return translate(language, f"closed_{reason}")
    word, _, detail = reason.partition(": ")
    key = f"blind_{word.replace(' ', '_')}"
    if data.get("kind") != "camera_blind" or key not in catalogue():
        return reason
    return translate(language, key) + (f": {detail}" if detail else "")


def causes(data: Mapping[str, object], language: str, zone: tzinfo) -> list[str]:
    """The likely root causes, each with what it rests on; what the box words in English stays so."""
    told = data.get("causes")
    words = [str(item) for item in told] if isinstance(told, list) else [told] if isinstance(told, str) and told else []
    said = _phrases(data.get("causes_said"), language, zone)
    if said is None or len(said) != len(words):
        return words
    named = [f"cause_{word.partition(':')[0]}" for word in words]
    return [
        f"{translate(language, key)}: {text}" if key in catalogue() else word
        for key, text, word in zip(named, said, words, strict=True)
    ]


def _phrases(coded: object, language: str, zone: tzinfo) -> list[str] | None:
    """Each phrase in *language*; None when one cannot be read or is none that this centre knows."""
    if not isinstance(coded, list):
        return None
    units = {name: translate(language, f"unit_{name}") for name in UNITS}
    written = []
    for item in coded:
        try:
            key, args = json.loads(item)
            text = catalogue()[f"said_{key}"][language]
            written.append(write(text, {name: _checked(name, args[name]) for name in args}, clock_in(zone), units))
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError):
            return None
    return written


def _checked(name: str, value: object) -> Value:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is no number")
    if name.endswith("_at") and not 0 <= value < MOMENT_S_MAX:
        raise ValueError(f"{name} is no moment")
    return float(value)
