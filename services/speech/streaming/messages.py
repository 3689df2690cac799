"""A stream's messages: the config, samples, and what was heard; whatever is not right is refused by name."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np

from autoglm.speech.v1 import speech_pb2
from servicekit.errors import DeadlineExceeded, InvalidArgument
from services.speech.audio import AudioFormat, Encoding, check_format
from services.speech.messages import audio_format, check_language, duration, phrase_machine, segment_message
from services.speech.pipeline import Segment
from services.speech.settings import SpeechSettings
from services.speech.streaming.framing import Framer
from services.speech.streaming.inbox import Inbox
from services.speech.streaming.session import Listening
from services.speech.streaming.updates import Final, Interim, SpeechBegan, Update
from services.speech.vocabulary import Vocabulary

Request = speech_pb2.StreamTranscribeRequest
Response = speech_pb2.StreamTranscribeResponse

PIECE_S = 0.25
"""Large messages are heard in pieces of this length, so that results come in between."""
SHORTEST_SILENCE_S, LONGEST_SILENCE_S = 0.1, 5.0


@dataclass(frozen=True)
class StreamReader:
    """Reads one stream; all of it raises a ServiceError."""

    requests: Inbox[Request]
    settings: SpeechSettings

    async def config(self, vocabulary: Vocabulary) -> Listening:
        """The first message."""
        request = await self._next(self.settings.stream_idle_seconds)
        if request is None or request.WhichOneof("part") != "config":
            raise InvalidArgument(
                "CONFIG_MISSING", "The first message of a stream holds its config.", field="config"
            )
        config = request.config
        check_language(config.language_code)
        layout = _raw_format(config)
        silence_s = _silence(config, self.settings.endpoint_silence_s)
        return Listening(
            layout=layout,
            phrases=phrase_machine(config.phrases, vocabulary, self.settings.phrase_boost),
            silence_s=silence_s,
            interim=config.interim_results if config.HasField("interim_results") else True,
            # Phrases and longer pauses are no part of the sound, and other samples than these are rounded.
            faithful=not config.phrases
            and silence_s <= self.settings.endpoint_silence_s
            and layout.encoding is Encoding.PCM_S16LE
            and layout.channels == 1,
        )

    async def audio(self, layout: AudioFormat) -> AsyncIterator[np.ndarray]:
        """Mono samples in pieces, until the client closes its half."""
        framer = Framer(layout)
        most = self.settings.max_stream_seconds * layout.rate
        piece = int(PIECE_S * layout.rate)
        idle_s = self.settings.stream_idle_seconds
        last_sound = time.monotonic()
        total = 0
        while (request := await self._next(last_sound + idle_s - time.monotonic())) is not None:
            samples = framer.feed(self._samples(request))
            kept = samples[: max(0, int(most) - total)]
            total += len(samples)
            for start in range(0, len(kept), piece):
                yield kept[start : start + piece]
            if total > most:
                raise InvalidArgument(
                    "AUDIO_TOO_LONG",
                    f"The stream is longer than {self.settings.max_stream_seconds:g} s.",
                    field="audio",
                )
            if request.audio:
                last_sound = time.monotonic()
        framer.close()

    def _samples(self, request: Request) -> bytes:
        kind = request.WhichOneof("part")
        if kind == "config":
            raise InvalidArgument("CONFIG_REPEATED", "A stream has one config.", field="config")
        if kind is None:
            raise InvalidArgument("MESSAGE_EMPTY", "The message holds neither config nor audio.")
        most = self.settings.max_stream_chunk_bytes
        if len(request.audio) > most:
            raise InvalidArgument(
                "AUDIO_TOO_LARGE", f"The message holds more than {most:,} bytes.", field="audio"
            )
        return request.audio

    async def _next(self, timeout_s: float) -> Request | None:
        try:
            return await self.requests.next(timeout_s)
        except TimeoutError as error:
            raise DeadlineExceeded("AUDIO_STALLED", "No audio has come for too long.") from error


def response(update: Update) -> Response:
    """What was heard, as the contract says it."""
    processed, what = duration(update.processed_s), update.what
    if isinstance(what, Interim):
        return Response(result=_interim(what), audio_processed=processed)
    if isinstance(what, Final):
        return Response(result=_final(what), audio_processed=processed)
    kind = (
        speech_pb2.SPEECH_EVENT_TYPE_SPEECH_BEGIN
        if isinstance(what, SpeechBegan)
        else speech_pb2.SPEECH_EVENT_TYPE_SPEECH_END
    )
    event = speech_pb2.SpeechEvent(type=kind, offset=duration(what.at_s))
    return Response(speech_event=event, audio_processed=processed)


def _interim(interim: Interim) -> speech_pb2.StreamTranscribeResult:
    return speech_pb2.StreamTranscribeResult(
        utterance_index=interim.index, text=interim.text, stable_character_count=interim.stable
    )


def _final(final: Final) -> speech_pb2.StreamTranscribeResult:
    text = final.hypothesis.text
    return speech_pb2.StreamTranscribeResult(
        utterance_index=final.index,
        is_final=True,
        text=text,
        stable_character_count=len(text),
        segment=segment_message(Segment(final.hypothesis, final.start_s, final.end_s)),
        media_digest=final.digest,
    )


def _raw_format(config: speech_pb2.StreamTranscribeConfig) -> AudioFormat:
    layout = audio_format(config.format)
    if not layout.is_raw:
        raise InvalidArgument(
            "AUDIO_ENCODING_UNSUPPORTED",
            "A stream is raw audio: its encoding is PCM_S16LE or PCM_F32LE.",
            field="config.format.encoding",
        )
    check_format(layout)
    return layout


def _silence(config: speech_pb2.StreamTranscribeConfig, default_s: float) -> float:
    if not config.HasField("endpoint_silence"):
        return default_s
    silence_s = config.endpoint_silence.seconds + config.endpoint_silence.nanos / 1e9
    if not SHORTEST_SILENCE_S <= silence_s <= LONGEST_SILENCE_S:
        raise InvalidArgument(
            "PARAMETER_OUT_OF_RANGE",
            f"The silence lies between {SHORTEST_SILENCE_S:g} and {LONGEST_SILENCE_S:g} s.",
            field="config.endpoint_silence",
        )
    return silence_s
