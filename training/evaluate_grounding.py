"""Spoken questions about pictures: voices, wordings and pictures that training never met.

The recogniser hears each question, and the language model gets what it heard as speech tokens, with the
picture. Right means: the thing is named, and its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from services.speech.checkpoint import Checkpoint
from services.speech.recogniser import Recogniser
from services.speech.resampling import resample
from training.data.icons import COLOURS, EVAL_STYLE, TRAIN_STYLES, draw_all
from training.data.scenes import PLACES, Group, Scene, SceneMaker
from training.data.things import THINGS
from training.pipeline import Pipeline, Question
from training.scores import names_in
from training.speech.clips import SAMPLE_RATE, Clip, made_sentences

FIRST_SEED = 3_000_000
SCENES = 2_500
_NAMES = [thing.name for thing in THINGS]
_PLACE_WORDS = {"上面": "上方", "下面": "下方"} | {place: place for place in PLACES}


@dataclass(frozen=True)
class Spoken:
    """A question as it was spoken, the picture it is about, and what the answer must name."""

    clip: Clip
    picture: Image.Image
    expected: tuple[str, ...]


def evaluate_grounding(
    pipeline: Pipeline, bundle: Path, icons: Path, clips: Path
) -> tuple[dict[str, float], list[tuple[str, str, str]]]:
    """Share of right answers in percent, per drawing style, and (heard, said, truth) of each."""
    recogniser = Checkpoint.open(bundle).load(torch.device("cpu"), torch.float32)
    questions = [clip for clip in made_sentences(clips, "held_out") if clip.source == "made_question"]
    scores: dict[str, float] = {}
    samples: list[tuple[str, str, str]] = []
    heard = {(clip.voice, clip.text): _hear(recogniser, clip) for clip in questions}
    for label, styles in (("trained_style", TRAIN_STYLES), ("new_style", (EVAL_STYLE,))):
        spoken = _match(questions, icons, styles)
        images = pipeline.encode([one.picture for one in spoken])
        asked = [
            Question(("",), (index,), speech_TD=heard[one.clip.voice, one.clip.text][1])
            for index, one in enumerate(spoken)
        ]
        said = pipeline.answer(asked, images)
        right = [all(word in t for word in one.expected) for one, t in zip(spoken, said, strict=True)]
        scores[f"grounding_{label}"] = 100 * sum(right) / len(right)
        samples += [
            (f"spoken: {heard[one.clip.voice, one.clip.text][0]}", text, " ".join(one.expected))
            for one, text in zip(spoken, said, strict=True)
        ]
    return scores, samples


def _hear(recogniser: Recogniser, clip: Clip) -> tuple[str, torch.Tensor]:
    samples = torch.from_numpy(clip.samples).float() / 32_768
    resampled = resample(samples, SAMPLE_RATE, recogniser.config.features.sample_rate)
    hypothesis = recogniser.decode(recogniser.encode_full(resampled))
    return hypothesis.text, hypothesis.embedding_ND


def _match(clips: Sequence[Clip], icons: Path, styles: Sequence[str]) -> list[Spoken]:
    """A scene for each question that one of the scenes can answer; no scene serves twice."""
    maker = SceneMaker(draw_all(icons, styles), styles)
    free = [maker.make(FIRST_SEED + index) for index in range(SCENES)]
    matched: list[Spoken] = []
    for clip in clips:
        for picture, scene in free:
            expected = _expected(clip.text, scene)
            if expected:
                matched.append(Spoken(clip, picture, expected))
                free.remove((picture, scene))
                break
    return matched


def _expected(text: str, scene: Scene) -> tuple[str, ...]:
    """What an answer must name; empty where the scene does not settle the question."""
    named = names_in(text, _NAMES)
    colours = [colour for colour in COLOURS if colour in text]
    if len(named) == 1:
        fitting = [
            g for g in scene.groups if g.thing.name == named[0] and (not colours or g.colour == colours[0])
        ]
        return _one(fitting) if sum(group.count for group in fitting) == 1 else ()
    places = [_PLACE_WORDS[word] for word in sorted(_PLACE_WORDS, key=len, reverse=True) if word in text]
    if places and not named:
        at = [group for group in scene.groups if PLACES.index(places[0]) in group.places]
        return (at[0].thing.name, places[0]) if at else ()
    return ()


def _one(groups: Sequence[Group]) -> tuple[str, ...]:
    return (groups[0].thing.name, PLACES[groups[0].places[0]])
