"""The text of one utterance while it is spoken: the last draft, and behind it what the first pass writes."""

from services.speech.streaming.first_pass import FirstPass
from services.speech.streaming.framing import Tape
from services.speech.streaming.updates import Interim


class Caption:
    """Filled by both passes."""

    def __init__(self, index: int, first_pass: FirstPass | None):
        self.index = index
        self._first_pass = first_pass
        self._draft = ""
        self._stable = 0
        self._drafted_s = 0.0
        self._shown = Interim(index, "", 0)

    async def hear(self, tape: Tape) -> bool:
        """Lets the first pass hear what has been recorded; True when it heard anything."""
        return self._first_pass is not None and await self._first_pass.hear(tape)

    def redraft(self, text: str, stable: int, until_s: float) -> None:
        """A new draft of the first seconds; its first `stable` characters are committed."""
        self._draft, self._stable, self._drafted_s = text, stable, until_s

    def interim(self) -> Interim | None:
        """The text as it is now; None when that has been shown."""
        tail = "" if self._first_pass is None else self._first_pass.text_after(self._drafted_s)
        now = Interim(self.index, self._draft + tail, self._stable)
        if now == self._shown:
            return None
        self._shown = now
        return now
