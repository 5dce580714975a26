"""The paper: A4 pages with head and foot, section titles, facts in pairs and tables. Knows nothing of temperatures.

The bytes follow from what is drawn: the date in the file is given, there is no random id, fonts are subset by use.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from fpdf import FPDF, FontFace
from fpdf.enums import TableBordersLayout, XPos, YPos
from fpdf.fonts import TTFFont

from server.reports.folding import fold_line
from server.reports.fonts import Font, code_of, escape

MARGIN, WIDTH, BOTTOM = 15.0, 180.0, 18.0  # millimetres
PADDING = 0.9
INK, MUTED, LINE, GROUND = (22, 32, 29), (91, 106, 101), (223, 229, 226), (244, 246, 245)
BRAND, RED, AMBER = (11, 122, 92), (180, 35, 24), (138, 90, 0)
FAMILY = "report"
Colour = tuple[int, int, int]


class Sheet(FPDF):
    """A document under construction; lengths in millimetres, font sizes in points."""

    def __init__(self, font: Font | None, title: str, made_at: datetime, foot: str, page_word: str) -> None:
        super().__init__(format="A4")
        logging.getLogger("fontTools").setLevel(logging.ERROR)  # it tells every table that it leaves out
        self._embedded = font is not None
        self._foot = foot
        self._page_word = page_word
        if font is not None:
            self.add_font(FAMILY, "", font.regular, collection_font_number=font.face)
            self.add_font(FAMILY, "B", font.bold, collection_font_number=font.face)
            regular, bold = self.fonts[FAMILY], self.fonts[f"{FAMILY}B"]
            assert isinstance(regular, TTFFont)
            assert isinstance(bold, TTFFont)
            self._known = {code for code in set(regular.cmap) & set(bold.cmap) if chr(code).isprintable()}
        self.set_title(title)
        self.set_creator("Brightline")
        self.set_producer("Brightline")
        self.set_creation_date(made_at)
        self.set_margins(MARGIN, MARGIN)
        self.set_auto_page_break(True, BOTTOM)
        self.c_margin = 0.0

    def say(self, text: str) -> str:
        """*text* as the font can show it: what it lacks, and what is no character to see, is escaped."""
        if not self._embedded:
            return escape(text)
        return "".join(sign if sign == "\n" or ord(sign) in self._known else code_of(sign) for sign in text)

    def write_as(self, size: float, bold: bool = False, colour: Colour = INK) -> None:
        self.set_font(FAMILY if self._embedded else "Helvetica", "B" if bold else "", size)
        self.set_text_color(*colour)

    def footer(self) -> None:
        self.set_y(-12)
        self.write_as(7, colour=MUTED)
        self.cell(WIDTH * 0.8, 4, self.say(self._foot))
        self.cell(WIDTH * 0.2, 4, self.say(f"{self._page_word} {self.page_no()} / {{nb}}"), align="R")

    def heading(self, brand: str, title: str, below: str, state: str, state_colour: Colour) -> None:
        """The head of the first page."""
        self.set_fill_color(*BRAND)
        self.rect(0, 0, 210, 3, style="F")
        self.set_y(10)
        self.write_as(9, True, BRAND)
        self.cell(WIDTH * 0.6, 5, self.say(brand))
        self.write_as(9, True, state_colour)
        self.cell(WIDTH * 0.4, 5, self.say(state), align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.write_as(18, True)
        self.cell(WIDTH, 10, self.say(title), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.write_as(9, colour=MUTED)
        self.paragraph(WIDTH, 4.6, below)
        self.ln(2)

    def section(self, title: str, room: float = 22.0) -> None:
        """A section's title, on a new page unless *room* is left below it."""
        if self.get_y() + room > 297 - BOTTOM:
            self.add_page()
        self.ln(3)
        self.write_as(11, True, BRAND)
        self.cell(WIDTH, 6, self.say(title), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_draw_color(*BRAND)
        self.set_line_width(0.3)
        self.line(MARGIN, self.get_y(), MARGIN + WIDTH, self.get_y())
        self.ln(1.5)

    def note(self, text: str, size: float = 7.5, colour: Colour = MUTED) -> None:
        """A paragraph in small print."""
        self.write_as(size, colour=colour)
        self.paragraph(WIDTH, size * 0.52, text)

    def paragraph(self, width: float, height: float, text: str) -> None:
        """Text in lines of *height*, in the type that is set."""
        left = self.get_x()
        self.multi_cell(width, height, "\n".join(self.fold(text, width)), align="L", new_x=XPos.LEFT, new_y=YPos.NEXT)
        self.set_x(left)

    def fold(self, text: str, width: float) -> list[str]:
        """The lines of *text* at this width, in the type that is set: broken between words and Chinese characters."""
        return [line for part in self.say(text).split("\n") for line in fold_line(part, width, self.get_string_width)]

    def facts(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Label and value, two pairs beside each other; a long value makes its row higher."""
        half, label = WIDTH / 2, 27.0
        for number in range(0, len(pairs), 2):
            row = pairs[number : number + 2]
            self.write_as(8.5)
            heights = [4.4 * len(self.fold(value, half - label - 3)) for _, value in row]
            if self.get_y() + max(heights) > 297 - BOTTOM:
                self.add_page()
            top = self.get_y()
            for column, (name, value) in enumerate(row):
                self.set_xy(MARGIN + column * half, top)
                self.write_as(8, colour=MUTED)
                self.cell(label, 4.4, self.say(name))
                self.write_as(8.5)
                self.paragraph(half - label - 3, 4.4, value)
            self.set_xy(MARGIN, top + max(heights) + 0.8)

    def tiles(self, figures: Sequence[tuple[str, str, str, Colour]]) -> None:
        """Label, figure, small print and colour of the figure, beside each other in boxes."""
        width = WIDTH / len(figures)
        top = self.get_y() + 1
        for number, (label, figure, small, colour) in enumerate(figures):
            left = MARGIN + number * width
            self.set_fill_color(*GROUND)
            self.rect(left + 0.6, top, width - 1.2, 17, style="F", round_corners=True, corner_radius=1.6)
            for offset, size, bold, shade, text in (
                (1.2, 7, False, MUTED, label), (5.4, 11.5, True, colour, figure), (11.6, 6.5, False, MUTED, small),
            ):  # fmt: skip
                self.set_xy(left + 2, top + offset)
                self.write_as(size, bold, shade)
                self._fit(width - 4, text, size, bold)
        self.set_xy(MARGIN, top + 19)

    def _fit(self, width: float, text: str, size: float, bold: bool) -> None:
        """One line, in smaller type when it is too long."""
        said = self.say(text)
        while size > 4.5 and self.get_string_width(said) > width:
            size -= 0.5
            self.set_font(FAMILY if self._embedded else "Helvetica", "B" if bold else "", size)
        self.cell(width, 5, said)

    def grid(self, columns: Sequence[tuple[str, float]], rows: Sequence[Sequence[str]], size: float = 7.5) -> None:
        """A table; *columns* are titles and shares of the width. Its head is repeated on every page."""
        self.set_draw_color(*LINE)
        self.set_fill_color(255, 255, 255)
        self.set_line_width(0.2)
        self.write_as(size)
        widths = [share * WIDTH - 2 * PADDING - 0.2 for _, share in columns]
        with self.table(
            width=WIDTH,
            col_widths=tuple(share for _, share in columns),
            line_height=size * 0.53,
            text_align="LEFT",
            v_align="TOP",
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            headings_style=FontFace(emphasis="BOLD", color=MUTED, fill_color=GROUND),
            padding=PADDING,
        ) as table:
            for cells in ([title for title, _ in columns], *rows):
                row = table.row()
                for cell, width in zip(cells, widths, strict=True):
                    row.cell("\n".join(self.fold(cell, width)))
        self.ln(1)
