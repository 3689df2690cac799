"""An audio file as samples, piece by piece, so that a recording can be heard like live speech."""

import asyncio
import io
from collections.abc import AsyncIterator, Iterator

import av
import av.error

from gateway.errors import ApiError, invalid
from gateway.speech import PCM
from servicekit.audio_files import ends_early

PIECE_S = 0.25
SHORTEST_S = 0.1  # as the speech service has it
SLACK_S = 1.0
_STEREO = 2

# A demuxer is chosen by the file's first bytes, never by FFmpeg's guess: some (playlists) open other files.
_DEMUXERS = (
    (b"RIFF", "wav"),
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b"\x1aE\xdf\xa3", "matroska"),
    (b"ID3", "mp3"),
)
_MP4_BRAND = slice(4, 8)


class Clip:
    """A recording; its samples are decoded while they are read."""

    def __init__(self, audio: bytes, max_s: float, param: str = "file"):
        """Opens the file; call it on a thread. Raises ApiError 400, as far as its header tells."""
        self._max_s, self._param = max_s, param
        demuxer = _demuxer(audio)
        if demuxer is None:
            raise invalid(
                "The file is not wav, mp3, flac, ogg, webm, mp4 or aac.", param, "AUDIO_UNSUPPORTED"
            )
        if ends_early(audio):
            raise invalid("The file ends before its last sample.", param, "AUDIO_TRUNCATED")
        try:
            self._container = av.open(io.BytesIO(audio), mode="r", format=demuxer)
            stream = self._container.streams.audio[0]
            layout = "stereo" if stream.channels == _STEREO else "mono"
            self.format = PCM(stream.rate, _STEREO if layout == "stereo" else 1)
            self._resampler = av.AudioResampler(format="s16", layout=layout, rate=stream.rate)
        except (av.error.FFmpegError, IndexError, ValueError) as error:
            raise self._unreadable() from error
        announced, tick_s = stream.duration or 0, stream.time_base or 0
        # An mp3 or AAC file is measured by its first frames; an Ogg file counts samples that are skipped.
        if demuxer not in ("mp3", "aac") and announced * tick_s > max_s + SLACK_S:
            self._container.close()
            raise self._too_long()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Samples, a quarter of a second at a time. Raises ApiError 400: broken, too short, too long."""
        frame_bytes = 2 * self.format.channels
        piece, limit = bytearray(), int(self._max_s * self.format.rate) * frame_bytes
        size = int(PIECE_S * self.format.rate) * frame_bytes
        blocks, total = self._blocks(), 0
        while block := await asyncio.to_thread(next, blocks, b""):
            total += len(block)
            if total > limit:
                raise self._too_long()
            piece += block
            if len(piece) >= size:
                yield bytes(piece)
                piece.clear()
        if total < int(SHORTEST_S * self.format.rate) * frame_bytes:
            raise invalid(
                f"The clip is shorter than {SHORTEST_S * 1e3:.0f} ms.", self._param, "AUDIO_TOO_SHORT"
            )
        if piece:
            yield bytes(piece)

    def _blocks(self) -> Iterator[bytes]:
        frame_bytes = 2 * self.format.channels
        try:
            with self._container as container:
                for frame in container.decode(audio=0):
                    yield from self._samples(frame, frame_bytes)
                yield from self._samples(None, frame_bytes)
        except (av.error.FFmpegError, ValueError) as error:
            raise self._unreadable() from error

    def _samples(self, frame: av.AudioFrame | None, frame_bytes: int) -> Iterator[bytes]:
        for resampled in self._resampler.resample(frame):
            yield bytes(resampled.planes[0])[: resampled.samples * frame_bytes]

    def _too_long(self) -> ApiError:
        return invalid(f"At most {self._max_s:g} seconds are taken.", self._param, "AUDIO_TOO_LONG")

    def _unreadable(self) -> ApiError:
        return invalid("The file cannot be decoded.", self._param, "AUDIO_UNREADABLE")


def _demuxer(audio: bytes) -> str | None:
    for magic, demuxer in _DEMUXERS:
        if audio.startswith(magic):
            return demuxer
    if audio[_MP4_BRAND] == b"ftyp":
        return "mp4"
    if audio.startswith((b"\xff\xf1", b"\xff\xf9")):
        return "aac"
    return "mp3" if audio[:1] == b"\xff" and audio[1:2] >= b"\xe0" else None
