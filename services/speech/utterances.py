"""A clip cut into utterances: at pauses, so that none is longer than the recogniser is comfortable with."""

from dataclasses import dataclass

from services.speech.audio import Clip
from services.speech.endpointing import EndpointSettings
from services.speech.streaming.listening import Begin, Draft, Listener
from services.speech.voice import WINDOW_S, VoiceNetwork


@dataclass(frozen=True)
class Stretch:
    """Samples of a clip from `start` up to, not including, `end`, and what is written down on the way."""

    start: int
    end: int
    drafts: tuple[Draft, ...] = ()


def find_utterances(clip: Clip, network: VoiceNetwork, settings: EndpointSettings) -> list[Stretch]:
    """Where somebody speaks, in order; nothing in a silent clip. A live stream finds the same."""
    listener = Listener(clip.rate, network, settings)
    stretches: list[Stretch] = []
    drafts: list[Draft] = []
    for event in (*listener.feed(clip.samples), *listener.flush()):
        if isinstance(event, Begin):
            drafts = []
        elif isinstance(event, Draft):
            drafts.append(event)
        else:
            stretches.append(Stretch(event.first, event.end, tuple(drafts)))
    return stretches


def endpoint_settings(silence_s: float, longest_s: float, unsaid_silence_s: float) -> EndpointSettings:
    """Settings for the detector's windows."""
    return EndpointSettings(WINDOW_S, silence_s, unsaid_silence_s=unsaid_silence_s, longest_s=longest_s)
