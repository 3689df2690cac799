"""A clip cut into utterances: at pauses, so that none is longer than the recogniser is comfortable with."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from services.speech.audio import Clip
from services.speech.endpointing import EndpointSettings
from services.speech.streaming.listening import Begin, Draft, Event, Listener
from services.speech.voice import WINDOW_S, VoiceNetwork

PIECE_S = 5.0


@dataclass(frozen=True)
class Stretch:
    """Samples of a clip from `start` up to, not including, `end`, and what is written down on the way."""

    start: int
    end: int
    drafts: tuple[Draft, ...] = ()


def find_utterances(
    clip: Clip,
    network: VoiceNetwork,
    settings: EndpointSettings,
    is_wanted: Callable[[], bool] = lambda: True,
) -> list[Stretch]:
    """Where somebody speaks, in order; nothing in a silent clip. A live stream finds the same.

    Stops, with what it has, once it is not wanted any more.
    """
    stretches: list[Stretch] = []
    drafts: list[Draft] = []
    for event in _listen(clip, Listener(clip.rate, network, settings), is_wanted):
        if isinstance(event, Begin):
            drafts = []
        elif isinstance(event, Draft):
            drafts.append(event)
        else:
            stretches.append(Stretch(event.first, event.end, tuple(drafts)))
    return stretches


def _listen(clip: Clip, listener: Listener, is_wanted: Callable[[], bool]) -> Iterator[Event]:
    piece = round(PIECE_S * clip.rate)
    for start in range(0, len(clip.samples), piece):
        if not is_wanted():
            return
        yield from listener.feed(clip.samples[start : start + piece])
    yield from listener.flush()


def endpoint_settings(silence_s: float, longest_s: float, unsaid_silence_s: float) -> EndpointSettings:
    """Settings for the detector's windows."""
    return EndpointSettings(WINDOW_S, silence_s, unsaid_silence_s=unsaid_silence_s, longest_s=longest_s)
