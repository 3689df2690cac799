"""Audio files to samples, never more than one block ahead: soundfile first, FFmpeg for what it cannot.

FFmpeg is told the demuxer that the first bytes ask for, so that no playlist or script is ever guessed.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import av
import numpy as np
import soundfile
from av.container import InputContainer

from servicekit.audio_files import ends_early, wav_data

BLOCK_FRAMES = 65_536

# (offset, signature, demuxer)
_FFMPEG = (
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (4, b"ftyp", "mov"),
    (0, b"OggS", "ogg"),
    (0, b"ID3", "mp3"),
    (0, b"\xff\xf1", "aac"),
    (0, b"\xff\xf9", "aac"),
    (0, b"\xff\xfb", "mp3"),
    (0, b"RIFF", "wav"),
    (0, b"fLaC", "flac"),
    (0, b"#!AMR", "amr"),
)


class UnreadableError(Exception):
    """The bytes are no audio that can be read."""


class TruncatedError(Exception):
    """The file ends before it should."""


@dataclass(frozen=True)
class Layout:
    """Rate in hertz and number of channels."""

    rate: int
    channels: int


class AudioFile(Protocol):
    """Something with a layout that gives float32 blocks [frames, channels] until it ends."""

    layout: Layout

    def blocks(self) -> Iterator[np.ndarray]: ...


def open_container(data: bytes) -> AudioFile:
    """The file's reader; raises UnreadableError or TruncatedError, here or while its blocks are read."""
    if ends_early(data):
        raise TruncatedError
    try:
        return _SoundFile(_with_length(data))
    except soundfile.LibsndfileError:
        return _FFmpegFile(data)


class _SoundFile:
    def __init__(self, data: bytes):
        self._file = soundfile.SoundFile(io.BytesIO(data))
        self.layout = Layout(self._file.samplerate, self._file.channels)

    def blocks(self) -> Iterator[np.ndarray]:
        with self._file as file:
            try:
                while len(block := file.read(BLOCK_FRAMES, "float32", always_2d=True)):
                    yield block
            except soundfile.LibsndfileError as error:
                raise TruncatedError from error


class _FFmpegFile:
    def __init__(self, data: bytes):
        demuxer = next((name for at, mark, name in _FFMPEG if data.startswith(mark, at)), None)
        if demuxer is None:
            raise UnreadableError
        try:
            self._container: InputContainer = av.open(  # type: ignore[assignment]
                io.BytesIO(data), format=demuxer, metadata_errors="ignore"
            )
            stream = next(iter(self._container.streams.audio), None)
        except (av.FFmpegError, ValueError) as error:
            raise UnreadableError from error
        if stream is None or not stream.rate or not stream.channels:
            self._container.close()
            raise UnreadableError
        self._stream = stream
        self.layout = Layout(stream.rate, stream.channels)

    def blocks(self) -> Iterator[np.ndarray]:
        planes = av.AudioResampler(format="fltp")
        try:
            with self._container:
                for frame in self._container.decode(self._stream):
                    for converted in planes.resample(frame):
                        yield converted.to_ndarray().T
        except (av.FFmpegError, ValueError) as error:
            raise UnreadableError from error


def _with_length(data: bytes) -> bytes:
    """A WAV file that was streamed says 0 for its length; soundfile would believe it."""
    at = wav_data(data) if data.startswith(b"RIFF") else None
    if at is None or any(data[at - 4 : at]):
        return data
    return data[: at - 4] + (len(data) - at).to_bytes(4, "little") + data[at:]
