"""Made speech is kept so that a crash costs one clip at most."""

from pathlib import Path

import numpy as np

from training.speech.store import Spoken, Store

HELLO = Spoken("你好", "zf_xiaoxiao", "train", "sentence")


def test_clips_come_back_as_they_were(tmp_path: Path) -> None:
    store = Store(tmp_path, "made")
    sounds = [np.arange(5, dtype=np.int16), np.arange(-3, 0, dtype=np.int16)]
    for sound in sounds:
        store.append(HELLO, sound)
    first, second = Store(tmp_path, "made").clips()
    assert (first.text, second.start, second.samples) == ("你好", 5, 3)
    for clip, sound in zip((first, second), sounds, strict=True):
        np.testing.assert_array_equal(store.read(clip), sound)


def test_a_line_cut_off_is_no_clip(tmp_path: Path) -> None:
    store = Store(tmp_path, "made")
    store.append(HELLO, np.zeros(4, np.int16))
    with (tmp_path / "made.jsonl").open("a") as index:
        index.write('{"text": "你')
    assert len(store.clips()) == 1


def test_sound_without_a_line_moves_the_next_clip(tmp_path: Path) -> None:
    store = Store(tmp_path, "made")
    (tmp_path / "made.s16").write_bytes(bytes(6))
    store.append(HELLO, np.full(2, 7, np.int16))
    (clip,) = store.clips()
    assert clip.start == 3
    assert store.read(clip).tolist() == [7, 7]
