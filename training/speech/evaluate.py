"""Scores the recogniser on speech it never trained on: a table, and one JSON line.

Real sentences (`eval`, never trained on), made sentences and questions in held-out voices, isolated words.
Every ear hears the same clips in the same run; error rates come with 95 % intervals: the groups are small.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from services.speech.checkpoint import Checkpoint
from training.speech.clips import Clip, made_sentences, real_sentences, real_words
from training.speech.listeners import FirstPass, ServedEars, one_pass
from training.speech.scores import error_rate, exact_percent
from training.speech.whisper import Whisper

AS_STREAM, WHOLE, INTERIM, CTC, ONE_PASS, WHISPER = (
    "final, as a stream",
    "final, whole clip",
    "interim (first pass)",
    "CTC alone",
    "muggle-speech, one pass",
    "whisper-base",
)


MADE_STRIDE = 4
"""Every so manieth made clip is scored: the whole would take longer than it tells."""


@dataclass(frozen=True)
class Group:
    """Clips that are scored together."""

    name: str
    clips: Sequence[Clip]


@dataclass(frozen=True)
class Result:
    """What one ear wrote, and how long it took on one thread per second of audio."""

    texts: list[str]
    real_time_factor: float


def evaluate(data: Path, made: Path, bundle: Path, whisper: Path | None) -> dict[str, float]:
    """Prints the report and returns the scores. `bundle` holds `speech/`, `whisper` a CTranslate2 model."""
    torch.set_num_threads(1)
    groups = held_out_groups(data, made)
    scores: dict[str, float] = {}
    table = Table("clips", "ear", "CER % (95 %)", "all right %", "RTF")
    for group in groups:
        truths = [clip.text for clip in group.clips]
        results = hear(group.clips, bundle, whisper)
        for ear, result in results.items():
            rate = error_rate(truths, result.texts)
            right = exact_percent(truths, result.texts)
            speed = f"{result.real_time_factor:.3f}"
            table.add_row(f"{group.name} ({len(truths)})", ear, str(rate), f"{right:.1f}", speed)
            scores |= {f"{group.name}/{ear}": rate.percent, f"{group.name}/{ear}/right": right}
            scores[f"{group.name}/{ear}/rtf"] = result.real_time_factor
        pairs = zip(results[AS_STREAM].texts, results[WHOLE].texts, strict=True)
        scores[f"{group.name}/streamed as whole"] = 100 * sum(a == b for a, b in pairs) / len(truths)
    Console(width=120).print(table)
    print(json.dumps({name: round(value, 3) for name, value in scores.items()}, ensure_ascii=False))
    return scores


def held_out_groups(data: Path, made: Path) -> list[Group]:
    """Everything that training never heard."""
    sentences, spoken = real_sentences(data, "eval"), made_sentences(made, "held_out")
    return [
        Group("S0252", [clip for clip in sentences if clip.source == "s0252"]),
        Group("others", [clip for clip in sentences if clip.source == "others"]),
        Group("made sentences", [clip for clip in spoken if clip.source == "made_sentence"][::MADE_STRIDE]),
        Group("made questions", [clip for clip in spoken if clip.source == "made_question"][::MADE_STRIDE]),
        Group("words", real_words(data, "dsp20", "test")),
    ]


def hear(clips: Sequence[Clip], bundle: Path, whisper: Path | None) -> dict[str, Result]:
    """What each ear writes."""
    recogniser = Checkpoint.open(bundle).load(torch.device("cpu"), torch.float32)
    first_pass = FirstPass(recogniser)
    results = asyncio.run(_served(clips, bundle))
    results[INTERIM] = _timed(clips, first_pass.interim)
    results[CTC] = _timed(clips, first_pass.ctc)
    results[ONE_PASS] = _timed(clips, lambda clip: one_pass(recogniser, clip))
    if whisper is not None:
        results[WHISPER] = _timed(clips, Whisper(whisper).whole)
    return results


async def _served(clips: Sequence[Clip], bundle: Path) -> dict[str, Result]:
    ears = ServedEars.open(bundle)
    await ears.whole(clips[0])  # loads
    begun = time.perf_counter()
    streamed = [await ears.streamed(clip, seed) for seed, clip in enumerate(clips)]
    between = time.perf_counter()
    whole = [await ears.whole(clip) for clip in clips]
    ended = time.perf_counter()
    await ears.close()
    seconds = sum(clip.seconds for clip in clips)
    return {
        AS_STREAM: Result(streamed, (between - begun) / seconds),
        WHOLE: Result(whole, (ended - between) / seconds),
    }


def _timed(clips: Sequence[Clip], ear: Callable[[Clip], str]) -> Result:
    begun = time.perf_counter()
    texts = [ear(clip) for clip in clips]
    return Result(texts, (time.perf_counter() - begun) / sum(clip.seconds for clip in clips))
