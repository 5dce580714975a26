"""From what the boxes saw to a sheet that is half filled in, and from the sheet to its content. Pure.

The boxes answer an item only where they can: with ``fault`` where an alert speaks against it, with ``ok`` where they
watched long enough and found nothing. All else stays empty until a person says. Nothing a person wrote is overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence

from server.models import Site
from server.self_control.catalogue import Item, Sheet, Titled, ZeroRisk
from server.self_control.document import Answer, Asked, Content, Finding, Form, Result, Seen, SeenAlert
from server.self_control.periods import Period


def findings_of(seen: Seen) -> list[SeenAlert]:
    """The alerts that are findings: those that were no false alarms."""
    return [alert for alert in seen.alerts if alert.outcome != "dismissed"]


def cameras_watched(seen: Seen, rule: ZeroRisk) -> bool:
    """Whether there are cameras, and each watched long enough."""
    return bool(seen.cameras) and all(camera.share_pct >= rule.camera_pct_min for camera in seen.cameras)


def sensors_watched(seen: Seen, rule: ZeroRisk) -> bool:
    """Whether there are sensors, all were counted, and each has readings for long enough."""
    enough = all(sensor.covered_pct >= rule.sensor_pct_min for sensor in seen.sensors)
    return bool(seen.sensors) and not seen.uncounted_sensors and enough


def fill_in(sheet: Sheet, seen: Seen, written: Form | None = None) -> Form:
    """The form as the boxes would fill it in; what people wrote already stays."""
    before = written or Form()
    answers = {answer.code: answer for answer in before.answers}
    notes = {finding.alert_id: finding for finding in before.findings}
    return Form(
        operating=before.operating,
        answers=[_answer(sheet, item, seen, answers.get(item.code)) for item in sheet.items],
        findings=[notes.get(alert.alert_id) or _finding(alert) for alert in findings_of(seen)],
        fields={field.code: before.fields.get(field.code, "") for field in sheet.fields},
    )


def _answer(sheet: Sheet, item: Item, seen: Seen, written: Answer | None) -> Answer:
    result = boxes_say(sheet, item, seen)
    if written is None:
        return Answer(code=item.code, result=result)
    return written if written.result or not result else written.model_copy(update={"result": result})


def boxes_say(sheet: Sheet, item: Item, seen: Seen) -> Result:
    """What the devices say of an item; empty where they cannot tell."""
    if any(alert.kind in item.kinds for alert in findings_of(seen)):
        return "fault"
    if item.samples:
        return _samples_say(seen)
    if item.daily:
        return "ok" if seen.daily_signed >= seen.daily_due else "fault"
    watched = {"cameras": cameras_watched, "sensors": sensors_watched}
    if item.seen_by is not None and watched[item.seen_by](seen, sheet.zero_risk):
        return "ok"
    return ""


def _samples_say(seen: Seen) -> Result:
    if not seen.samples:
        return ""
    return "fault" if any(set(sample.warnings) - {"no_sensor"} for sample in seen.samples) else "ok"


def _finding(alert: SeenAlert) -> Finding:
    return Finding(alert_id=alert.alert_id)


def zero_risk_lacks(sheet: Sheet, seen: Seen, form: Form) -> list[str]:
    """Why this is no zero-risk report, by code; none when it is one.

    No findings is worth saying only of a time that was watched: by cameras and by sensors, whichever the site has.
    """
    lacks = []
    if not form.operating:
        lacks.append("not_operating")
    if findings_of(seen) or any(answer.result == "fault" for answer in form.answers):
        lacks.append("findings")
    if seen.standing:
        lacks.append("standing")
    if not seen.cameras and not seen.sensors:
        lacks.append("nothing_watched")
    if seen.cameras and not cameras_watched(seen, sheet.zero_risk):
        lacks.append("cameras")
    if (seen.sensors or seen.uncounted_sensors) and not sensors_watched(seen, sheet.zero_risk):
        lacks.append("sensors")
    return lacks


def incomplete(sheet: Sheet, seen: Seen, form: Form) -> list[str]:
    """The targets that must be filled in before anybody signs."""
    lacks = [
        f"field.{field.code}"
        for field in sheet.fields
        if field.required and not form.fields.get(field.code, "").strip()
    ]
    lacks += [
        f"field.{field.code}"
        for field in sheet.fields
        if field.choices and form.fields.get(field.code) and form.fields[field.code] not in field.choices
    ]
    if not form.operating:
        return lacks
    answers = {answer.code: answer for answer in form.answers}
    lacks += [lack for item in sheet.items for lack in _answer_lacks(item, answers.get(item.code))]
    notes = {finding.alert_id: finding for finding in form.findings}
    for alert in findings_of(seen):
        finding = notes.get(alert.alert_id, Finding(alert_id=alert.alert_id))
        lacks += [
            f"finding.{alert.alert_id}.{name}"
            for name in ("responsible", "action")
            if not getattr(finding, name).strip()
        ]
    return lacks


def _answer_lacks(item: Item, answer: Answer | None) -> list[str]:
    if answer is None or not answer.result:
        return [f"item.{item.code}.result"]
    if answer.result != "fault":
        return []
    needed: Sequence[str] = ("nonconformity", "responsible", "action")
    return [f"item.{item.code}.{name}" for name in needed if not getattr(answer, name).strip()]


def make_content(sheet: Sheet, site: Site, period: Period, seen: Seen, form: Form) -> Content:
    """The record as it would be signed now."""
    lacks = zero_risk_lacks(sheet, seen, form)
    return Content(
        kind=sheet.kind, site=site.name, zone=site.time_zone, first_day=period.first, last_day=period.last,
        title=_asked(sheet.kind, sheet.title), items=[_asked(item.code, item) for item in sheet.items],
        asked=[_asked(field.code, field) for field in sheet.fields], seen=seen, form=form,
        zero_risk=not lacks, zero_risk_lacks=lacks,
    )  # fmt: skip


def _asked(code: str, titled: Titled) -> Asked:
    return Asked(code=code, zh=titled.zh_CN, en=titled.en)
