"""Texts in zh-CN and English from one catalogue; zh-CN is the language unless somebody chose another."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

LANGUAGES = ("zh-CN", "en")
CATALOGUE = Path(__file__).with_name("messages") / "catalogue.yaml"


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """Key → language → text; raises ValueError when a language is missing."""
    texts: dict[str, dict[str, str]] = yaml.safe_load(CATALOGUE.read_text("utf-8"))
    for key, entry in texts.items():
        if set(entry) != set(LANGUAGES):
            raise ValueError(f"{CATALOGUE.name}: {key} needs exactly {' and '.join(LANGUAGES)}")
    return texts


def choose(cookie: str | None, accept_language: str | None) -> str:
    """The language of a request: the cookie's, else the browser's, else zh-CN."""
    if cookie in LANGUAGES:
        return cookie
    for wanted in (accept_language or "").lower().split(","):
        if wanted.strip().startswith(("en", "zh")):
            return "en" if wanted.strip().startswith("en") else "zh-CN"
    return "zh-CN"


def translate(language: str, key: str) -> str:
    """The text of *key*; a kind that this centre does not know yet is named as such, with the box's word for it."""
    entry = catalogue().get(key)
    if entry is not None:
        return entry[language]
    if key.startswith("kind_"):
        return f"{catalogue()['kind_unknown'][language]} ({key.removeprefix('kind_').replace('_', ' ')})"
    return key.replace("_", " ")
