"""The first pass hears the same chunks however the audio came, and the caption joins it to the last draft."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import torch

from services.speech.checkpoint import Checkpoint
from services.speech.model.config import SpeechConfig, StreamingConfig
from services.speech.resampling import resample, resample_part, samples_needed
from services.speech.runtime import Runtime
from services.speech.streaming.caption import Caption
from services.speech.streaming.first_pass import FirstPass
from services.speech.streaming.framing import Tape
from tests.bundles import write_speech_bundle

RATE = 16_000
NOISE = np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32)


@pytest.fixture
async def streaming(tmp_path: Path) -> AsyncIterator[Runtime]:
    """Around a tiny random recogniser with a streaming branch."""
    config = dataclasses.replace(
        SpeechConfig.tiny(12), streaming=StreamingConfig(kernel_size=3, adapter_rank=2)
    )
    checkpoint = Checkpoint.open(write_speech_bundle(tmp_path, config=config).parent)
    runtime = Runtime(checkpoint, torch.device("cpu"), torch.float32, max_batch=4, beams=1)
    yield runtime
    await runtime.close()


async def heard(runtime: Runtime, width: int, first: int = 0) -> str:
    tape, steps = Tape(), 0
    pass_ = FirstPass.begin(runtime, await runtime.load(), RATE, first)
    assert pass_ is not None
    for start in range(0, len(NOISE), width):
        tape.record(NOISE[start : start + width])
        steps += await pass_.hear(tape)
    assert steps > 0
    return pass_.text_after(0)


@pytest.mark.parametrize("width", [333, 4_000, len(NOISE)])
async def test_the_cut_into_pieces_does_not_matter(streaming: Runtime, width: int) -> None:
    assert await heard(streaming, width) == await heard(streaming, 1_600) != ""


async def test_each_chunk_sounds_as_it_does_in_the_whole(streaming: Runtime) -> None:
    recogniser = await streaming.load()
    whole_TM = recogniser.levels(resample(torch.from_numpy(NOISE), RATE, 22_050))
    pass_ = FirstPass.begin(streaming, recogniser, RATE, 0)
    assert pass_ is not None
    tape, chunks, hear = Tape(), [], streaming.hear

    async def record(chunk_TM: torch.Tensor, state: object) -> object:
        chunks.append(chunk_TM)
        return await hear(chunk_TM, state)  # type: ignore[arg-type]

    streaming.hear = record  # type: ignore[assignment, method-assign]
    tape.record(NOISE)
    await pass_.hear(tape)
    chunks_TM = torch.cat(chunks)
    assert len(chunks_TM) == 51 + 48 * (len(chunks) - 1) > 200
    assert torch.allclose(chunks_TM, whole_TM[: len(chunks_TM)], atol=1e-2)


async def test_a_bundle_without_the_branch_has_no_first_pass(runtime: Runtime) -> None:
    assert FirstPass.begin(runtime, await runtime.load(), RATE, 0) is None


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000, 96_000, 22_050])
def test_a_part_is_resampled_as_in_the_whole(rate: int) -> None:
    samples_N = torch.from_numpy(np.random.default_rng(1).normal(0, 0.1, rate).astype(np.float32))
    whole_N = resample(samples_N, rate, 22_050)
    for start, end in ((0, 500), (3_000, 4_001), (12_345, 20_000)):
        known_N = samples_N[: samples_needed(end, rate, 22_050)]
        assert torch.allclose(resample_part(known_N, rate, 22_050, start, end), whole_N[start:end], atol=1e-6)


async def test_a_caption_shows_the_draft_and_each_change_once() -> None:
    caption = Caption(3, None)
    assert caption.interim() is None
    caption.redraft("你好", 1, 1.0)
    interim = caption.interim()
    assert interim is not None
    assert (interim.index, interim.text, interim.stable) == (3, "你好", 1)
    assert caption.interim() is None
