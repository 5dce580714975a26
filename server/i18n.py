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
    first = (accept_language or "").split(",")[0].strip().lower()
    return "en" if first.startswith("en") else "zh-CN"


def translate(language: str, key: str) -> str:
    """The text of *key*; a key without a text (a new kind, say) is shown itself."""
    entry = catalogue().get(key)
    return entry[language] if entry else key.removeprefix("kind_").replace("_", " ")
