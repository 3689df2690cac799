"""Picture bytes to upright RGB pixels; whatever cannot be read is refused with a named reason."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image

from servicekit.errors import InvalidArgument, ServiceError

# Part of every model fingerprint: change it whenever the same bytes give other pixels.
PREPROCESSOR_VERSION = "square-bicubic-1"

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")

# A JPEG is decoded at a fraction of its size as long as this many times the wanted side is left.
DRAFT_MARGIN = 2

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)

# Formats that people do send, so that the refusal can name them: (offset, signature, name).
_NOT_SUPPORTED = (
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "SVG"),
    (0, b"%PDF", "PDF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
)


@dataclass(frozen=True)
class Picture:
    """An upright RGB picture. A large JPEG is smaller here than `width` x `height`, its size as sent."""

    image: Image.Image
    width: int
    height: int


def fit_square(image: Image.Image, side: int) -> np.ndarray:
    """The picture squeezed into a square, uint8 [side, side, 3]."""
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))


def read_picture(data: bytes, *, side: int | None, max_pixels: int) -> Picture:
    """Decodes a picture that will be resized to `side`; every pixel of it where `side` is None.

    Raises InvalidArgument with an IMAGE_ reason.
    """
    if not data:
        raise _refusal("IMAGE_EMPTY", "The picture has no bytes.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _decode(image, side, max_pixels)
    except ServiceError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels(max_pixels) from error
    except Exception as error:  # Pillow names no closed set of errors for broken files.
        if _ends_early(data):
            raise _refusal("IMAGE_TRUNCATED", "The picture ends before its last row.") from error
        raise _refusal("IMAGE_UNREADABLE", _why_unreadable(data)) from error


def _decode(image: Image.Image, side: int | None, max_pixels: int) -> Picture:
    width, height = image.size
    if width * height > max_pixels:
        raise _too_many_pixels(max_pixels)
    if side is not None:
        image.draft(None, (DRAFT_MARGIN * side, DRAFT_MARGIN * side))
    image.load()
    rgb = _to_rgb(image)
    orientation = _orientation(image)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    if orientation in _SIDEWAYS:
        width, height = height, width
    return Picture(rgb, width, height)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; a broken EXIF block says nothing, and is no reason to refuse the picture."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = _from_16_bit(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return white.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Scales 16-bit grey to 8 bits, where Pillow would clip."""
    grey = np.asarray(image)
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey = np.where(grey == transparent, 65535, grey)
    return Image.fromarray((grey // 257).astype(np.uint8))


def _ends_early(data: bytes) -> bool:
    """True when a file that could not be decoded lacks the end that its format promises."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    if data.startswith(b"\xff\xd8"):
        return not data.endswith(b"\xff\xd9")
    if data.startswith(b"GIF8"):
        return not data.endswith(b"\0;")
    if data.startswith(b"RIFF"):
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    return data.startswith(b"BM") and int.from_bytes(data[2:6], "little") > len(data)


def _why_unreadable(data: bytes) -> str:
    for offset, signature, name in _NOT_SUPPORTED:
        if data.startswith(signature, offset):
            return f"{name} is not supported; send PNG, JPEG, WebP, BMP or GIF."
    return "The bytes are not a readable PNG, JPEG, WebP, BMP or GIF picture."


def _too_many_pixels(max_pixels: int) -> InvalidArgument:
    return _refusal("IMAGE_TOO_MANY_PIXELS", f"The picture has more than {max_pixels:,} pixels.")


def _refusal(reason: str, message: str) -> InvalidArgument:
    return InvalidArgument(reason, message, field="image")
