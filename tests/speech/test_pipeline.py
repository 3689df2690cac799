"""The way of a clip: cache, single flight, limits and names of what is wrong."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import numpy as np
import pytest
import torch

from servicekit.errors import FailedPrecondition, InvalidArgument, ResourceExhausted
from services.speech.audio import AudioFormat, Encoding, read_clip
from services.speech.checkpoint import Checkpoint
from services.speech.digests import clip_digest, wav_header
from services.speech.pipeline import Pipeline
from services.speech.runtime import Runtime
from services.speech.settings import SpeechSettings
from services.speech.voice import WINDOW_S, VoiceNetwork
from tests.speech.conftest import BUNDLED, CPU
from tests.speech.files import encode, tone

FILE = AudioFormat()
TEXT = "我要那个红色的苹果在哪儿"


def settings(**values: object) -> SpeechSettings:
    return SpeechSettings.model_validate({"max_queue": 2, **values})


@pytest.fixture
async def pipeline(runtime: Runtime) -> AsyncIterator[Pipeline]:
    pipeline = Pipeline(runtime, settings())
    yield pipeline
    await pipeline.close()


async def test_a_clip_heard_before_costs_nothing(pipeline: Pipeline, spoken: bytes) -> None:
    first = await pipeline.encode(spoken, FILE)
    again = await pipeline.encode(spoken, FILE)
    assert (first.cache_hit, again.cache_hit) == (False, True)
    assert again.encoding is first.encoding
    assert first.digest == hashlib.sha256(spoken).digest()
    assert first.encoding.embedding.shape == (len(first.encoding.transcript), 32)
    assert first.encoding.seconds == pytest.approx(3.325, abs=0.01)
    assert first.timings.decode_s > 0
    assert first.timings.forward_s > 0


async def test_clips_asked_for_at_once_are_heard_once(pipeline: Pipeline, spoken: bytes) -> None:
    answers = await asyncio.gather(*(pipeline.encode(spoken, FILE) for _ in range(5)))
    assert len({id(answer.encoding) for answer in answers}) == 1


async def test_raw_audio_is_called_what_its_wav_file_is_called(pipeline: Pipeline, spoken: bytes) -> None:
    clip = read_clip(spoken, FILE, max_seconds=60)
    pcm = (clip.samples * 32767).astype("<i2").tobytes()
    layout = AudioFormat(Encoding.PCM_S16LE, clip.rate, 1)
    raw = await pipeline.encode(pcm, layout)
    file = await pipeline.encode(wav_header(len(pcm), layout) + pcm, FILE)
    assert file.cache_hit
    assert raw.digest == file.digest == clip_digest(pcm, layout)


async def test_silence_has_no_embedding_and_no_text(pipeline: Pipeline) -> None:
    for quiet in (np.zeros((16_000, 1), np.float32), tone()):
        data = encode(quiet, 16_000, "WAV")
        with pytest.raises(InvalidArgument) as refused:
            await pipeline.encode(data, FILE)
        assert refused.value.reason == "AUDIO_SILENT"
        transcript = await pipeline.transcribe(data, FILE)
        assert (transcript.text, transcript.segments, transcript.seconds) == ("", (), 1.0)


async def test_one_clip_too_many_is_turned_away(pipeline: Pipeline, spoken: bytes) -> None:
    waiting = [asyncio.create_task(pipeline.transcribe(spoken, FILE)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted) as refused:
        await pipeline.transcribe(spoken, FILE)
    assert (refused.value.reason, refused.value.retry_after_s) == ("QUEUE_FULL", 1.0)
    await asyncio.gather(*waiting)
    await pipeline.transcribe(spoken, FILE)


async def test_a_clip_of_too_many_bytes_is_refused(runtime: Runtime) -> None:
    pipeline = Pipeline(runtime, settings(max_audio_bytes=10))
    with pytest.raises(InvalidArgument) as refused:
        await pipeline.transcribe(bytes(11), FILE)
    assert refused.value.reason == "AUDIO_TOO_LARGE"
    await pipeline.close()


async def test_warming_up_loads_unless_it_is_told_to_wait(runtime: Runtime) -> None:
    lazy = Pipeline(runtime, settings(lazy_load=True))
    await lazy.warm_up()
    assert not runtime.loaded
    eager = Pipeline(runtime, settings())
    await eager.warm_up()
    assert runtime.loaded


async def test_the_bundled_recogniser_writes_a_long_clip_down_in_pieces(spoken: bytes) -> None:
    runtime = Runtime(Checkpoint.open(BUNDLED), CPU, __import__("torch").float32, max_batch=4, beams=1)
    pipeline = Pipeline(runtime, settings())
    clip = read_clip(spoken, FILE, max_seconds=60)
    pause = np.zeros(2 * clip.rate, np.float32)
    twice = np.concatenate([clip.samples, pause, clip.samples, pause, clip.samples])[:, None]
    transcript = await pipeline.transcribe(encode(twice, clip.rate, "FLAC"), FILE)
    assert transcript.text == TEXT * 3
    assert [segment.hypothesis.text for segment in transcript.segments] == [TEXT] * 3
    starts = [segment.start_s for segment in transcript.segments]
    assert starts[2] - starts[1] == pytest.approx(5.325, abs=0.3)
    assert all(
        a.end_s <= b.start_s for a, b in zip(transcript.segments, transcript.segments[1:], strict=False)
    )
    await pipeline.close()


async def test_a_bundle_without_a_projector_can_transcribe_only(runtime: Runtime, spoken: bytes) -> None:
    from dataclasses import replace

    checkpoint = replace(runtime.checkpoint, config=replace(runtime.checkpoint.config, projector_size=0))
    deaf = Runtime(checkpoint, CPU, runtime.dtype, max_batch=1, beams=1)
    pipeline = Pipeline(deaf, settings())
    with pytest.raises(FailedPrecondition) as refused:
        await pipeline.encode(spoken, FILE)
    assert refused.value.reason == "PROJECTOR_MISSING"
    await pipeline.close()


class Counted(VoiceNetwork):
    """Counts the windows that it hears."""

    heard = 0

    def hear(self, windows_BN: torch.Tensor, state_2BD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.heard += 1
        return super().hear(windows_BN, state_2BD)


async def test_a_clip_that_nobody_waits_for_any_more_is_not_searched_to_its_end(pipeline: Pipeline) -> None:
    pipeline.voices = network = Counted()
    rate, minutes = 16_000, 5
    raw = AudioFormat(Encoding.PCM_S16LE, rate)
    asking = asyncio.create_task(pipeline.transcribe(bytes(2 * rate * 60 * minutes), raw))
    while not network.heard:
        await asyncio.sleep(0.001)
    asking.cancel()
    before = -1
    while network.heard != before:  # what had begun ends by itself
        before = network.heard
        await asyncio.sleep(0.3)
    assert network.heard < 60 * minutes / WINDOW_S / 2
