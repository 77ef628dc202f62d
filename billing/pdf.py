"""The PDF library, mended where it lays out letters that join, move or run from right to left."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from fpdf import FPDF
from fpdf.enums import TextDirection
from fpdf.line_break import Fragment, TextLine

from billing.letters import BASE, BASE_BOLD, lettering

FONT = "DejaVu"
# Without a look of their own, they tell the letters beside them how to join: those need one font.
JOINERS = (0x200C, 0x200D)


def blank_pdf(*, text: str, country: str, made_at: datetime) -> FPDF:
    """A4 pages with the fonts that the text needs. An ordinary one is not shaped: that takes time.

    `country` as in `lettering`.
    """
    needed = lettering(text, country=country)
    pdf = ShapedPDF(format="A4") if needed.shaped else FPDF(format="A4")
    pdf.set_creation_date(made_at)
    pdf.add_font(FONT, "", BASE)
    pdf.add_font(FONT, "B", BASE_BOLD)
    # Of tens of thousands only those are looked at.
    letters = sorted({ord(char) for char in text} | {*JOINERS})
    for font in needed.fonts:
        pdf.add_font(font.stem, "", font, unicode_range=letters)
    if needed.fonts:
        pdf.set_fallback_fonts([font.stem for font in needed.fonts], exact_match=False)
        for style in ("", "B"):
            own: Any = pdf.fonts[f"{FONT.lower()}{style}"]
            own.cmap = {code: own.cmap[code] for code in own.cmap if code not in JOINERS}
    return pdf


def finished(pdf: FPDF) -> bytes:
    """The document's bytes. Its fonts' files are closed: it can be written no further."""
    try:
        return bytes(pdf.output())
    finally:
        fonts: Any = pdf.fonts
        for font in fonts.values():
            font.close()


class SpokenFragment(Fragment):
    """Says which letters its glyphs stand for, in their order: the text that is copied or read aloud.

    Not from right to left: readers turn such letters themselves, and would turn them twice.
    """

    def render_with_text_shaping(self, *args: Any, **kwargs: Any) -> str:
        shown = super().render_with_text_shaping(*args, **kwargs)
        if self.fragment_direction == TextDirection.RTL:
            return shown
        letters = f"\ufeff{self.string}".encode("utf-16-be").hex()
        return f"/Span <</ActualText <{letters}>>> BDC {shown} EMC"


class ShapedPDF(FPDF):
    """With text shaping, for paragraphs as for cells."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.set_text_shaping(True)
        self._in_runs = False

    def _preload_bidirectional_text(self, text: str, markdown: bool) -> Sequence[Fragment]:
        with self._runs():
            return super()._preload_bidirectional_text(text, markdown)

    def _preload_font_styles(
        self,
        text: str | None,
        markdown: bool,
        _initial_emphasis: tuple[bool, bool, bool, bool] | None = None,
    ) -> Sequence[Fragment]:
        # Paragraphs of HTML come here by themselves, and would run as the text before them did.
        if not self._in_runs:
            return self._preload_bidirectional_text(text or "", markdown)
        return super()._preload_font_styles(text, markdown, _initial_emphasis)

    def _render_styled_text_line(self, text_line: TextLine, *args: Any, **kwargs: Any) -> bool:
        spoken = [_spoken(fragment) for fragment in text_line.fragments]
        return super()._render_styled_text_line(
            text_line._replace(fragments=spoken), *args, **kwargs
        )

    @contextmanager
    def _runs(self) -> Iterator[None]:
        self._in_runs = True
        try:
            yield
        finally:
            self._in_runs = False


def _spoken(fragment: Fragment) -> Fragment:
    if type(fragment) is not Fragment:
        return fragment
    return SpokenFragment(fragment.characters, fragment.graphics_state, fragment.k, fragment.link)
