"""Order and shape of lines."""

from PIL import Image

from services.vision.text.layout import MAX_HEIGHT, Quad, cut_out, reading_order


def box(x: float, y: float, width: float = 40, height: float = 10) -> Quad:
    return Quad(x, y, x + width, y, x + width, y + height, x, y + height)


def test_lines_are_read_from_the_top_and_side_by_side_from_the_left() -> None:
    title, left, right, last = box(30, 0), box(0, 21), box(60, 19), box(0, 40)
    assert reading_order([last, right, title, left]) == [title, left, right, last]


def test_a_line_is_cut_out_straight() -> None:
    page = Image.new("RGB", (100, 60), "white")
    page.paste("red", (20, 10, 60, 20))
    line = cut_out(page, box(20, 10))
    assert line.size == (40, 10)
    assert line.getpixel((20, 5)) == (255, 0, 0)


def test_a_line_that_runs_downwards_is_laid_on_its_side() -> None:
    assert cut_out(Image.new("RGB", (100, 100)), box(10, 10, 12, 60)).size == (60, 12)


def test_a_headline_is_cut_out_no_higher_than_it_need_be() -> None:
    page = Image.new("RGB", (1000, 500))
    assert cut_out(page, box(0, 0, 1000, 2 * MAX_HEIGHT)).size == (500, MAX_HEIGHT)
    assert cut_out(page, box(0, 0, 2 * MAX_HEIGHT, 500)).size == (250, MAX_HEIGHT)


def test_a_box_grows_with_its_picture() -> None:
    assert box(1, 2, 3, 4).scaled(2, 10) == Quad(2, 20, 8, 20, 8, 60, 2, 60)
