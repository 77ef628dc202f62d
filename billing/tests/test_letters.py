"""Which fonts a text needs, and that the document then has each of its letters."""

import io
import logging
from datetime import UTC, datetime

import pypdfium2
import pytest
from fpdf import FPDF
from hypothesis import given
from hypothesis import strategies as st

from billing.letters import BASE, lettering
from billing.pdf import FONT, ShapedPDF, blank_pdf, finished

MADE_AT = datetime(2026, 3, 5, tzinfo=UTC)
JAPANESE, CHINESE = "NotoSansJP-Regular", "wqy-microhei"


def fonts(text: str, country: str = "") -> list[str]:
    return [font.stem for font in lettering(text, country=country).fonts]


def printed(text: str, country: str = "") -> bytes:
    page = f"<h1>Invoice</h1><table><tr><td>{text}</td></tr></table><p>Paid in full.</p>"
    pdf = blank_pdf(text=page, country=country, made_at=MADE_AT)
    pdf.set_font(FONT, size=12)
    pdf.add_page()
    pdf.write_html(page)
    return finished(pdf)


def read(pdf: bytes) -> str:
    """The document's text as a reader copies it; how it spaces words is its own."""
    with pypdfium2.PdfDocument(io.BytesIO(pdf)) as document:
        return "".join(document[0].get_textpage().get_text_range().split())


@pytest.mark.parametrize(
    ("text", "country", "expected"),
    [
        ("Söhne, Łódź, Αθήνα, Дом", "DE", []),
        ("東京都千代田区", "JP", [JAPANESE]),
        ("丸の内", "", [JAPANESE]),
        ("北京市海淀区", "CN", [CHINESE]),
        ("서울특별시", "KR", [CHINESE]),
        # What one of them lacks the other has.
        ("髙島屋 서울", "JP", [JAPANESE, CHINESE]),
        ("𠮷野家", "CN", [CHINESE, JAPANESE]),
        ("กรุงเทพฯ", "TH", ["NotoSansThai[wght]"]),
        ("नई दिल्ली", "IN", ["NotoSansDevanagari[wght]"]),
        ("🚀", "", ["NotoEmoji[wght]"]),
    ],
)
def test_fonts_are_chosen_by_the_letters_and_the_country(text, country, expected):
    assert fonts(text, country) == expected
    assert lettering(text, country=country).missing == frozenset()


@pytest.mark.parametrize(
    ("text", "shaped"),
    [
        ("Söhne, Дом, 東京", False),
        ("شركة", True),
        ("חברת", True),
        ("दिल्ली", True),
        ("e\u0323\u0302", True),
    ],
)
def test_only_what_joins_moves_or_runs_to_the_left_is_shaped(text, shaped):
    assert lettering(text).shaped is shaped
    pdf = blank_pdf(text=text, country="", made_at=MADE_AT)
    assert type(pdf) is (ShapedPDF if shaped else FPDF)
    finished(pdf)


def test_what_no_font_has_is_told():
    assert lettering("Ur \U00012000").missing == {"\U00012000"}


@given(st.text(st.characters(max_codepoint=0x17F, categories=("L", "N", "P", "Zs"))))
def test_european_letters_need_no_other_font(text):
    needed = lettering(text)
    assert (needed.fonts, needed.missing, needed.shaped) == ((), frozenset(), False)
    assert BASE.exists()


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("株式会社髙島屋 𠮷野家 東京都千代田区丸の内1-2", "JP"),
        ("北京字节跳动科技有限公司 北京市海淀区", "CN"),
        ("臺北市信義區松仁路100號", "TW"),
        ("삼성전자주식회사 서울특별시 서초구", "KR"),
        ("บริษัท ปตท. จำกัด (มหาชน) ที่อยู่ ปู่น้ำ", "TH"),
        ("क्षत्रिय प्राइवेट लिमिटेड, नई दिल्ली", "IN"),
        ("ශ්‍රී ලංකා ටෙලිකොම්", "LK"),
        ("தமிழ்நாடு কক্ষ ভবন", "IN"),
        ("ភ្នំពេញ", "KH"),
        ("شركة المراعي", "SA"),
        ("חברת החשמל", "IL"),
        ("株式会社 شركة", "JP"),
        ("🚀 Rocket ⚙", ""),
    ],
)
def test_every_letter_is_printed_and_can_be_copied(text, country, caplog):
    with caplog.at_level(logging.WARNING):
        pdf = printed(text, country)
    assert "missing the following glyphs" not in caplog.text
    assert "".join(text.split()) in read(pdf)
    # A paragraph after letters that run to the left does not follow them.
    assert "Paidinfull." in read(pdf)
    assert len(pdf) < 40_000
