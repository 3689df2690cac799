"""Media in JSON: what is taken, what is refused, and what compression keeps."""

import base64
import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from gateway.errors import ApiError
from gateway.media import compress_image, read_base64, read_data_url
from tests.pictures import file_of, photo, quadrants

MAX_BYTES = 100
QUALITY_80 = Image.open(io.BytesIO(file_of(photo(), "JPEG", quality=80)))


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def refusal_of_url(url: str) -> ApiError:
    with pytest.raises(ApiError) as refused:
        read_data_url(url, "url", MAX_BYTES)
    assert (refused.value.status, refused.value.param) == (400, "url")
    return refused.value


def refusal_of_base64(text: str) -> ApiError:
    with pytest.raises(ApiError) as refused:
        read_base64(text, "data", MAX_BYTES)
    assert (refused.value.status, refused.value.param) == (400, "data")
    return refused.value


@pytest.mark.parametrize(
    "head",
    [
        "data:image/png;base64,",
        "DATA:Image/PNG;BASE64,",
        "data:image/svg+xml;base64,",
        "data:image/jpeg;name=a.jpg;charset=utf-8;base64,",
    ],
)
def test_a_data_url_of_a_picture_is_read(head: str) -> None:
    assert read_data_url(head + encoded(b"picture"), "url", MAX_BYTES) == b"picture"


@pytest.mark.parametrize(
    "url", ["https://example.org/a.png", "http://127.0.0.1/a.png", "HTTPS://example.org"]
)
def test_a_remote_picture_is_never_fetched(url: str) -> None:
    error = refusal_of_url(url)
    assert error.code == "image_url_unsupported"
    assert error.message.startswith("Remote pictures are not fetched")


@pytest.mark.parametrize(
    "url", ["", "file:///etc/passwd", "data:image/png,abc", "data:image/png;base64", "iVBORw0KGgo="]
)
def test_what_is_no_base64_data_url_is_refused(url: str) -> None:
    assert refusal_of_url(url).code == "image_url_unsupported"


@pytest.mark.parametrize("kind", ["text/plain", "audio/wav", ""])
def test_a_data_url_of_something_else_is_refused(kind: str) -> None:
    assert refusal_of_url(f"data:{kind};base64,AAAA").code == "invalid_value"


@pytest.mark.parametrize("start", ["data:" + "a" * 1_000_000, "data:image/png" + ";a=b" * 250_000])
def test_an_endless_head_is_refused_at_once_and_not_repeated(start: str) -> None:
    assert len(refusal_of_url(start).message) < 200


@pytest.mark.parametrize("text", ["====", "AAA", "AAAA\n", "AA AA", "AA-_", "AAAA=AAA", "図図図図"])
def test_base64_is_read_strictly(text: str) -> None:
    assert refusal_of_base64(text).code == "invalid_base64"


def test_empty_media_are_refused() -> None:
    assert refusal_of_base64("").code == "media_empty"


@pytest.mark.parametrize("size", range(MAX_BYTES - 2, MAX_BYTES + 1))
def test_media_up_to_the_limit_are_read(size: int) -> None:
    assert len(read_base64(encoded(bytes(size)), "data", MAX_BYTES)) == size


@pytest.mark.parametrize("size", range(MAX_BYTES + 1, MAX_BYTES + 4))
def test_one_byte_more_is_refused(size: int) -> None:
    assert refusal_of_base64(encoded(bytes(size))).code == "media_too_large"


@pytest.mark.parametrize(
    ("size", "fitted"), [((1024, 512), (512, 256)), ((600, 3000), (102, 512)), ((40, 30), (40, 30))]
)
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_a_compressed_picture_fits_512_and_is_never_enlarged(
    size: tuple[int, int], fitted: tuple[int, int], file_format: str
) -> None:
    small = Image.open(io.BytesIO(compress_image(file_of(photo(*size), file_format))))
    assert (small.format, small.mode, small.size) == ("JPEG", "RGB", fitted)


def test_a_compressed_picture_has_quality_80() -> None:
    small = Image.open(io.BytesIO(compress_image(file_of(photo(), "PNG"))))
    assert small.quantization == QUALITY_80.quantization  # type: ignore[attr-defined]


def test_a_rotated_photo_is_upright_after_compression() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # to be shown a quarter turn clockwise
    sent = file_of(quadrants(1600, 800), "JPEG", quality=95, exif=exif)
    small = Image.open(io.BytesIO(compress_image(sent)))
    assert small.size == (256, 512)
    assert not small.getexif().get(ExifTags.Base.Orientation)
    corners = [small.getpixel(at) for at in ((20, 20), (236, 20), (20, 492), (236, 492))]
    expected = [(0, 0, 255), (255, 0, 0), (255, 255, 255), (0, 255, 0)]
    np.testing.assert_allclose(np.array(corners), expected, atol=12)


def test_transparency_becomes_white() -> None:
    sent = file_of(Image.new("RGBA", (8, 8), (255, 0, 0, 0)))
    small = Image.open(io.BytesIO(compress_image(sent)))
    np.testing.assert_allclose(np.asarray(small), 255, atol=2)


@pytest.mark.parametrize(
    "data",
    [
        b"no picture",
        file_of(photo(), "PNG")[:-30],
        file_of(photo(), "TIFF"),
        file_of(Image.fromarray(np.full((4, 4), 40_000, np.uint16))),
        file_of(Image.new("1", (8000, 8000))),
    ],
    ids=["no picture", "cut off", "another format", "16 bits", "a bomb"],
)
def test_what_cannot_be_compressed_well_goes_on_as_it_is(data: bytes) -> None:
    assert compress_image(data) is data
