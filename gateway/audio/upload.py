"""A multipart upload, refused as soon as it grows too large."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from gateway.body import BodyReader
from gateway.errors import ApiError, invalid

FORM_BYTES = 1 << 18  # of everything beside the file
MAX_FIELDS = 256
MAX_FIELD_BYTES = 1 << 16


@dataclass(frozen=True)
class Upload:
    """One file, and the fields around it in order."""

    audio: bytes
    fields: list[tuple[str, str]]


@asynccontextmanager
async def read_upload(request: Request, bodies: BodyReader, max_bytes: int) -> AsyncIterator[Upload]:
    """The upload, counted as held until the block ends.

    ApiError 400 for another form than one with a file, 413 before more than `max_bytes` are kept.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise invalid("Send multipart/form-data with a file.", "file", "invalid_content_type")
    async with bodies.parts(request, max_bytes + FORM_BYTES) as parts:
        parser = MultiPartParser(
            request.headers, parts, max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES
        )
        parser.spool_max_size = max_bytes + FORM_BYTES + 1  # stays in memory, which is counted
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise invalid(f"The form cannot be read: {error.message}", None, "invalid_form") from error
        except (LookupError, UnicodeError) as error:
            raise invalid("The form's charset is not known.", None, "invalid_form") from error
        try:
            yield await _upload(list(form.multi_items()), max_bytes)
        finally:
            await form.close()


async def _upload(items: list[tuple[str, UploadFile | str]], max_bytes: int) -> Upload:
    file = next((value for name, value in items if name == "file"), None)
    if not isinstance(file, UploadFile):
        raise invalid("A file is missing.", "file", "missing_required_parameter")
    audio = await file.read()
    if len(audio) > max_bytes:
        raise ApiError(
            413, "request_too_large", f"A file of at most {max_bytes} bytes is taken.", param="file"
        )
    if not audio:
        raise invalid("There is nothing in it.", "file", "media_empty")
    return Upload(audio, [(name, value) for name, value in items if isinstance(value, str)])
