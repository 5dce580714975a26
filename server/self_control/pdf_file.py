"""A record on paper, in zh-CN or English. The same document, language and font give the same bytes."""

from __future__ import annotations

from server.reports.fonts import Font
from server.reports.pdf_sheet import AMBER, BRAND, RED, Sheet
from server.self_control.document import Record, corrections_of
from server.self_control.wording import NONE, Wording, celsius, length


def write_pdf(record: Record, language: str, font: Font | None) -> bytes:
    """The bytes of the PDF; without a font in English, see `server.reports.fonts`."""
    content = record.content
    words = Wording(language if font else "en", content)
    title = words.title(content.title)
    foot = f"{words.t('report_number')} {record.number} · {words.t('report_edition')} {record.edition}"
    foot += f" · SHA-256 {record.content_sha256[:32]}…"
    made_at = record.entries[-1].at if record.entries else content.seen.until
    sheet = Sheet(font, f"{title} {record.number}", made_at, foot, words.t("report_page"))
    sheet.add_page()
    days = (
        str(content.first_day) if content.first_day == content.last_day else f"{content.first_day} – {content.last_day}"
    )
    state = words.t(f"sc_state_{record.entries[-1].move if record.entries else 'draft'}")
    sheet.heading(
        words.t("app"), title, f"{content.site} · {days} · {content.zone}", state, BRAND if record.entries else AMBER
    )
    if font is None:
        sheet.note(words.t("report_no_font"), 8, RED)
    _write_verdict(sheet, words, record)
    _write_items(sheet, words, record)
    _write_findings(sheet, words, record)
    _write_fields(sheet, words, record)
    _write_seen(sheet, words, record)
    _write_acts(sheet, words, record)
    return bytes(sheet.output())


def _write_verdict(sheet: Sheet, words: Wording, record: Record) -> None:
    content = record.content
    if content.zero_risk:
        sheet.note(words.t("sc_zero_risk_said"), 10, BRAND)
    else:
        sheet.note(f"{words.t('sc_no_zero_risk')}: {words.lacks(content.zero_risk_lacks)}", 9, AMBER)
    seen = content.seen
    sheet.facts(
        [
            (words.t("sc_opened"), str(seen.opened)),
            (words.t("sc_closed"), str(seen.closed)),
            (words.t("sc_standing"), str(seen.standing)),
            (words.t("sc_until"), words.at(seen.until)),
        ]
    )


def _write_items(sheet: Sheet, words: Wording, record: Record) -> None:
    if not record.content.items or not record.content.form.operating:
        return
    sheet.section(words.t("sc_items"))
    columns = [
        (words.t("sc_item"), 0.38), (words.t("sc_result"), 0.1), (words.t("sc_nonconformity"), 0.2),
        (words.t("sc_responsible"), 0.12), (words.t("sc_action"), 0.2),
    ]  # fmt: skip
    rows = [
        (
            f"{item.code} {words.name(item.code)}", words.result(item.result), item.nonconformity or NONE,
            item.responsible or NONE, item.action or NONE,
        )
        for item in record.content.form.answers
    ]  # fmt: skip
    sheet.grid(columns, rows)


def _write_findings(sheet: Sheet, words: Wording, record: Record) -> None:
    alerts = {alert.alert_id: alert for alert in record.content.seen.alerts}
    notes = [note for note in record.content.form.findings if note.alert_id in alerts]
    if not notes:
        return
    sheet.section(words.t("sc_findings"))
    columns = [
        (words.t("sc_finding"), 0.3), (words.t("sc_state"), 0.12), (words.t("sc_responsible"), 0.12),
        (words.t("sc_action"), 0.22), (words.t("sc_due_on"), 0.1), (words.t("sc_completion"), 0.14),
    ]  # fmt: skip
    rows = [
        (
            f"#{note.alert_id} {words.alert(alerts[note.alert_id])}, {words.at(alerts[note.alert_id].opened_at)}",
            words.t(f"state_{alerts[note.alert_id].state}"), note.responsible or NONE, note.action or NONE,
            str(note.due_on or NONE), note.completion or NONE,
        )
        for note in notes
    ]  # fmt: skip
    sheet.grid(columns, rows)


def _write_fields(sheet: Sheet, words: Wording, record: Record) -> None:
    for code, text in record.content.form.fields.items():
        if text:
            sheet.section(words.name(code), 16)
            sheet.note(text, 9)


def _write_seen(sheet: Sheet, words: Wording, record: Record) -> None:
    seen = record.content.seen
    if seen.sensors:
        sheet.section(words.t("sc_sensors"))
        columns = [
            (words.t("sc_sensor"), 0.34), (words.t("sc_min"), 0.13), (words.t("sc_max"), 0.13),
            (words.t("sc_excursions"), 0.2), (words.t("sc_covered"), 0.2),
        ]  # fmt: skip
        sheet.grid(
            columns,
            [
                (item.name, celsius(item.min_c), celsius(item.max_c), f"{item.excursions} ({length(item.excursion_s)})",
                 f"{item.covered_pct} %")
                for item in seen.sensors
            ],
        )  # fmt: skip
    if seen.cameras:
        sheet.section(words.t("sc_cameras"))
        columns = [(words.t("sc_camera"), 0.4), (words.t("sc_due"), 0.2), (words.t("sc_judged"), 0.2), ("%", 0.2)]
        sheet.grid(columns, [(c.name, length(c.due_s), length(c.judged_s), f"{c.share_pct} %") for c in seen.cameras])
    if seen.samples:
        sheet.section(words.t("sc_samples"))
        columns = [
            (words.t("sc_dish"), 0.3), (words.t("sc_weight"), 0.12), (words.t("sc_taken_at"), 0.2),
            (words.t("sc_taken_by"), 0.14), (words.t("sc_warnings"), 0.24),
        ]  # fmt: skip
        sheet.grid(
            columns,
            [
                (f"{words.t(f'sc_meal_{item.meal}')} · {item.dish}", f"{item.weight_g:g} g", words.at(item.taken_at),
                 item.taken_by, words.warnings(item.warnings))
                for item in seen.samples
            ],
        )  # fmt: skip


def _write_acts(sheet: Sheet, words: Wording, record: Record) -> None:
    for target, made in corrections_of(record).items():
        sheet.section(f"{words.t('sc_correction')}: {words.target(target)}")
        for entry, said in made:
            text = f"{words.t('sc_original')}: {words.stated(target, said.original)}\n"
            text += f"{words.t('sc_corrected')}: {said.corrected}\n{words.t('sc_reason')}: {said.reason}"
            sheet.note(f"{words.at(entry.at)} {entry.name}\n{text}", 8)
    sheet.section(words.t("sc_signatures"))
    if not record.entries:
        sheet.note(words.t("sc_unsigned"), 9, AMBER)
    for entry in record.entries:
        who = f"{entry.name} ({words.t(f'role_{entry.role}')})"
        act = f"{words.t(f'sc_state_{entry.move}')} · {who} · {words.at(entry.at)}"
        sheet.note(f"{act} · {entry.note}" if entry.note else act, 9)
