"""A tiny recogniser on disk, and a little speech to train it with."""

import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from servicekit.weights import write_weights
from services.speech.model.config import SpeechConfig
from services.speech.model.recogniser import RecogniserModel
from training.speech.store import Spoken, Store

CHARACTERS = ["<S/S>", "<PAD>", "<UNK>", *"你好今天气很数字语音一个苹果是红色的再见明"]
SENTENCES = ("今天天气很好", "苹果是红色的", "你好明天再见", "一个苹果很好")


Row = dict[str, str | None]


def noise(seconds: float, seed: int) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal(int(seconds * 16_000)) * 1_000
    return samples.astype(np.int16)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle" / "speech"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    config = SpeechConfig.tiny(len(CHARACTERS))
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    (folder / "characters.json").write_text(json.dumps(CHARACTERS))
    write_weights(folder / "model.safetensors", RecogniserModel(config).state_dict(), int8=True)
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    store = Store(folder, "kokoro_0")
    for seed, text in enumerate(SENTENCES):
        split = "held_out" if seed == 3 else "train"
        store.append(Spoken(text, "zf_xiaoxiao", split, "sentence"), noise(1.5, seed))
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of the open data, with noise for speech, and a text that its one syllable can say."""
    folder = tmp_path_factory.mktemp("data")
    real, words = folder / "speech_real_sentences", folder / "speech_words"
    rows: list[Row] = [
        {"id": str(i), "file": f"{i}.opus", "text": SENTENCES[i % 4], "speaker": "S0150"} for i in range(33)
    ]
    _archive(real, "train_optional_S0150", rows)
    _archive(real, "eval", [{**rows[0], "speaker": "S0252"}, {**rows[1], "speaker": "somebody"}])
    spoken: list[Row] = []
    for name, text, pinyin in (
        ("dsp20_train", "数字", None),
        ("dsp20_test", "语音", None),
        ("cmn_hsk", "苹果", "ping2 guo3"),
        ("cmn_syllables", None, "hao3"),
    ):
        kind, _, split = name.partition("_") if name.startswith("dsp20") else (name, "", "")
        row: Row = {"set": kind, "split": split or "train", "zip": f"{name}.zip", "file": f"{name}.opus"}
        spoken.append({**row, "text": text, "pinyin": pinyin, "speaker": "a"})
        _archive(words, name, [spoken[-1]])
    _write_lines(words / "index.jsonl", spoken)
    texts = folder / "text_zh"
    texts.mkdir()
    (texts / "smalltalk_seed_cc0.jsonl").write_text('{"prompts": ["好好好好好"], "replies": []}\n')
    for name in (
        "tatoeba_zh.tsv",
        "coco_cn_ext_captions.tsv",
        "crosswoz_dialogues.jsonl",
        "kdconv_dialogues.jsonl",
    ):
        (texts / f"{name}.gz").write_bytes(gzip.compress(b""))
    return folder


def _archive(folder: Path, name: str, rows: list[Row]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _write_lines(folder / f"{name}.jsonl", rows)
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
        for seed, row in enumerate(rows):
            sound = io.BytesIO()
            soundfile.write(sound, noise(1.0, seed), 16_000, format="OGG", subtype="OPUS")
            archive.writestr(str(row["file"]), sound.getvalue())


def _write_lines(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
