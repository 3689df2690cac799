"""Whisper-base (MIT) as a stranger to compare with: int8 in CTranslate2, five beams.

Not part of the product: install faster-whisper and zhconv into a folder of their own, and put that on
PYTHONPATH.

"""

from pathlib import Path

import numpy as np

from training.speech.clips import Clip

PROMPT = "以下是普通话的句子。"


class Whisper:
    """Opened once; one thread, as the recogniser it is compared with."""

    def __init__(self, folder: Path) -> None:
        from faster_whisper import WhisperModel

        self._model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)

    def whole(self, clip: Clip) -> str:
        """What it writes, in simplified characters."""
        from zhconv import convert

        samples = clip.samples.astype(np.float32) / 32_768
        segments, _ = self._model.transcribe(samples, language="zh", beam_size=5, initial_prompt=PROMPT)
        return str(convert("".join(segment.text for segment in segments), "zh-cn"))
