"""What a centre may send out to boxes as a release: a part of their configuration, and only sections named here.

A release never holds what lets somebody into the box or leads its records elsewhere: no addresses, ports, keys,
credentials, file paths, nor the masks that keep private corners out of the picture. Both ends check that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from telemetry.plain_yaml import PlainLoader

RELEASE_BYTES_MAX = 256 * 1024
KIND = "release"  # of the box_status event that tells how a release fared: applied or failed
WHOLE = ("limits", "cold_chain", "plausible", "site")  # sections that replace the box's own
# lists whose entries change those of the box with the same id, and the keys that they may change
BY_ID: Mapping[str, frozenset[str]] = {
    "sensors": frozenset(
        {
            "name", "place", "plausible", "calibration_offset", "serial_number", "calibrated_on", "certificate",
            "certificate_expires_on", "poll_interval_s",
        }
    ),
    "cameras": frozenset(
        {
            "name", "place", "view", "zones", "violations", "times", "rate_fps", "confidence", "dwell_s", "recover_s",
        }
    ),
}  # fmt: skip
_REFERENCES = ("env", "file")


class ReleaseError(Exception):
    """A document that cannot be released; the message says why and holds nothing of its values."""


def read_release(raw: bytes) -> dict[str, Any]:
    """The document in *raw*, of named sections only; raises ReleaseError."""
    if len(raw) > RELEASE_BYTES_MAX:
        raise ReleaseError(f"it has more than {RELEASE_BYTES_MAX} bytes")
    try:
        document = yaml.load(raw, Loader=PlainLoader)  # noqa: S506 - it is a SafeLoader
        if not isinstance(document, dict) or not document:
            raise ReleaseError("it is no YAML mapping of sections")
        _check_sections(document)
        _refuse_references(document)
    except yaml.composer.ComposerError as error:  # an alias, or a key that stands twice
        raise ReleaseError(str(error.problem)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: an impossible date; not UTF-8
        raise ReleaseError(f"it is not usable YAML ({type(error).__name__})") from error
    return document


def _check_sections(document: dict[Any, Any]) -> None:
    for section, value in document.items():
        if section in BY_ID:
            _check_entries(section, value)
        elif section not in WHOLE:
            allowed = ", ".join([*WHOLE, *BY_ID])
            raise ReleaseError(f"section {str(section)[:64]!r} is not rolled out; only {allowed}")


def _check_entries(section: str, entries: Any) -> None:
    if not isinstance(entries, list):
        raise ReleaseError(f"{section} is no list")
    seen: set[str] = set()
    for entry in entries:
        name = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name in seen:
            raise ReleaseError(f"each entry of {section} needs an id of its own")
        seen.add(name)
        if strange := sorted(str(key)[:64] for key in entry if key != "id" and key not in BY_ID[section]):
            raise ReleaseError(f"{section}: {', '.join(strange)} is not rolled out")


def _refuse_references(value: Any) -> None:
    """``{file: ...}`` would put a file of the box into a name that the box tells."""
    if isinstance(value, dict):
        if len(value) == 1 and next(iter(value)) in _REFERENCES:
            raise ReleaseError("references to secrets, {env: ...} and {file: ...}, are not rolled out")
        for item in value.values():
            _refuse_references(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_references(item)


def merge_release(own: Any, document: Mapping[str, Any]) -> Any:
    """The box's own data with the document's sections in place; raises ReleaseError for an id that the box lacks."""
    if not isinstance(own, dict):
        return own
    merged = dict(own)
    for section, value in document.items():
        merged[section] = _patched(section, own.get(section), value) if section in BY_ID else value
    return merged


def _patched(section: str, own: Any, entries: list[dict[str, Any]]) -> list[Any]:
    known = [entry for entry in own if isinstance(entry, dict)] if isinstance(own, list) else []
    changes = {entry["id"]: entry for entry in entries}
    if strange := sorted(changes.keys() - {str(entry.get("id")) for entry in known}):
        raise ReleaseError(f"{section}: this box has no {', '.join(strange)[:200]}")
    return [{**entry, **changes.get(str(entry.get("id")), {})} for entry in known]
