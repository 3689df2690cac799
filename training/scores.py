"""Scores of captions and names."""

import re
from collections.abc import Iterable, Mapping, Sequence

import jieba
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider

_PUNCTUATION = re.compile(r"[^\w]", re.UNICODE)


def words(sentence: str) -> str:
    """The sentence as space-separated jieba words, without punctuation."""
    return " ".join(jieba.lcut(_PUNCTUATION.sub("", sentence)))


def caption_scores(said: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """CIDEr-D x 100 (document frequencies of these references) and BLEU-4 in percent."""
    candidates = {i: [words(sentence)] for i, sentence in enumerate(said)}
    truth = {i: [words(sentence) for sentence in group] for i, group in enumerate(references)}
    cider, _ = Cider().compute_score(truth, candidates)
    bleu, _ = Bleu(4).compute_score(truth, candidates, verbose=0)
    return {"cider_d": 100 * float(cider), "bleu_4": 100 * float(bleu[3])}


def names_in(text: str, names: Iterable[str]) -> list[str]:
    """Which names the text says, the longest match at each place: 番茄 in 大番茄 does not count apart."""
    pattern = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.findall(pattern, text)


def grocery_scores(
    said: Sequence[str], truth: Sequence[tuple[str, str]], coarse_of: Mapping[str, set[str]]
) -> dict[str, float]:
    """Share of photos, in percent, whose everyday name or coarse class was said.

    truth: (everyday name, coarse class) of each photo. coarse_of: what coarse classes a name may stand for.
    """
    fine_hits = coarse_hits = 0
    for sentence, (name, coarse) in zip(said, truth, strict=True):
        found = names_in(sentence, coarse_of)
        fine_hits += name in found
        coarse_hits += any(coarse in coarse_of[one] for one in found)
    return {"fine": 100 * fine_hits / len(said), "coarse": 100 * coarse_hits / len(said)}
