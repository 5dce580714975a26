"""A report on paper, in zh-CN or English. The same document, language and font give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from server.reports.document import Asset, Document, Excursion, batch_list, corrections
from server.reports.fonts import Font
from server.reports.ledger import state_of
from server.reports.pdf_chart import draw_chart
from server.reports.pdf_sheet import AMBER, BRAND, INK, MUTED, RED, Sheet
from server.reports.wording import NONE, Wording

ROWS_MAX = 40  # of gaps and of batch ranges on paper; CSV and JSON hold them all
STATE_COLOURS = {"draft": AMBER, "signed": BRAND, "reviewed": BRAND, "corrected": AMBER}


def write_pdf(document: Document, language: str, font: Font | None) -> bytes:
    """The bytes of the PDF; without a font in English, see `server.reports.fonts`."""
    content = document.content
    words = Wording(language if font else "en", content.zone)
    title = words.title(document)
    foot = f"{words.t('report_number')} {document.number} · {words.t('report_edition')} {document.edition}"
    foot += f" · SHA-256 {document.content_sha256[:32]}…"
    made_at = document.entries[-1].at if document.entries else content.end
    sheet = Sheet(font, f"{title} {document.number}", made_at, foot, words.t("report_page"))
    sheet.add_page()
    below = f"{content.site} · {words.period(content)} · {words.zone(content)}"
    state = f"{words.state(document)} · {words.t('report_number')} {document.number}"
    sheet.heading(words.t("app"), title, below, state, STATE_COLOURS[state_of(document)])
    if font is None:
        sheet.note(words.t("report_no_font"), 8, RED)
    if content.kind == "temperature":
        _write_temperature(sheet, words, document)
    else:
        _write_haccp(sheet, words, document)
    _write_corrections(sheet, words, document)
    _write_signatures(sheet, words, document)
    _write_proof(sheet, words, document)
    sheet.embed_file(
        bytes=batch_list(document).encode(), basename="batches.txt", mime_type="text/plain", modification_date=made_at,
        creation_date=made_at, compress=True,
    )  # fmt: skip
    return bytes(sheet.output())


def _write_temperature(sheet: Sheet, words: Wording, document: Document) -> None:
    content = document.content
    asset = content.assets[0]
    _write_facts(sheet, words, document, 0)
    sheet.section(f"{words.t('temperature')} (°C)", 90)
    draw_chart(sheet, content, asset)
    sheet.note(words.t("report_chart_note"), 6.5)
    _write_figures(sheet, words, asset)
    _write_limits(sheet, words, asset)
    sheet.section(f"{words.t('report_excursions')} ({len(asset.excursions)})")
    _write_excursions(sheet, words, document, 0)
    _write_gaps(sheet, words, document, 0)


def _write_facts(sheet: Sheet, words: Wording, document: Document, index: int) -> None:
    asset = document.content.assets[index]
    sensor = asset.sensor
    said = {
        "serial": sensor.serial or words.t("report_not_stated"),
        "calibrated_on": words.calibration(sensor),
        "offset_c": words.offset(sensor),
    }
    known = corrections(document)
    for name, text in said.items():
        if f"{index}.{name}" in known:
            entry, correction = known[f"{index}.{name}"]
            said[name] = f"{text}  →  {correction.corrected}  [{words.t('report_edition')} {entry.edition}]"
    sheet.facts(
        [
            (words.t("report_asset"), words.asset(sensor)),
            (words.t("report_sensor"), f"{sensor.sensor_id} @ {sensor.box_name} ({sensor.box_id})"),
            (words.t("report_serial"), said["serial"]),
            (words.t("report_limits"), "; ".join(dict.fromkeys(words.limits(limit) for limit in asset.limits))),
            (words.t("report_calibrated_on"), said["calibrated_on"]),
            (words.t("report_offset_c"), said["offset_c"]),
        ]
    )


def _write_figures(sheet: Sheet, words: Wording, asset: Asset) -> None:
    stats = asset.statistics
    outside = (stats.above_s or 0) + (stats.below_s or 0)
    above = words.length(stats.above_s)
    below = f"{words.t('report_below')} {words.length(stats.below_s)}" if stats.below_s is not None else ""
    covered = RED if stats.coverage_pct < 95 else INK
    sheet.tiles(
        [
            (words.t("report_min"), words.celsius(stats.min_c), words.time(stats.min_at), INK),
            (words.t("report_max"), words.celsius(stats.max_c), words.time(stats.max_at), INK),
            (words.t("report_mean"), words.celsius(stats.mean_c, 2), words.t("report_mean_note"), INK),
            (words.t("report_mkt"), words.celsius(stats.mkt_c, 2), words.t("report_mkt_note"), INK),
            (words.t("report_above"), above, below, RED if outside else INK),
            (words.t("report_coverage"), f"{stats.coverage_pct:.1f} %", words.length(stats.covered_s), covered),
        ]
    )
    sheet.note(
        f"{stats.readings} {words.t('report_readings')}; {words.t('report_suspect')} {stats.suspect}; "
        f"{words.t('report_without_value')} {stats.without_value}; {words.t('report_every')} "
        f"{words.length(stats.usual_interval_s)}. {words.t('report_figures_note')}"
    )


def _write_limits(sheet: Sheet, words: Wording, asset: Asset) -> None:
    sheet.section(words.t("report_limits"))
    columns = [
        (words.t("report_from"), 0.2), (words.t("report_until"), 0.2), (words.t("limit"), 0.2),
        (words.t("report_basis"), 0.4),
    ]  # fmt: skip
    rows = [
        [words.time(limit.since), words.time(limit.until), words.limits(limit), words.limit_basis(limit)]
        for limit in asset.limits
    ]
    sheet.grid(columns, rows)


def _write_excursions(sheet: Sheet, words: Wording, document: Document, index: int) -> None:
    asset = document.content.assets[index]
    if not asset.excursions:
        sheet.note(words.t("report_no_excursions"), 8.5, INK)
        return
    columns = [
        (words.t("report_begin_end"), 0.19), (words.t("report_length"), 0.11), (words.t("report_peak_limit"), 0.14),
        (words.t("report_cause"), 0.2), (words.t("report_action"), 0.36),
    ]  # fmt: skip
    rows = []
    for item in asset.excursions:
        key = f"{index}.excursion.{item.alert_id}"
        actions = [words.action(action) for action in item.actions] or [words.t("report_no_action")]
        rows.append(
            [
                f"{words.time(item.opened_at)}\n{words.time(item.ended_at)}",
                words.excursion_length(item),
                words.peak(item),
                _corrected(words, document, f"{key}.cause", words.cause(item)),
                _corrected(words, document, f"{key}.action", "\n".join([*actions, _alert_state(words, item)])),
            ]
        )
    sheet.grid(columns, rows, 7)


def _alert_state(words: Wording, item: Excursion) -> str:
    return f"{words.t('report_alert')} {item.alert_id}: {words.t(f'state_{item.state}')}"


def _corrected(words: Wording, document: Document, target: str, original: str) -> str:
    """The original with its correction beside it."""
    found = corrections(document).get(target)
    if found is None:
        return original
    entry, correction = found
    return f"{original}\n→ {correction.corrected} [{words.t('report_edition')} {entry.edition}]"


def _write_gaps(sheet: Sheet, words: Wording, document: Document, index: int) -> None:
    asset = document.content.assets[index]
    total = words.length(asset.statistics.gap_s)
    sheet.section(f"{words.t('report_gaps')} ({len(asset.gaps)}{f', {total}' if asset.gaps else ''})")
    if not asset.gaps:
        sheet.note(words.t("report_no_gaps"), 8.5, INK)
        return
    longest = sorted(range(len(asset.gaps)), key=lambda number: -asset.gaps[number].length_s)[:ROWS_MAX]
    rows = []
    for number in sorted(longest):
        gap = asset.gaps[number]
        reason = _corrected(words, document, f"{index}.gap.{number}.reason", words.gap(gap))
        rows.append([words.time(gap.start), words.time(gap.end), words.length(gap.length_s), reason])
    columns = [
        (words.t("report_from"), 0.2), (words.t("report_until"), 0.2), (words.t("report_length"), 0.14),
        (words.t("report_gap_reason"), 0.46),
    ]  # fmt: skip
    sheet.grid(columns, rows)
    if len(asset.gaps) > ROWS_MAX:
        sheet.note(words.t("report_more_gaps"))


def _write_haccp(sheet: Sheet, words: Wording, document: Document) -> None:
    columns = [
        (words.t("report_ccp"), 0.16), (words.t("report_critical_limit"), 0.2), (words.t("report_monitoring"), 0.2),
        (words.t("report_figures"), 0.18), (words.t("report_deviation"), 0.12), (words.t("report_verification"), 0.14),
    ]  # fmt: skip
    sheet.section(words.t("report_ccp_overview"))
    sheet.grid(columns, [_ccp_row(words, asset) for asset in document.content.assets], 7)
    for index, asset in enumerate(document.content.assets):
        sheet.section(words.asset(asset.sensor), 40)
        _write_facts(sheet, words, document, index)
        _write_excursions(sheet, words, document, index)
        if asset.gaps:
            _write_gaps(sheet, words, document, index)


def _ccp_row(words: Wording, asset: Asset) -> list[str]:
    stats = asset.statistics
    limits = [f"{words.limits(limit)} ({words.limit_basis(limit)})" for limit in asset.limits]
    figures = f"{words.celsius(stats.min_c)} … {words.celsius(stats.max_c)}"
    figures += f"\n{words.t('report_above')} {words.length(stats.above_s)}"
    deviation = f"{len(asset.excursions)}" if asset.excursions else words.t("report_none")
    verified = [f"{words.time(item.at)} {item.by} ({item.number})" for item in asset.verified]
    verified.append(f"{words.t('report_calibrated_on')}: {words.calibration(asset.sensor)}")
    return [
        words.asset(asset.sensor), "\n".join(dict.fromkeys(limits)), words.monitoring(asset), figures, deviation,
        "\n".join(verified),
    ]  # fmt: skip


def _write_corrections(sheet: Sheet, words: Wording, document: Document) -> None:
    made = [entry for entry in document.entries if entry.correction]
    if not made:
        return
    sheet.section(f"{words.t('report_corrections')} ({len(made)})")
    columns = [
        (words.t("report_edition"), 0.08), (words.t("report_what"), 0.17), (words.t("report_original"), 0.19),
        (words.t("report_corrected"), 0.19), (words.t("report_why"), 0.17), (words.t("report_who_when"), 0.2),
    ]  # fmt: skip
    rows = []
    for entry in made:
        correction = entry.correction
        assert correction is not None, "only corrections are listed"
        who = f"{entry.name} ({words.t(f'role_{entry.role}')})\n{words.time(entry.at)}"
        what = words.target(correction.target, document.content)
        rows.append(
            [str(entry.edition), what, correction.original or NONE, correction.corrected, correction.reason, who]
        )  # fmt: skip
    sheet.grid(columns, rows, 7)
    sheet.note(words.t("report_corrections_note"))


def _write_signatures(sheet: Sheet, words: Wording, document: Document) -> None:
    sheet.section(words.t("report_signatures"), 30)
    columns = [
        (words.t("report_edition"), 0.1), (words.t("report_act"), 0.16), (words.t("report_name"), 0.24),
        (words.t("report_when"), 0.2), (words.t("note"), 0.3),
    ]  # fmt: skip
    rows = [
        [
            str(entry.edition), words.t(f"report_act_{entry.move}"),
            f"{entry.name} ({entry.username}), {words.t(f'role_{entry.role}')}", words.time(entry.at), entry.note,
        ]
        for entry in document.entries
    ]  # fmt: skip
    done = {entry.move for entry in document.entries}
    rows += [
        ["", words.t(f"report_act_{move}"), words.t("report_open"), "", ""]
        for move in ("signed", "reviewed")
        if move not in done
    ]
    sheet.grid(columns, rows)


def _write_proof(sheet: Sheet, words: Wording, document: Document) -> None:
    content = document.content
    sheet.section(words.t("report_proof"), 40)
    sheet.note(
        f"{words.t('report_content_digest')}: {document.content_sha256}\n"
        f"{words.t('report_batches_digest')}: {content.batches_sha256} ({content.batches} {words.t('report_batches')})",
        7.5,
        INK,
    )
    columns = [
        (words.t("report_box"), 0.2), (words.t("report_lane"), 0.32), (words.t("report_range"), 0.18),
        (words.t("report_last_digest"), 0.3),
    ]  # fmt: skip
    rows = [
        [lane.box_id, f"{lane.lane} · {lane.epoch}", _range(part), part[-1][1][:32] + "…"]
        for lane in content.lanes
        for part in _runs(lane.batches)
    ]
    if rows:
        sheet.grid(columns, rows[:ROWS_MAX], 6.5)
    if len(rows) > ROWS_MAX:
        sheet.note(words.t("report_more_batches"))
    sheet.note(words.t("report_proof_note"), 7, MUTED)


def _range(part: Sequence[tuple[int, str]]) -> str:
    return f"{part[0][0]}" if len(part) == 1 else f"{part[0][0]} – {part[-1][0]} ({len(part)})"


def _runs(batches: Sequence[tuple[int, str]]) -> list[list[tuple[int, str]]]:
    """Batches cut where the sequence jumps."""
    return [
        [batch for _, batch in group] for _, group in groupby(enumerate(batches), key=lambda item: item[1][0] - item[0])
    ]
