"""Prompt lookup: an answer that repeats earlier words is guessed from them.

The guesses are checked by the model itself in one pass, so the answer stays what it was; only the number of
passes changes. After https://github.com/apoorvumang/prompt-lookup-decoding.
"""

from collections.abc import Sequence

NGRAM = 3
PATIENCE = 2  # fruitless guesses in a row
REST = 16  # tokens without guesses after that; doubled each time it does not help


class Lookup:
    """Finds where a sequence's latest tokens stood before, and guesses that the same will follow."""

    def __init__(self) -> None:
        self._followed_at: dict[tuple[int, ...], int] = {}
        self._indexed = NGRAM
        self._length = 2
        self._misses, self._rest, self._resumes_at = 0, REST, 0

    def propose(self, token_ids: Sequence[int], most: int) -> tuple[int, ...]:
        """At most `most` tokens that may come next; none while guessing does not pay."""
        if most < 1 or len(token_ids) < max(NGRAM, self._resumes_at):
            return ()
        for end in range(self._indexed, len(token_ids)):
            self._followed_at[tuple(token_ids[end - NGRAM : end])] = end
        self._indexed = max(self._indexed, len(token_ids))
        start = self._followed_at.get(tuple(token_ids[-NGRAM:]))
        return () if start is None else tuple(token_ids[start : start + min(most, self._length)])

    def learn(self, proposed: int, accepted: int, length: int) -> None:
        """Grows with success; rests when guesses fail. `length`: the sequence's, in tokens, by now."""
        if accepted:
            self._length = 2 * self._length if accepted == proposed else accepted + 1
            self._misses, self._rest = 0, REST
            return
        self._length, self._misses = 1, self._misses + 1
        if self._misses >= PATIENCE:
            self._misses, self._resumes_at = 0, length + self._rest
            self._rest *= 2
