"""Texts in zh-CN and English from one catalogue; zh-CN is the language unless somebody chose another."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

try:  # libyaml is ten times as fast: half a second of a start
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]

LANGUAGES = ("zh-CN", "en")
CATALOGUE = Path(__file__).with_name("messages")  # one file for each part of the product


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """Key → language → text; raises ValueError when a language is missing or two files name the same key."""
    texts: dict[str, dict[str, str]] = {}
    for path in sorted(CATALOGUE.glob("*.yaml")):
        for key, entry in yaml.load(path.read_bytes(), Loader=SafeLoader).items():
            if set(entry) != set(LANGUAGES):
                raise ValueError(f"{path.name}: {key} needs exactly {' and '.join(LANGUAGES)}")
            if key in texts:
                raise ValueError(f"{path.name}: {key} stands in another file, too")
            texts[key] = entry
    return texts


def choose(cookie: str | None, accept_language: str | None) -> str:
    """The language of a request: the cookie's, else the browser's, else zh-CN."""
    if cookie in LANGUAGES:
        return cookie
    for wanted in (accept_language or "").lower().split(","):
        if wanted.strip().startswith(("en", "zh")):
            return "en" if wanted.strip().startswith("en") else "zh-CN"
    return "zh-CN"


BARE = ("audit_field_", "audit_object_")  # names of the record, which may be newer than the catalogue


def translate(language: str, key: str) -> str:
    """The text of *key*; a kind that this centre does not know yet is named as such, with the box's word for it."""
    entry = catalogue().get(key)
    if entry is not None:
        return entry[language]
    if key.startswith("kind_"):
        return f"{catalogue()['kind_unknown'][language]} ({key.removeprefix('kind_').replace('_', ' ')})"
    for prefix in BARE:
        key = key.removeprefix(prefix)
    return key.replace("_", " ")
