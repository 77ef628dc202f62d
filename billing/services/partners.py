"""Partners' logos: what may be printed."""

import io

from PIL import Image, UnidentifiedImageError

from spoke.core.errors import InvalidInput

LARGEST = 64 * 1024
WIDEST, HIGHEST = 1200, 400


def checked_logo(data: bytes) -> bytes:
    """The logo, if it is a whole PNG of bounded size. Raises InvalidInput."""
    if len(data) > LARGEST:
        raise InvalidInput("A logo has 64 KiB at most.", field="logo_file")
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            size = image.size
            if size[0] <= WIDEST and size[1] <= HIGHEST:
                image.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InvalidInput("This is no PNG.", field="logo_file") from error
    if size[0] > WIDEST or size[1] > HIGHEST:
        raise InvalidInput(f"A logo has {WIDEST} by {HIGHEST} pixels at most.", field="logo_file")
    return data
