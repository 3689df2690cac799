"""The stages of a training: what moves, how fast, and what is learned of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from training.batches import Mix

BALANCED = Mix()
BESIDE_THE_CRITIC = Mix(photos=4, scenes=7, pairs=4, labels=1, dialogues=5)  # so that nothing is forgotten
SIGHT = Mix(photos=6, scenes=20, pairs=9, labels=1, dialogues=5)  # what is where, before how it is told


@dataclass(frozen=True)
class Stage:
    """What moves, and how fast."""

    share: float  # of the budget
    learning_rate: float
    head_rate: float  # the ImageNet 1x1 convolution
    stem_rate: float  # the stem's last stages; 0 keeps them frozen
    dropout: float
    critic: float = 0.0  # weight of the self-critical loss; 0 leaves it out
    mix: Mix = BALANCED


class Recipe(StrEnum):
    """What a training is for."""

    WHOLE = "whole"
    CONTINUED = "continued"
    POLISHED = "polished"


# The stem is frozen, then its last two stages move too, then it is frozen again while the rest settles.
WHOLE = (
    Stage(0.25, 1e-3, 1e-4, 0.0, 0.0),
    Stage(0.4, 8e-4, 1e-4, 2e-4, 0.1),
    Stage(0.1, 3e-4, 3e-5, 0.0, 0.1),
    Stage(0.25, 1e-4, 1e-5, 0.0, 0.1, critic=2.0),
)
# From a bundle: its stem stays as it is.
CONTINUED = (
    Stage(0.5, 7e-4, 1e-4, 0.0, 0.05, mix=SIGHT),
    Stage(0.1, 3e-4, 3e-5, 0.0, 0.1, mix=SIGHT),
    Stage(0.4, 1e-4, 1e-5, 0.0, 0.1, critic=2.0, mix=BESIDE_THE_CRITIC),
)
# From a bundle that is a mean of others: what they disagreed on comes together again.
POLISHED = (Stage(1.0, 1.5e-4, 1e-5, 0.0, 0.1, critic=2.0, mix=BESIDE_THE_CRITIC),)
STAGES_OF: Mapping[Recipe, Sequence[Stage]] = {
    Recipe.WHOLE: WHOLE,
    Recipe.CONTINUED: CONTINUED,
    Recipe.POLISHED: POLISHED,
}
