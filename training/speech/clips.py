"""Every clip that training or the report may hear, as int16 samples at 16 kHz with what is said."""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from services.speech.resampling import resample
from training.speech.store import Store

SAMPLE_RATE = 16_000
TUNE_SENTENCES = 30  # of the one real training speaker, kept to choose by
STORES = "kokoro_*.jsonl"


@dataclass(frozen=True, eq=False)
class Clip:
    """One utterance. `source` groups the scores; `pinyin` is there where the recording names its syllable."""

    text: str
    samples: np.ndarray
    source: str
    voice: str = ""
    pinyin: str | None = None

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / SAMPLE_RATE


def real_sentences(data: Path, part: str) -> list[Clip]:
    """`train` and `tune` cut speaker S0150; `eval` is for the report only."""
    folder = data / "speech_real_sentences"
    name = "eval" if part == "eval" else "train_optional_S0150"
    clips = [
        Clip(row["text"], samples, "s0252" if row["speaker"] == "S0252" else "others", row["speaker"])
        for row, samples in _zipped(folder, _rows(folder / f"{name}.jsonl"), f"{name}.zip")
    ]
    return {"eval": clips, "tune": clips[:TUNE_SENTENCES], "train": clips[TUNE_SENTENCES:]}[part]


def real_words(data: Path, name: str, split: str = "train") -> list[Clip]:
    """Isolated words of `dsp20` or `cmn_hsk`, or the syllables of `cmn_syllables` (no text, but pinyin)."""
    folder = data / "speech_words"
    rows = [row for row in _rows(folder / "index.jsonl") if row["set"] == name and row["split"] == split]
    return [
        Clip(row["text"] or "", samples, name, row["speaker"], row["pinyin"])
        for row, samples in _zipped(folder, rows, rows[0]["zip"])
    ]


def made_sentences(folder: Path, split: str) -> list[Clip]:
    """What Kokoro has spoken so far."""
    names = sorted(path.stem for path in folder.glob(STORES))
    stores = [Store(folder, name) for name in names]
    return [
        Clip(clip.text, store.read(clip), f"made_{clip.kind}", clip.voice)
        for store in stores
        for clip in store.clips()
        if clip.split == split
    ]


def _rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _zipped(
    folder: Path, rows: list[dict[str, str]], archive: str
) -> list[tuple[dict[str, str], np.ndarray]]:
    with zipfile.ZipFile(folder / archive) as members:
        return [(row, _decode(members.read(row["file"]))) for row in rows]


def _decode(encoded: bytes) -> np.ndarray:
    samples, rate = soundfile.read(io.BytesIO(encoded), dtype="float32", always_2d=True)
    mono = resample(torch.from_numpy(samples.mean(axis=1)), rate, SAMPLE_RATE).numpy()
    return (np.clip(mono, -1, 1) * 32_767).astype(np.int16)
