"""Whether an audio file has the end that its format promises; decoders pass over a missing one in silence."""

STREAMED = 0x7FFFFFFF
"""Lengths from here on are no lengths: whoever wrote the header did not know."""


def ends_early(data: bytes) -> bool:
    """True for a WAV or Ogg file that was cut off; other formats are for their decoders to judge."""
    if data.startswith(b"RIFF") and data[8:12] == b"WAVE":
        return _wav_ends_early(data)
    return data.startswith(b"OggS") and _ogg_ends_early(data)


def wav_data(data: bytes) -> int | None:
    """Where the samples of a WAV file begin; None when there are none."""
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"data":
            return at + 8
        at += 8 + size + size % 2
    return None


def _wav_ends_early(data: bytes) -> bool:
    """True when the data chunk announces more than there is. A stream's 0 or 2^32 - 1 announces nothing."""
    at = wav_data(data)
    if at is None:
        return True
    size = int.from_bytes(data[at - 4 : at], "little")
    return size < STREAMED and at + size > len(data)


def _ogg_ends_early(data: bytes) -> bool:
    """True unless the last page is whole and says that it ends the stream (RFC 3533)."""
    last = data.rfind(b"OggS")
    if len(data) < last + 27:
        return True
    lengths = data[last + 27 : last + 27 + data[last + 26]]
    return not data[last + 5] & 0x04 or len(data) < last + 27 + len(lengths) + sum(lengths)
