"""What an entry of the audit log tells, in the reader's language. The log itself keeps codes, which never change.

Names of fields and values out of a known vocabulary are translated; what people wrote stays as they wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.i18n import catalogue, translate
from server.models_audit import AuditEntry

# (type of the object, field) → what the keys of its values begin with
VOCABULARIES = {
    ("alert", "kind"): "kind_",
    ("alert", "from"): "state_",
    ("alert", "to"): "state_",
    ("alert", "colour"): "card_",
    ("alert", "result"): "recheck_",
    ("interview", "reason"): "interview_",
    ("box", "kind"): "command_",
    ("box", "state"): "command_state_",
    ("rollout", "status"): "rollout_box_",
    ("channel", "kind"): "channel_",
    ("channel", "tiers"): "channel_tiers_",
    ("record", "kind"): "sc_",
    ("user", "role"): "role_",
    ("token", "permissions"): "may_",
}


def tell(entry: AuditEntry, language: str) -> list[tuple[str, str]]:
    """Name and value of each field that says something, by the field's name."""
    return [
        (translate(language, f"audit_field_{name}"), _said(entry.object_type, name, value, language))
        for name, value in sorted(entry.detail.items())
        if value is not None and value != ""
    ]


def _said(object_type: str, name: str, value: Any, language: str) -> str:
    if isinstance(value, bool):
        return translate(language, "audit_yes" if value else "audit_no")
    if name == "changed" and isinstance(value, Mapping):  # a text in entries of before, and shown as it is
        return "; ".join(_change(column, pair, language) for column, pair in value.items())
    prefix = VOCABULARIES.get((object_type, name))
    if prefix is None:
        return str(value)
    return ", ".join(_word(prefix, word, language) for word in str(value).split(" "))


def _change(column: str, pair: list[str], language: str) -> str:
    """A cell of the register: its column, the old value and the new one."""
    old, new = (_word(f"asset_{column}_", value, language) for value in pair)
    return f"{_word('asset_', column, language)}: {old or '–'} → {new or '–'}"


def _word(prefix: str, code: str, language: str) -> str:
    """The word for a code; the code itself where the catalogue has none."""
    text = catalogue().get(prefix + code.replace(".", "_"))
    return text[language] if text else code
