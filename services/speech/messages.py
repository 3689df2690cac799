"""Contract messages to what the service works with, and back; whatever is not right is refused by name."""

import math
from collections.abc import Sequence

from google.protobuf import duration_pb2

from autoglm.speech.v1 import speech_pb2
from servicekit.errors import InvalidArgument
from services.speech.audio import AudioFormat, Encoding
from services.speech.phrases import PhraseMachine
from services.speech.pipeline import Segment, Transcript
from services.speech.vocabulary import Vocabulary

LANGUAGE = "zh-CN"
MOST_PHRASES = 500
LONGEST_PHRASE = 32
LARGEST_BOOST = 10.0

_ENCODINGS = {
    speech_pb2.AUDIO_ENCODING_UNSPECIFIED: Encoding.CONTAINER,
    speech_pb2.AUDIO_ENCODING_CONTAINER: Encoding.CONTAINER,
    speech_pb2.AUDIO_ENCODING_PCM_S16LE: Encoding.PCM_S16LE,
    speech_pb2.AUDIO_ENCODING_PCM_F32LE: Encoding.PCM_F32LE,
}


def audio_format(message: speech_pb2.AudioFormat) -> AudioFormat:
    """How a clip's bytes are laid out."""
    encoding = _ENCODINGS.get(message.encoding)
    if encoding is None:
        raise InvalidArgument(
            "AUDIO_ENCODING_UNKNOWN", "This encoding is not in the contract.", field="format.encoding"
        )
    channels = message.channel_count if message.HasField("channel_count") else 1
    return AudioFormat(encoding, message.sample_rate_hertz, channels)


def check_language(code: str) -> None:
    """Refuses any language but Mandarin in simplified characters; none at all is taken as that."""
    if code.lower() not in ("", "zh", "zh-cn", "zh-hans", "zh-hans-cn", "cmn", "cmn-hans-cn"):
        raise InvalidArgument(
            "LANGUAGE_UNSUPPORTED", f"Only Mandarin ({LANGUAGE}) is understood.", field="language_code"
        )


def phrase_machine(
    messages: Sequence[speech_pb2.Phrase], vocabulary: Vocabulary, default_boost: float
) -> PhraseMachine | None:
    """The phrases to listen for; one with a character that is never written is left out: it cannot match."""
    if len(messages) > MOST_PHRASES:
        raise _bad_phrase(f"There are more than {MOST_PHRASES} phrases.", "phrases")
    phrases = []
    for index, message in enumerate(messages):
        boost = message.boost if message.HasField("boost") else default_boost
        if not 1 <= len(message.text) <= LONGEST_PHRASE:
            raise _bad_phrase(f"A phrase has 1 to {LONGEST_PHRASE} characters.", f"phrases[{index}].text")
        if not math.isfinite(boost) or abs(boost) > LARGEST_BOOST:
            raise _bad_phrase(
                f"A boost lies between -{LARGEST_BOOST:g} and {LARGEST_BOOST:g}.", f"phrases[{index}].boost"
            )
        ids = vocabulary.ids(message.text)
        if ids is not None:
            phrases.append((ids, boost))
    return PhraseMachine(phrases) if phrases else None


def segment_message(segment: Segment) -> speech_pb2.TranscriptSegment:
    """One utterance; characters are placed in the clip, not in the utterance."""
    hypothesis = segment.hypothesis
    return speech_pb2.TranscriptSegment(
        text=hypothesis.text,
        start_offset=duration(segment.start_s),
        end_offset=duration(segment.end_s),
        confidence=hypothesis.confidence,
        characters=[
            speech_pb2.TranscriptCharacter(
                text=character.text,
                start_offset=duration(segment.start_s + character.start_s),
                end_offset=duration(min(segment.end_s, segment.start_s + character.end_s)),
                confidence=character.confidence,
            )
            for character in hypothesis.characters
        ],
    )


def transcript_message(transcript: Transcript) -> speech_pb2.TranscribeResponse:
    """Everything said in a clip."""
    return speech_pb2.TranscribeResponse(
        text=transcript.text,
        segments=[segment_message(segment) for segment in transcript.segments],
        audio_duration=duration(transcript.seconds),
        language_code=LANGUAGE,
    )


def duration(seconds: float) -> duration_pb2.Duration:
    """Seconds as the contract writes them."""
    message = duration_pb2.Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def _bad_phrase(message: str, field: str) -> InvalidArgument:
    return InvalidArgument("PHRASE_INVALID", message, field=field)
