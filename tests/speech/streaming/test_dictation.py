"""What two drafts agree on is committed, and every later text begins with it."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from services.speech.quiet import Quiet
from services.speech.recogniser import Hypothesis
from services.speech.runtime import Recognised, Runtime, Utterance, Written
from services.speech.streaming.dictation import Dictation


@dataclass
class Scripted:
    """Writes what it is told to, behind what has been committed."""

    drafts: list[tuple[int, ...]]
    prefixes: list[tuple[int, ...]] = field(default_factory=list)
    guesses: list[tuple[int, ...]] = field(default_factory=list)

    async def draft(self, utterance: Utterance, *, live: bool) -> Written:
        self.prefixes.append(utterance.prefix)
        self.guesses.append(utterance.guess)
        return Written(self.drafts.pop(0), utterance.samples_N, Quiet(), 0.5)

    async def recognise(self, utterance: Utterance, *, live: bool) -> Recognised:
        self.prefixes.append(utterance.prefix)
        return Recognised(Hypothesis(utterance.prefix, (), utterance.samples_N), 0.25)


async def committed(drafts: list[tuple[int, ...]], *, binding: bool = True) -> list[tuple[int, ...]]:
    dictation, found = Dictation(Scripted(list(drafts)), 16_000, None, live=True), []  # type: ignore[arg-type]
    for _ in drafts:
        await dictation.draft(np.zeros(10, np.float32), binding=binding)
        found.append(dictation.committed)
    return found


async def test_the_first_draft_commits_to_nothing() -> None:
    assert await committed([(1, 2, 3)]) == [()]


async def test_what_two_drafts_share_is_committed() -> None:
    assert await committed([(1, 2, 3), (1, 2, 4, 5)]) == [(), (1, 2)]


async def test_the_last_character_is_held_back() -> None:
    assert await committed([(1, 2), (1, 2)]) == [(), (1,)]
    assert await committed([(1,), (1,)]) == [(), ()]
    assert await committed([(), ()]) == [(), ()]


async def test_what_is_committed_is_never_taken_back() -> None:
    assert await committed([(1, 2, 3), (1, 2, 3), (1, 2)]) == [(), (1, 2), (1, 2)]


async def test_a_draft_that_may_still_be_cut_off_commits_to_nothing() -> None:
    assert await committed([(1, 2, 3), (1, 2, 3)], binding=False) == [(), ()]


async def test_each_text_begins_with_what_is_committed_and_the_end_counts_all_work() -> None:
    scripted = Scripted([(1, 2, 3), (1, 2, 3)])
    dictation = Dictation(scripted, 16_000, None, live=True)  # type: ignore[arg-type]
    for _ in range(2):
        await dictation.draft(np.zeros(10, np.float32), binding=True)
    end = await dictation.finish(np.zeros(10, np.float32))
    assert scripted.prefixes == [(), (), (1, 2)]
    assert end.seconds == pytest.approx(1.25)


async def test_a_real_recogniser_keeps_what_is_committed(runtime: Runtime) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 64_000).astype(np.float32)
    dictation = Dictation(runtime, 16_000, None, live=False)
    for seconds in (1, 2, 3):
        before = dictation.committed
        ids = await dictation.draft(noise[: seconds * 16_000], binding=True)
        assert ids[: len(dictation.committed)] == dictation.committed
        assert dictation.committed[: len(before)] == before
    recognised = await dictation.finish(noise)
    assert recognised.hypothesis.ids[: len(dictation.committed)] == dictation.committed


async def test_a_draft_may_guess_what_the_one_before_wrote_beyond_the_commitment() -> None:
    drafts: list[tuple[int, ...]] = [(5, 6, 7), (5, 6, 7, 8), (5, 6, 7, 8, 9)]
    scripted = Scripted(list(drafts))
    dictation = Dictation(scripted, 16_000, None, live=True)  # type: ignore[arg-type]
    for _ in drafts:
        await dictation.draft(np.zeros(10, np.float32), binding=True)
    assert scripted.prefixes == [(), (), (5, 6, 7)]
    assert scripted.guesses == [(), (5, 6, 7), (8,)]
