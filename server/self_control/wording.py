"""What a record's codes read like in one language and the site's time; for pages and paper alike."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from server.i18n import translate
from server.self_control.document import Asked, Content, SeenAlert

NONE = "—"


class Wording:
    """Texts for one content."""

    def __init__(self, language: str, content: Content) -> None:
        self.language = language
        self._zone = ZoneInfo(content.zone)
        self._titles = {item.code: self.title(item) for item in (*content.items, *content.asked)}

    def t(self, key: str) -> str:
        return translate(self.language, key)

    def title(self, asked: Asked) -> str:
        return asked.en if self.language == "en" else asked.zh

    def name(self, code: str) -> str:
        """The title of an item or field."""
        return self._titles.get(code, code)

    def at(self, value: datetime | None) -> str:
        """A time by the site's clock, to the minute."""
        return value.astimezone(self._zone).strftime("%Y-%m-%d %H:%M") if value else NONE

    def alert(self, alert: SeenAlert) -> str:
        """Kind, place and device of an alert."""
        return " · ".join(part for part in (self.t(f"kind_{alert.kind}"), alert.place, alert.source) if part)

    def result(self, result: str) -> str:
        return self.t(f"sc_result_{result or 'open'}")

    def warnings(self, codes: list[str]) -> str:
        return ", ".join(self.t(f"sc_warning_{code}") for code in codes) or self.t("sc_warning_none")

    def lacks(self, codes: list[str]) -> str:
        return ", ".join(self.t(f"sc_lack_{code}") for code in codes)

    def target(self, target: str) -> str:
        """What a statement's target is called."""
        kind, _, rest = target.partition(".")
        code, _, part = rest.partition(".")
        if kind == "item":
            return f"{code} {self.t(f'sc_{part}')}"
        if kind == "finding":
            return f"#{code} {self.t(f'sc_{part}')}"
        return self.name(rest) if kind == "field" else self.t("sc_operating")

    def stated(self, target: str, text: str) -> str:
        """A statement as people read it."""
        if target.endswith(".result"):
            return self.result(text)
        if target == "operating":
            return self.t(f"sc_{text}")
        return text or NONE


def celsius(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f} °C"


def length(value_s: float) -> str:
    """hours:minutes, rounded down."""
    return f"{int(value_s) // 3600}:{int(value_s) // 60 % 60:02d}"
