"""Text as it settles: what was said once is not taken back."""

import structlog

from gateway.speech import Heard

log = structlog.get_logger("speech")


class Deltas:
    """What each result of one utterance adds to what was sent before."""

    def __init__(self) -> None:
        self._sent = ""

    def push(self, heard: Heard) -> str:
        """Newly settled text; the final result settles all of it."""
        settled = heard.text if heard.segment else heard.stable
        if not settled.startswith(self._sent):
            # The contract rules it out, and the client still gets the final text as a whole.
            log.warning("the speech service took text back", utterance=heard.index)
            return ""
        delta, self._sent = settled[len(self._sent) :], settled
        return delta
