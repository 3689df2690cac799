"""Picture bytes to pixels."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from servicekit.errors import InvalidArgument
from services.vision.images import fit_square, read_picture
from tests.pictures import file_of, photo, quadrants

WHITE, RED = (255, 255, 255), (255, 0, 0)
FILES = [
    ("PNG", {}),
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("BMP", {}),
    ("GIF", {}),
]


def read(data: bytes, side: int = 16, max_pixels: int = 1_000_000) -> Image.Image:
    return read_picture(data, side=side, max_pixels=max_pixels).image


def refusal(data: bytes, max_pixels: int = 1_000_000) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as raised:
        read(data, max_pixels=max_pixels)
    assert raised.value.field == "image"
    return raised.value


def png(
    width: int, height: int, depth: int, colour_type: int, rows: bytes, *chunks: tuple[bytes, bytes]
) -> bytes:
    """A PNG file put together by hand, for what Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "GIF"])
def test_lossless_formats_give_the_very_pixels(file_format: str) -> None:
    picture = read_picture(file_of(quadrants(), file_format), side=16, max_pixels=1000)
    assert picture.image.mode == "RGB"
    assert (picture.width, picture.height) == (32, 16)
    assert np.array_equal(np.asarray(picture.image), np.asarray(quadrants()))


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP"])
def test_lossy_formats_give_nearly_the_pixels(file_format: str) -> None:
    original = photo()
    decoded = np.asarray(read(file_of(original, file_format, quality=95)), float)
    assert np.abs(decoded - np.asarray(original, float)).mean() < 4


def test_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")]
    for file_format in ("GIF", "WEBP", "PNG"):
        data = file_of(frames[0], file_format, save_all=True, append_images=frames[1:], lossless=True)
        assert read(data).getpixel((4, 4)) == RED


def test_multi_picture_jpeg_of_a_phone_is_a_jpeg() -> None:
    data = file_of(Image.new("RGB", (8, 8), "red"), "MPO", save_all=True, append_images=[photo(8, 8)])
    red, green, blue = np.asarray(read(data))[4, 4]
    assert red > 240
    assert max(green, blue) < 10


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_undone(file_format: str, orientation: int) -> None:
    back = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    upright = quadrants()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright if back is None else upright.transpose(back)
    options = {"lossless": True} if file_format == "WEBP" else {"quality": 95, "subsampling": 0}
    picture = read_picture(file_of(stored, file_format, exif=exif, **options), side=16, max_pixels=1000)
    assert (picture.width, picture.height) == upright.size
    assert np.abs(np.asarray(picture.image, int) - np.asarray(upright, int)).max() < 30


def test_broken_exif_is_no_reason_to_refuse() -> None:
    data = file_of(quadrants(), "JPEG", exif=b"Exif\0\0not a directory")
    assert read(data).size == (32, 16)


def test_transparency_lies_on_white() -> None:
    half_red = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert read(file_of(half_red)).getpixel((0, 0)) == (255, 127, 127)
    grey_alpha = Image.new("LA", (4, 4), (0, 0))
    assert read(file_of(grey_alpha)).getpixel((0, 0)) == WHITE


def test_transparent_palette_entry_lies_on_white() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((0, 0), 0)
    for file_format in ("PNG", "GIF"):
        decoded = read(file_of(image, file_format, transparency=0))
        assert decoded.getpixel((0, 0)) == WHITE
        assert decoded.getpixel((3, 3)) == RED
    graded = read(file_of(image, "PNG", transparency=b"\x80\xff"))
    assert graded.getpixel((0, 0)) == (127, 127, 127)


def test_transparent_colour_of_a_png_lies_on_white() -> None:
    decoded = read(file_of(quadrants(), "PNG", transparency=(0, 0, 255)))
    assert decoded.getpixel((0, 15)) == WHITE
    assert decoded.getpixel((0, 0)) == RED


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "I;16"])
def test_every_png_mode_becomes_rgb(mode: str) -> None:
    assert read(file_of(Image.new(mode, (5, 3)))).mode == "RGB"


def test_cmyk_jpeg_keeps_its_colours() -> None:
    data = file_of(Image.new("RGB", (8, 8), "red").convert("CMYK"), "JPEG", quality=95)
    red, green, blue = np.asarray(read(data))[4, 4]
    assert red > 240
    assert max(green, blue) < 15


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    grey = np.array([[0, 257 * 100, 65535]], np.uint16)
    assert np.asarray(read(file_of(Image.fromarray(grey))))[0, :, 0].tolist() == [0, 100, 255]


def test_transparent_sixteen_bit_grey_lies_on_white() -> None:
    data = png(2, 1, 16, 0, b"\0" + struct.pack(">HH", 1000, 25700), (b"tRNS", struct.pack(">H", 1000)))
    assert np.asarray(read(data))[0, :, 0].tolist() == [255, 100]


def test_sixteen_bit_colour_is_read() -> None:
    data = png(1, 1, 16, 2, b"\0" + struct.pack(">HHH", 65535, 25700, 0))
    assert read(data).getpixel((0, 0)) == (255, 100, 0)


def test_empty_file_is_refused_by_name() -> None:
    assert refusal(b"").reason == "IMAGE_EMPTY"


@pytest.mark.parametrize("data", [b"hello, world", b"\0" * 1000, b"\xff\xd8\xff", b"BM", b"<html>"])
def test_other_bytes_are_refused_by_name(data: bytes) -> None:
    assert refusal(data).reason in {"IMAGE_UNREADABLE", "IMAGE_TRUNCATED"}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("TIFF", file_of(photo(), "TIFF")),
        ("AVIF", b"\0\0\0\x1cftypavif\0\0\0\0"),
        ("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0"),
        ("SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("PDF", b"%PDF-1.7"),
    ],
)
def test_format_that_is_not_supported_is_named(name: str, data: bytes) -> None:
    error = refusal(data)
    assert error.reason == "IMAGE_UNREADABLE"
    assert error.message.startswith(name)


@pytest.mark.parametrize(("file_format", "options"), FILES)
def test_truncated_file_is_refused_by_name_wherever_it_is_cut(
    file_format: str, options: dict[str, bool]
) -> None:
    whole = file_of(photo(), file_format, **options)
    pixels = np.asarray(read(whole))
    outcomes = {outcome(whole[:cut], pixels) for cut in range(12, len(whole), 1 if len(whole) < 2000 else 37)}
    assert outcomes - {"same pixels, only an end mark was lost"} == {"IMAGE_TRUNCATED"}


def outcome(data: bytes, pixels: np.ndarray) -> str:
    try:
        same = np.array_equal(np.asarray(read(data)), pixels)
    except InvalidArgument as error:
        return error.reason
    return "same pixels, only an end mark was lost" if same else "other pixels"


def test_damaged_file_is_refused_by_name() -> None:
    data = bytearray(file_of(photo()))
    data[data.index(b"IDAT") + 4] ^= 0xFF
    assert refusal(bytes(data)).reason == "IMAGE_UNREADABLE"


def test_picture_with_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    data = png(30_000, 2_000, 8, 2, b"")
    assert refusal(data, max_pixels=59_999_999).reason == "IMAGE_TOO_MANY_PIXELS"


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_bomb_beyond_what_pillow_allows_is_refused_by_the_same_name(side: int) -> None:
    assert refusal(png(side, side, 8, 2, b"")).reason == "IMAGE_TOO_MANY_PIXELS"


def test_big_jpeg_is_decoded_small_and_looks_the_same() -> None:
    original = photo(1600, 1200)
    data = file_of(original, "JPEG", quality=90)
    picture = read_picture(data, side=64, max_pixels=2_000_000)
    assert (picture.width, picture.height) == (1600, 1200)
    assert picture.image.size == (200, 150)
    plain = fit_square(Image.open(io.BytesIO(data)), 64)
    assert np.abs(fit_square(picture.image, 64).astype(int) - plain).max() <= 4


def test_big_jpeg_taken_upright_by_a_phone_is_reported_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = read_picture(file_of(photo(1600, 1200), "JPEG", exif=exif), side=64, max_pixels=2_000_000)
    assert (picture.width, picture.height) == (1200, 1600)
    assert picture.image.size == (150, 200)


def test_fit_square_squeezes_with_a_bicubic_filter() -> None:
    image = photo(40, 30)
    squeezed = fit_square(image, 16)
    assert squeezed.shape == (16, 16, 3)
    assert squeezed.dtype == np.uint8
    assert np.array_equal(squeezed, np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC)))
