"""CIDEr-D (arXiv:1411.5726) with document frequencies of a fixed corpus, fast enough to be a reward."""

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

SIGMA = 6.0
ORDERS = 4

Gram = tuple[str, ...]


class CiderD:
    """Scores sentences (words between spaces) against the references of one document of the corpus."""

    def __init__(self, references: Mapping[Any, Sequence[str]]):
        counted = {name: [_grams(text) for text in texts] for name, texts in references.items()}
        frequency = Counter(
            gram for texts in counted.values() for gram in {g for grams in texts for g in grams}
        )
        self._log_documents = math.log(len(references))
        self._idf = {gram: self._log_documents - math.log(count) for gram, count in frequency.items()}
        self._references = {name: [self._weigh(grams) for grams in texts] for name, texts in counted.items()}

    def score(self, name: Hashable, sentence: str) -> float:
        """Between 0 and 10."""
        said, said_norms, said_length = self._weigh(_grams(sentence))
        references = self._references[name]
        total = 0.0
        for vector, norms, length in references:
            penalty = math.exp(-((said_length - length) ** 2) / (2 * SIGMA**2))
            products = [0.0] * ORDERS
            for gram, weight in said.items():
                there = vector.get(gram)
                if there is not None:
                    products[len(gram) - 1] += min(weight, there) * there
            total += penalty * sum(
                product / (ours * theirs)
                for product, ours, theirs in zip(products, said_norms, norms, strict=True)
                if ours and theirs
            )
        return 10 * total / ORDERS / len(references)

    def _weigh(self, grams: Counter[Gram]) -> tuple[dict[Gram, float], list[float], int]:
        """Weights by term and inverse document frequency, their norms by order, how many pairs there are."""
        vector = {gram: count * self._idf.get(gram, self._log_documents) for gram, count in grams.items()}
        squares = [0.0] * ORDERS
        for gram, weight in vector.items():
            squares[len(gram) - 1] += weight**2
        length = sum(count for gram, count in grams.items() if len(gram) == 2)
        return vector, [math.sqrt(square) for square in squares], length


def _grams(sentence: str) -> Counter[Gram]:
    words = sentence.split()
    return Counter(
        tuple(words[start : start + order])
        for order in range(1, ORDERS + 1)
        for start in range(len(words) - order + 1)
    )
