import numpy as np
from PIL import Image, ImageColor

from visionrel.evaluation import Pictures, SheetRow
from visionrel.evaluation.sheets import BAD, GOOD, draw_sheet


def row(count: int, **values) -> SheetRow:
    pictures = [Image.new("RGB", (64, 64), "blue")] * count
    return SheetRow("exemplars", pictures, ["a cat above a dog"] * count, **values)


def has_colour(image: Image.Image, colour: str) -> bool:
    return (np.asarray(image) == ImageColor.getrgb(colour)).all(-1).any()


def test_rows_wrap_after_the_columns():
    one, two = draw_sheet([row(5)], columns=5), draw_sheet([row(6)], columns=5)
    assert one.width == two.width and two.height > one.height


def test_right_is_framed_green_and_wrong_red():
    right, wrong, none = (draw_sheet([row(1, verdicts=v)]) for v in ([True], [False], [None]))
    assert has_colour(right, GOOD) and not has_colour(right, BAD)
    assert has_colour(wrong, BAD) and not has_colour(wrong, GOOD)
    assert not has_colour(none, GOOD) and not has_colour(none, BAD)


def test_heading_and_caption_are_drawn():
    picture = np.asarray(draw_sheet([row(1)], columns=1).convert("L"))
    assert picture[:36].min() < 80  # heading
    assert picture[200:].min() < 150  # caption


def test_long_captions_stay_in_their_column():
    caption = "a small elephant upside down far below a big mushroom, purple background"
    pictures = [Image.new("RGB", (64, 64), "white")] * 2
    sheet = np.asarray(draw_sheet([SheetRow("x", pictures, [caption, ""])], columns=2).convert("L"))
    assert sheet[210:, 172:184].min() == 255


def test_a_sheet_is_a_figure(tmp_path):
    figure = Pictures("samples", "Samples", (row(2),), columns=2)
    figure.save(tmp_path / "samples.png")
    assert Image.open(tmp_path / "samples.png").width > 300
    assert figure.to_dict()["captions"] == {"exemplars": ["a cat above a dog"] * 2}
