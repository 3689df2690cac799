"""The ears that the report compares: the service as it is served, the bare recogniser, the first pass."""

import asyncio
import io
import wave
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import torch

from services.speech.audio import AudioFormat, Encoding
from services.speech.checkpoint import Checkpoint
from services.speech.model.ctc import BestPath
from services.speech.model.features import LogMel
from services.speech.pipeline import Pipeline
from services.speech.recogniser import Recogniser
from services.speech.resampling import resample
from services.speech.runtime import Runtime
from services.speech.settings import SpeechSettings
from services.speech.streaming.listening import Listener
from services.speech.streaming.session import Listening, Session
from services.speech.streaming.updates import Final
from services.speech.utterances import endpoint_settings
from training.speech.clips import SAMPLE_RATE, Clip

STALL_S = 600.0
PIECES_S = (0.02, 0.1, 0.64)
"""Lengths of the pieces that a stream comes in: drawn anew for each piece."""


class ServedEars:
    """The service's own pipeline in this process: whole clips, and streams cut anywhere."""

    def __init__(self, pipeline: Pipeline, settings: SpeechSettings) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._threads = ThreadPoolExecutor(1)

    @classmethod
    def open(cls, bundle: Path, beams: int | None = None) -> Self:
        """`bundle` is the folder that holds `speech/`."""
        settings = SpeechSettings(model=bundle)
        runtime = Runtime(
            Checkpoint.open(bundle),
            torch.device("cpu"),
            torch.float32,
            max_batch=1,
            beams=beams or settings.beams,
        )
        return cls(Pipeline(runtime, settings), settings)

    async def close(self) -> None:
        """Stops the service's threads."""
        await self._pipeline.close()
        self._threads.shutdown()

    async def whole(self, clip: Clip) -> str:
        """The clip as one WAV file."""
        return (await self._pipeline.transcribe(_wav(clip), AudioFormat())).text

    async def streamed(self, clip: Clip, seed: int) -> str:
        """The clip in pieces of changing length: the finals of all its utterances."""
        settings, runtime = self._settings, self._pipeline.runtime
        await runtime.load()
        silence_s = settings.endpoint_silence_s
        endpoints = endpoint_settings(
            silence_s, runtime.checkpoint.config.comfortable_seconds, settings.unsaid_silence_s
        )
        layout = AudioFormat(Encoding.PCM_S16LE, SAMPLE_RATE)
        session = Session(
            self._pipeline,
            self._threads,
            Listening(layout, None, silence_s, interim=False, faithful=False),
            Listener(SAMPLE_RATE, await asyncio.to_thread(lambda: self._pipeline.voices), endpoints),
            STALL_S,
        )
        updates = [update.what async for update in session.run(_pieces(clip, seed))]
        return "".join(what.hypothesis.text for what in updates if isinstance(what, Final))


class FirstPass:
    """The streaming branch, chunk by chunk: its states as the decoder reads them, and its CTC head."""

    def __init__(self, recogniser: Recogniser) -> None:
        if recogniser.model.streaming is None:
            raise ValueError("the bundle has no streaming branch")
        self._recogniser = recogniser
        self._model, self._branch = recogniser.model, recogniser.model.streaming
        self._log_mel = LogMel(recogniser.config.features)

    @torch.inference_mode()
    def states(self, clip: Clip) -> tuple[torch.Tensor, BestPath]:
        """What is known of a clip when its last chunk has been heard: states [S, D], and the best path."""
        levels_TM = self._log_mel(samples_at_model_rate(self._recogniser, clip))
        state, path, states, place = self._branch.start(), BestPath(), [], 0
        while place < len(levels_TM):
            size = self._branch.chunk_features(state)
            chunk_TM = levels_TM[place : place + size]
            (heard,), (state,) = self._branch.forward_chunk(self._model.encoder, [chunk_TM], [state])
            states.append(heard.states_SD)
            path = path.extend(heard.log_probabilities_SV)
            place += size
        return torch.cat(states), path

    def interim(self, clip: Clip) -> str:
        """The last interim text: the decoder's reading of the states."""
        states_SD, _ = self.states(clip)
        return read(self._recogniser, states_SD)

    def ctc(self, clip: Clip) -> str:
        """The CTC head's best path."""
        _, path = self.states(clip)
        return "".join(self._recogniser.vocabulary.characters[index] for index in path.ids)


def one_pass(recogniser: Recogniser, clip: Clip) -> str:
    """The recogniser as it was published: all of the clip at once, the likeliest character each time."""
    return read(recogniser, recogniser.encode_full(samples_at_model_rate(recogniser, clip)))


def read(recogniser: Recogniser, states_SD: torch.Tensor) -> str:
    """What the decoder makes of states."""
    return recogniser.decode(states_SD, beams=1).text


def samples_at_model_rate(recogniser: Recogniser, clip: Clip) -> torch.Tensor:
    """float32 in -1..1."""
    samples = torch.from_numpy(clip.samples.astype(np.float32) / 32_768)
    return resample(samples, SAMPLE_RATE, recogniser.config.features.sample_rate)


def _wav(clip: Clip) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(clip.samples.tobytes())
    return file.getvalue()


async def _pieces(clip: Clip, seed: int) -> AsyncIterator[np.ndarray]:
    rng, place = np.random.default_rng(seed), 0
    samples = clip.samples.astype(np.float32) / 32_768
    while place < len(samples):
        size = int(rng.choice(PIECES_S) * SAMPLE_RATE)
        yield samples[place : place + size]
        place += size
