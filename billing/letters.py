"""Which fonts a document's letters need beyond the one of its own, and whether they need shaping.

An ordinary invoice needs neither. Fonts of other scripts come as wheels, so that a document looks the
same on every machine, and are opened only where a letter asks for them.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fontTools.ttLib import TTFont


def _folder_of(package: str) -> Path:
    """Where a wheel of fonts lies. Nothing of it is run."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package}: install requirements.txt")
    return Path(spec.origin).parent


# Of its own: the letters of Europe, and much beside.
BASE = Path(__file__).parent / "fonts" / "DejaVuSans.ttf"
BASE_BOLD = BASE.with_name("DejaVuSans-Bold.ttf")
_NOTO = _folder_of("manimgx_fonts")
# Glyphs as they are written in Japan; all that Chinese and Korean addresses use, as written in China.
_JAPANESE = _folder_of("pylopdf_fonts_jp") / "NotoSansJP-Regular.otf"
_CHINESE = _folder_of("paperang_p2_fonts_cjk") / "fonts" / "wqy-microhei.ttc"
_REST = (_NOTO / "NotoSansSymbols[wght].ttf", _NOTO / "NotoEmoji[wght].ttf")
# The first word of a letter's name in Unicode is its script; these have a font of their own.
_SCRIPTS = {
    script.upper(): _NOTO / f"NotoSans{script}[wght].ttf"
    for script in (
        *("Arabic", "Armenian", "Bengali", "Devanagari", "Ethiopic", "Georgian", "Gujarati"),
        *("Gurmukhi", "Hebrew", "Kannada", "Khmer", "Lao", "Malayalam", "Myanmar", "Oriya"),
        *("Sinhala", "Tamil", "Telugu", "Thai"),
    )
}
_KANA = ("HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA")
# Letters that join, move or run from right to left.
_RIGHT_TO_LEFT = {"R", "AL"}
_MARKS = {"Mn", "Mc"}


@dataclass(frozen=True)
class Lettering:
    """Fonts to fall back on, in their order; whether the text is to be shaped; what no font has."""

    fonts: tuple[Path, ...]
    shaped: bool
    missing: frozenset[str]


def lettering(text: str, *, country: str = "") -> Lettering:
    """What it takes to print a text whose Chinese characters are to look as the country writes them.

    `country` is the two letters of ISO 3166. Japan's forms are also taken where there is kana.
    """
    letters = {char for char in set(text) if char.isprintable()}
    foreign = {char for char in letters if ord(char) not in _letters_of(BASE)}
    fonts: list[Path] = []
    missing = set(foreign)
    for font in _candidates(foreign, country):
        if found := {char for char in missing if ord(char) in _letters_of(font)}:
            fonts.append(font)
            missing -= found
    return Lettering(tuple(fonts), any(map(_needs_shaping, letters)), frozenset(missing))


def _candidates(letters: set[str], country: str) -> Iterator[Path]:
    names = {unicodedata.name(char, "") for char in letters}
    yield from sorted({_SCRIPTS[word] for word in _first_words(names) if word in _SCRIPTS})
    japanese = country == "JP" or any(name.startswith(_KANA) for name in names)
    yield from (_JAPANESE, _CHINESE) if japanese else (_CHINESE, _JAPANESE)
    yield from _REST


def _first_words(names: Iterable[str]) -> set[str]:
    return {name.partition(" ")[0] for name in names}


def _needs_shaping(char: str) -> bool:
    return unicodedata.bidirectional(char) in _RIGHT_TO_LEFT or unicodedata.category(char) in _MARKS


@cache
def _letters_of(font: Path) -> frozenset[int]:
    with TTFont(font, fontNumber=0, lazy=True) as opened:
        return frozenset(opened.getBestCmap() or ())
