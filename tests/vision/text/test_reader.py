"""What is looked for and read, with a model that says what it was shown."""

import time

import pytest
from PIL import Image

from services.vision.text.layout import Quad
from services.vision.text.reader import MAX_CHARACTERS, MAX_LINES, READ_SIDE, SEEK_SIDE, TRIED, read_text


class Model:
    """Finds `lines` boxes wherever it looks; each says the next of `words`."""

    def __init__(self, lines: int = 1, words: tuple[tuple[str, float], ...] = (("水", 0.9),)):
        self.boxes = [Quad(0, y, 40, y, 40, y + 4, 0, y + 4) for y in range(0, 5 * lines, 5)]
        self.words = words
        self.looked_at: list[tuple[int, int]] = []
        self.read = 0

    def find(self, image: Image.Image) -> list[Quad]:
        self.looked_at.append(image.size)
        return self.boxes

    def recognise(self, line: Image.Image) -> tuple[str, float]:
        self.read += 1
        return self.words[(self.read - 1) % len(self.words)]


def page(width: int = 400, height: int = 300) -> Image.Image:
    return Image.new("RGB", (width, height))


def test_a_picture_without_text_is_looked_at_once_and_small() -> None:
    model = Model(lines=0)
    assert read_text(model, page(4000, 3000)).lines == ()
    assert model.looked_at == [(SEEK_SIDE, SEEK_SIDE * 3 // 4)]


def test_text_in_a_large_picture_is_read_at_a_bounded_size_and_placed_in_the_picture() -> None:
    model = Model()
    [line] = read_text(model, page(4 * READ_SIDE, 2 * READ_SIDE)).lines
    assert model.looked_at[-1] == (READ_SIDE, READ_SIDE // 2)
    assert line.quad.x1 == 160


def test_a_pattern_that_says_nothing_is_not_searched_again() -> None:
    model = Model(9, (("", 0.0), ("?", 0.2)))
    assert read_text(model, page(4 * READ_SIDE, 2 * READ_SIDE)).lines == ()
    assert model.looked_at == [(SEEK_SIDE, SEEK_SIDE // 2)]
    assert model.read == TRIED


def test_one_readable_find_among_patterns_is_enough() -> None:
    model = Model(3, (("", 0.0), ("水", 0.9)))
    assert read_text(model, page(4 * READ_SIDE, 2 * READ_SIDE)).lines
    assert model.looked_at[-1] == (READ_SIDE, READ_SIDE // 2)


def test_doubtful_and_empty_lines_are_left_out() -> None:
    model = Model(4, (("水", 0.9), ("?", 0.3), (" ", 0.99), ("糖", 0.9)))
    assert [line.text for line in read_text(model, page()).lines] == ["水", "糖"]


@pytest.mark.parametrize(("word", "lines"), [("水", MAX_LINES), ("字" * 500, MAX_CHARACTERS // 500)])
def test_a_page_full_of_text_is_not_read_to_its_end(word: str, lines: int) -> None:
    model = Model(200, ((word, 0.9),))
    assert len(read_text(model, page(400, SEEK_SIDE)).lines) == lines
    assert model.read == lines


def test_time_that_runs_out_leaves_what_was_read() -> None:
    class Slow(Model):
        def recognise(self, line: Image.Image) -> tuple[str, float]:
            time.sleep(0.06)
            return super().recognise(line)

    reading = read_text(Slow(20), page(), time.monotonic() + 0.1)
    assert 1 <= len(reading.lines) < 20
    assert not reading.complete


def test_a_picture_that_came_too_late_is_not_looked_at() -> None:
    model = Model()
    assert not read_text(model, page(), time.monotonic() - 1).complete
    assert model.looked_at == []


def test_a_dot_is_no_page() -> None:
    assert read_text(Model(), page(3, 900)).lines == ()


def test_a_search_that_takes_too_long_is_not_complete() -> None:
    class Slow(Model):
        def find(self, image: Image.Image) -> list[Quad]:
            time.sleep(0.06)
            return super().find(image)

    assert not read_text(Slow(), page(), time.monotonic() + 0.03).complete
    assert read_text(Slow(), page(), time.monotonic() + 60).complete
