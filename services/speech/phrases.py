"""Phrases to listen for, as a machine that knows which of them a text is in the middle of saying.

Aho-Corasick: each character of a phrase that fits earns its boost at once; what was earned is taken back when
the phrase breaks off, and kept once it is complete.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class _Node:
    complete: bool = False
    earned: float = 0.0
    """Boosts that are lost when the phrase breaks off here."""
    following: dict[int, int] = field(default_factory=dict)
    boosts: dict[int, float] = field(default_factory=dict)
    fallback: int = 0


class PhraseMachine:
    """States are integers; 0 is the state of having said nothing of any phrase."""

    def __init__(self, phrases: Sequence[tuple[Sequence[int], float]]):
        """Phrases as character ids, each with the log-probability that each of its characters earns."""
        self._nodes = [_Node()]
        for ids, boost in phrases:
            self._add(ids, boost)
        self._link()

    def bonuses(self, state: int) -> tuple[float, dict[int, float]]:
        """What the next character earns: any one that leads nowhere, and those that lead on."""
        pending = self._nodes[state].earned
        special: dict[int, float] = {}
        for node in self._suffixes(state):
            for character, boost in self._nodes[node].boosts.items():
                special.setdefault(character, self._nodes[node].earned + boost - pending)
        return -pending, special

    def advance(self, state: int, character: int) -> int:
        """The state after one more character."""
        for node in self._suffixes(state):
            if character in self._nodes[node].following:
                return self._nodes[node].following[character]
        return 0

    def _suffixes(self, state: int) -> list[int]:
        """The state and all shorter beginnings of phrases that it ends with, the empty one last."""
        chain = [state]
        while chain[-1]:
            chain.append(self._nodes[chain[-1]].fallback)
        return chain

    def _add(self, ids: Sequence[int], boost: float) -> None:
        node = 0
        for character in ids:
            current = self._nodes[node]
            if character not in current.following:
                current.following[character] = len(self._nodes)
                self._nodes.append(_Node())
            current.boosts[character] = max(boost, current.boosts.get(character, boost))
            node = current.following[character]
        self._nodes[node].complete = True

    def _link(self) -> None:
        """Once all phrases are there: their order makes no difference."""
        layer = [0]
        while layer:
            deeper = []
            for node in layer:
                current = self._nodes[node]
                for character, target in current.following.items():
                    ahead = self._nodes[target]
                    ahead.earned = 0.0 if ahead.complete else current.earned + current.boosts[character]
                    ahead.fallback = self.advance(current.fallback, character) if node else 0
                    deeper.append(target)
            layer = deeper
