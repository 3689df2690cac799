"""What a stream tells its client; times in seconds of the stream."""

from dataclasses import dataclass

from services.speech.recogniser import Hypothesis


@dataclass(frozen=True)
class SpeechBegan:
    """Somebody speaks."""

    at_s: float


@dataclass(frozen=True)
class SpeechEnded:
    """The utterance is over; its text follows."""

    at_s: float


@dataclass(frozen=True)
class Interim:
    """An utterance so far; the first `stable` characters will not be taken back."""

    index: int
    text: str
    stable: int


@dataclass(frozen=True)
class Final:
    """An utterance's last word, and the digest of its samples as a WAV file."""

    index: int
    hypothesis: Hypothesis
    start_s: float
    end_s: float
    digest: bytes


Told = SpeechBegan | SpeechEnded | Interim | Final


@dataclass(frozen=True)
class Update:
    """Something that was heard, and how much of the stream it accounts for; that never shrinks."""

    what: Told
    processed_s: float
