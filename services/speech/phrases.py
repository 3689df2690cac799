"""Phrases to listen for, as a machine that knows which of them a text is in the middle of saying.

Aho-Corasick: each character of a phrase that fits earns its boost at once; what was earned is taken back when
the phrase breaks off, and kept once it is complete.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class _Node:
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
        for place, character in enumerate(ids):
            current = self._nodes[node]
            if character not in current.following:
                current.following[character] = len(self._nodes)
                self._nodes.append(_Node(earned=current.earned + boost))
            current.boosts[character] = max(boost, current.boosts.get(character, boost))
            node = current.following[character]
            if place == len(ids) - 1:
                self._nodes[node].earned = 0.0

    def _link(self) -> None:
        layer = list(self._nodes[0].following.values())
        while layer:
            deeper = []
            for node in layer:
                for character, target in self._nodes[node].following.items():
                    self._nodes[target].fallback = self.advance(self._nodes[node].fallback, character)
                    deeper.append(target)
            layer = deeper
