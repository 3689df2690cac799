"""What a clip is called: the SHA-256 of the file that it is, or that raw audio would be as WAV."""

import hashlib
import struct

from services.speech.audio import AudioFormat, Encoding

PCM, IEEE_FLOAT = 1, 3


def clip_digest(data: bytes, layout: AudioFormat) -> bytes:
    """Digest of a file, or of raw audio behind the 44-byte header that makes a WAV file of it."""
    digest = hashlib.sha256()
    if layout.is_raw:
        digest.update(wav_header(len(data), layout))
    digest.update(data)
    return digest.digest()


def wav_header(size: int, layout: AudioFormat) -> bytes:
    """The header of a WAV file with `size` bytes of samples."""
    kind = PCM if layout.encoding is Encoding.PCM_S16LE else IEEE_FLOAT
    frame_bytes = layout.frame_bytes
    bits = 8 * frame_bytes // layout.channels
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, kind, layout.channels, layout.rate),
        *(layout.rate * frame_bytes, frame_bytes, bits, b"data", size),
    )
