"""Pictures and clips out of JSON: data URLs, base64, and the optional compression for transport."""

import base64
import binascii
import io
import re

from PIL import Image, ImageOps

from gateway.errors import ApiError, invalid

COMPRESSED_SIDE = 512
COMPRESSED_QUALITY = 80

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
MAX_PIXELS = 40_000_000  # beyond it, decoding costs more than sending

_DATA_URL = re.compile(
    r"data:(?P<type>[\w.+/-]{0,127})(?:;[\w.+=-]{1,127}){0,16}?(?P<base64>;base64)?,",
    re.ASCII | re.IGNORECASE,
)


def read_data_url(url: str, param: str, max_bytes: int) -> bytes:
    """Bytes of a picture's data URL. Raises ApiError 400: remote, not an image, not base64, too large."""
    match = _DATA_URL.match(url)
    if match is None or not match["base64"]:
        what = (
            "Remote pictures are not fetched" if url[:5].lower().startswith("http") else "This is no data URL"
        )
        raise invalid(f"{what}; send data:image/...;base64,...", param, "image_url_unsupported")
    if not match["type"].lower().startswith("image/"):
        raise invalid(f"A picture is of type image/..., not {match['type'] or 'nothing'}.", param)
    return read_base64(url[match.end() :], param, max_bytes)


def read_base64(text: str, param: str, max_bytes: int) -> bytes:
    """Raises ApiError 400: not base64, empty, too large."""
    if len(text) * 3 // 4 - text[-2:].count("=") > max_bytes:
        raise ApiError(400, "media_too_large", f"At most {max_bytes} bytes are taken.", param=param)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("This is not valid base64.", param, "invalid_base64") from error
    if not data:
        raise invalid("There is nothing in it.", param, "media_empty")
    return data


def compress_image(data: bytes) -> bytes:
    """The picture within 512x512, JPEG of quality 80; what cannot be read goes on as it is, to be refused."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.draft(None, (2 * COMPRESSED_SIDE, 2 * COMPRESSED_SIDE))
            clipped = image.mode.startswith("I")  # what has 16 bits
            if clipped or image.width * image.height > MAX_PIXELS:
                return data
            return _as_jpeg(image)
    except Exception:  # Pillow names no closed set of errors for broken files
        return data


def _as_jpeg(image: Image.Image) -> bytes:
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    upright = upright.convert("RGB")
    upright.thumbnail((COMPRESSED_SIDE, COMPRESSED_SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    upright.save(out, "JPEG", quality=COMPRESSED_QUALITY)
    return out.getvalue()
