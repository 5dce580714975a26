"""How a report says things in one language and the site's time zone; numbers are spelled the same in both."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

from server.i18n import translate
from server.reports.corrections import targets
from server.reports.document import Action, Asset, Content, Document, Excursion, Gap, LimitPeriod, Sensor
from server.reports.series import at_of
from server.said import causes, sentence

NONE = "—"


class Wording:
    """Texts, times and numbers for one reader."""

    def __init__(self, language: str, zone: str) -> None:
        self.language = language
        self._zone = ZoneInfo(zone)

    def t(self, key: str) -> str:
        return translate(self.language, key)

    def time(self, at: datetime | None) -> str:
        return NONE if at is None else at.astimezone(self._zone).strftime("%Y-%m-%d %H:%M:%S")

    def day(self, day: date | None) -> str:
        return NONE if day is None else day.isoformat()

    def period(self, content: Content) -> str:
        return f"{self.time(content.start)} – {self.time(content.end)}"

    def zone(self, content: Content) -> str:
        """The zone with its offset at the period's start, such as ``Asia/Shanghai (UTC+08:00)``."""
        offset = content.start.astimezone(self._zone).strftime("%z")
        return f"{content.zone} (UTC{offset[:3]}:{offset[3:]})"

    def celsius(self, value: float | None, digits: int = 1) -> str:
        return NONE if value is None else f"{value:.{digits}f} °C"

    def length(self, length_s: float | None) -> str:
        """A length of time, such as ``3 h 05 min``."""
        if length_s is None:
            return NONE
        if length_s < 60:
            return f"{length_s:.0f} s"
        minutes = round(length_s / 60)
        days, hours = minutes // 1440, minutes // 60 % 24
        hour, minute = ("小时", "分钟") if self.language == "zh-CN" else ("h", "min")
        day = "天" if self.language == "zh-CN" else "d"
        if days:
            return f"{days} {day} {hours} {hour}"
        return f"{hours} {hour} {minutes % 60:02d} {minute}" if hours else f"{minutes} {minute}"

    def limits(self, limit: LimitPeriod) -> str:
        """The limits as one expression, such as ``0.0 … 8.0 °C``."""
        if limit.high_c is not None and limit.low_c is not None:
            return f"{limit.low_c:.1f} … {limit.high_c:.1f} °C"
        if limit.high_c is not None:
            return f"{self.t('report_at_most')} {limit.high_c:.1f} °C"
        return NONE if limit.low_c is None else f"{self.t('report_at_least')} {limit.low_c:.1f} °C"

    def limit_basis(self, limit: LimitPeriod) -> str:
        """Who says so."""
        stated = {"card": "report_by_card", "box": "report_by_box", "none": "report_no_limit"}[limit.source]
        return " · ".join(part for part in (limit.basis, self.t(stated), limit.stated_by) if part)

    def asset(self, sensor: Sensor) -> str:
        parts = [part for part in (sensor.ccp, sensor.name, sensor.place) if part]
        return " · ".join(dict.fromkeys(parts))

    def calibration(self, sensor: Sensor) -> str:
        if sensor.calibrated_on is None:
            return self.t("report_not_stated")
        text = self.day(sensor.calibrated_on)
        if sensor.calibration_due_on is not None:
            text += f" ({self.t('report_due')} {self.day(sensor.calibration_due_on)})"
        return text

    def offset(self, sensor: Sensor) -> str:
        return self.t("report_not_stated") if sensor.offset_c is None else f"{sensor.offset_c:+.2f} °C"

    def gap(self, gap: Gap) -> str:
        """Why a reading is missing."""
        reason = self.t(f"report_gap_{gap.code}")
        return f"{reason}: {gap.detail}" if gap.detail else reason

    def cause(self, excursion: Excursion) -> str:
        told = {"causes": excursion.causes, "causes_said": excursion.causes_said, "said": excursion.said}
        named = self.t("said_joined").join(causes(told, self.language, self._zone))
        return (excursion.said and sentence(told, self.language, self._zone)) or named or self.t("report_not_stated")

    def action(self, action: Action) -> str:
        """One act of one person."""
        text = f"{self.time(action.at)} {action.by} ({self.t(f'role_{action.role}')}): {self.t(f'move_{action.move}')}"
        if action.note:
            text += f" – {action.note}"
        return f"{text} [{self.t('photo')} {action.photo_sha256[:12]}]" if action.photo_sha256 else text

    def peak(self, excursion: Excursion) -> str:
        """The peak and the limit that it crossed."""
        sign = {"high": ">", "low": "<"}.get(excursion.side, "/")
        return f"{self.celsius(excursion.peak_c)} {sign} {self.celsius(excursion.limit_c)}"

    def excursion_length(self, excursion: Excursion) -> str:
        if excursion.ended_at is None:
            return self.t("still_going")
        return self.length((excursion.ended_at - excursion.opened_at).total_seconds())

    def monitoring(self, asset: Asset) -> str:
        """How often a control point was looked at."""
        stats = asset.statistics
        every = f"{self.t('report_every')} {self.length(stats.usual_interval_s)}"
        covered = f"{self.t('report_coverage')} {stats.coverage_pct:.1f} %"
        by = f"{self.t('report_automatic')} {asset.sensor.box_name}"
        return f"{by}; {every}, {stats.readings} {self.t('report_readings')}, {covered}"

    def target(self, key: str, content: Content) -> str:
        """What a correction is about, such as ``Cause · CCP1 · 2026-01-02 11:00:00``."""
        if ".reading." in key:
            return f"{self.t('report_reading')} · {self.time(at_of(int(key.rpartition('.')[2])))}"
        target = targets(content).get(key)
        if target is None:
            return key
        return " · ".join(
            part for part in (self.t(target.label), target.where, target.at and self.time(target.at)) if part
        )

    def state(self, document: Document) -> str:
        return self.t(f"report_state_{document.entries[-1].move if document.entries else 'draft'}")

    def title(self, document: Document) -> str:
        return self.t(f"report_title_{document.content.kind}")
