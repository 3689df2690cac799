"""How much a step may take in, so that running answers keep their time per token.

What steps cost is measured: answers by how many share a step, prompts by token. No model of the hardware,
so it holds on any.
"""

RISE, FALL = 0.1, 0.5  # slow to believe in a hiccup, quick to forget one
HEADROOM = 0.8  # aimed at, so that the slow steps still hold the target


class Pace:
    """Learns what steps take; with a target of 0 seconds it only tells, and limits nothing."""

    def __init__(self, target_seconds: float = 0.0, smallest_chunk: int = 16):
        self._target = target_seconds * HEADROOM
        self._smallest_chunk = smallest_chunk
        self._answer_seconds: dict[int, float] = {}
        self._prompt_token_seconds = 0.0

    def learn(self, answers: int, prompt_tokens: int, seconds: float) -> None:
        """Takes in what a step with that many answers and prompt tokens took."""
        if prompt_tokens:
            sample = max(0.0, seconds - self.answer_seconds(answers)) / prompt_tokens
            self._prompt_token_seconds = _mix(self._prompt_token_seconds, sample)
        elif answers:
            self._answer_seconds[answers] = _mix(self._answer_seconds.get(answers, 0.0), seconds)

    def answer_seconds(self, answers: int) -> float:
        """What a step of that many answers takes; of more than were ever seen at most in proportion."""
        if not answers or not self._answer_seconds:
            return 0.0
        smaller = max((n for n in self._answer_seconds if n <= answers), default=None)
        if smaller is None:
            return self._answer_seconds[min(self._answer_seconds)]
        return self._answer_seconds[smaller] * answers / smaller

    def prompt_seconds(self, tokens: int) -> float:
        """What that many prompt tokens take."""
        return tokens * self._prompt_token_seconds

    def prompt_tokens(self, answers: int, most: int) -> int:
        """Prompt tokens that fit beside the answers; a few always do, so that prompts go on."""
        if not (self._target and answers and self._prompt_token_seconds):
            return most
        left = self._target - self.answer_seconds(answers)
        return min(most, max(self._smallest_chunk, int(left / self._prompt_token_seconds)))

    def admits(self, running: int) -> bool:
        """Whether one more may join, and all still get their tokens in time."""
        if not (self._target and running):
            return True
        return self.answer_seconds(running + 1) + self.prompt_seconds(self._smallest_chunk) <= self._target


def _mix(known: float, sample: float) -> float:
    if not known:
        return sample
    return known + (RISE if sample > known else FALL) * (sample - known)
