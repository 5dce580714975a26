"""A font with the characters of this repository alone: a PDF set in it is as Chinese as any, and costs a tenth."""

from __future__ import annotations

from pathlib import Path

from fontTools import subset

from server.reports.fonts import Font, find_font

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("server/**/*.py", "server/**/*.yaml", "configs/**/*.yaml", "tests/server/**/*.py")


def signs_of_the_repository() -> str:
    return "".join({sign for pattern in SOURCES for path in ROOT.glob(pattern) for sign in path.read_text("utf-8")})


def make_small_font(folder: Path, signs: str = "") -> Font | None:
    """Made in *folder* from the installed font, with *signs* or those of the repository; None without one."""
    whole = find_font()
    if whole is None:
        return None
    for name in ("regular", "bold"):
        options = subset.Options(font_number=whole.face, layout_features=[], hinting=False)
        tool = subset.Subsetter(options)
        tool.populate(text=signs or signs_of_the_repository())
        with subset.load_font(str(getattr(whole, name)), options) as font:
            tool.subset(font)
            subset.save_font(font, str(folder / f"{name}.otf"), options)
    return Font(regular=folder / "regular.otf", bold=folder / "bold.otf")
