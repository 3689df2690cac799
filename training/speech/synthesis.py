"""Has Kokoro speak the plan, line by line, into a store; a run that is stopped goes on where it was.

The plan: questions and held-out sentences first (small, and others wait for them), then train sentences and
word lists in turn, each in one voice.
"""

import random
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path

from tqdm import tqdm

from services.speech.vocabulary import Vocabulary
from training.speech import questions
from training.speech.bundle import CHARACTERS
from training.speech.clips import STORES
from training.speech.kokoro import HELD_OUT_VOICES, TRAIN_VOICES, Kokoro
from training.speech.sentences import han, is_held_out, most_telling, read_sentences, word_lines
from training.speech.store import Spoken, Store

HELD_OUT_SENTENCES = 100
TUNE_SENTENCES = 40
QUESTION_VOICES = 2  # train voices that speak each question
FREQUENT_WORDS = 20_000
SENTENCES = 20_000


def synthesise(data: Path, bundle: Path, kokoro: Path, out: Path, part: int, parts: int) -> None:
    """Speaks every `parts`-th line of the plan from `part` on, so that processes may share the work."""
    characters = {name for name in Vocabulary.read(bundle / CHARACTERS).characters if len(name) == 1}
    store = Store(out, f"kokoro_{part}")
    spoken = [Store(out, path.stem) for path in out.glob(STORES)]
    done = {(clip.voice, clip.text) for other in spoken for clip in other.clips()}
    speaker = Kokoro(kokoro)
    lines = list(plan(data, characters))[part::parts]
    for line in tqdm(lines, mininterval=30):
        if (line.voice, han(line.text)) in done:
            continue
        speed = random.Random(line.voice + line.text).uniform(0.85, 1.25)
        samples = speaker.say(line.text, line.voice, speed)
        store.append(Spoken(han(line.text), line.voice, line.split, line.kind), samples)


def plan(data: Path, characters: set[str]) -> Iterator[Spoken]:
    """Everything to be said, in order, with punctuation."""
    sentences = read_sentences(data, characters)
    held_out = [text for text in sentences if is_held_out(text)]
    random.Random(0).shuffle(held_out)
    for text in held_out[:HELD_OUT_SENTENCES]:
        yield from (Spoken(text, voice, "held_out", "sentence") for voice in HELD_OUT_VOICES)
    tune = held_out[HELD_OUT_SENTENCES : HELD_OUT_SENTENCES + TUNE_SENTENCES]
    yield from _in_turn(tune, "tune", "sentence")
    for text in questions.HELD_OUT:
        yield from (Spoken(text, voice, "held_out", "question") for voice in HELD_OUT_VOICES)
    for turn in range(QUESTION_VOICES):
        yield from _in_turn(questions.TRAIN, "train", "question", turn * len(TRAIN_VOICES) // QUESTION_VOICES)
    trainable = [text for text in sentences if not is_held_out(text)]
    spoken = _in_turn(most_telling(trainable, SENTENCES), "train", "sentence")
    listed = _in_turn(word_lines(characters, FREQUENT_WORDS), "train", "words", 1)
    yield from (line for line in chain.from_iterable(zip_longest(spoken, listed)) if line is not None)


def _in_turn(texts: list[str] | tuple[str, ...], split: str, kind: str, first: int = 0) -> Iterator[Spoken]:
    for i, text in enumerate(texts):
        yield Spoken(text, TRAIN_VOICES[(i + first) % len(TRAIN_VOICES)], split, kind)
