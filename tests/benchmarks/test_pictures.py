"""Drawn pictures."""

import io
from itertools import islice

from PIL import Image

from benchmarks.pictures import photos, solids


def test_photos_have_the_size_asked_for_and_are_all_different() -> None:
    files = list(islice(photos(64, 48, seed=0), 5))
    assert len(set(files)) == 5
    assert {Image.open(io.BytesIO(file)).size for file in files} == {(64, 48)}


def test_a_seed_gives_the_same_pictures_again_and_another_others() -> None:
    assert solids(20, seed=1) == solids(20, seed=1)
    assert not set(solids(20, seed=1)) & set(solids(20, seed=2))


def test_solids_are_all_different() -> None:
    assert len(set(solids(500, seed=0))) == 500
