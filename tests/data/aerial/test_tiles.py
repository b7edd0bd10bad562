import numpy as np
import pytest
from PIL import Image

from visionrel.data.aerial import (
    Conversion,
    LabelledBox,
    LabelledPicture,
    TileDetections,
    cut_boxes,
    make_tiles,
    merge_tiles,
    tile_starts,
    write_tiles,
)
from visionrel.errors import InputError


@pytest.mark.parametrize(
    ("length", "starts"),
    [(1024, [0]), (500, [0]), (1025, [0, 1]), (1848, [0, 824]), (2000, [0, 824, 976])],
)
def test_tiles_cover_everything_with_the_least_number(length, starts):
    assert tile_starts(length, 1024, 824) == starts
    covered = set()
    for start in starts:
        covered |= set(range(start, min(start + 1024, length)))
    assert len(covered) == length


def test_wrong_strides_are_refused():
    for stride in (0, 11):
        with pytest.raises(ValueError, match="`stride`"):
            tile_starts(100, 10, stride)


def test_tiles_stand_row_by_row():
    assert make_tiles(30, 10, 20, 10) == [(0, 0, 20, 10), (10, 0, 20, 10)]


def test_boxes_move_into_the_tile_and_pieces_are_ignored():
    boxes = [
        LabelledBox((110, 120, 20, 10), "car"),
        LabelledBox((90, 120, 20, 10), "car"),  # half inside
        LabelledBox((84, 120, 20, 10), "bus"),  # a fifth inside
        LabelledBox((20, 20, 20, 10), "car"),
        LabelledBox((0, 0, 400, 400), None),
    ]
    cut = cut_boxes(boxes, (100, 100, 50, 50), min_visible=0.5)
    assert [(i.name, i.box, i.ignore) for i in cut] == [
        ("car", (10, 20, 20, 10), False),
        ("car", (0, 20, 10, 10), False),
        ("bus", (0, 20, 4, 10), True),
        (None, (0, 0, 50, 50), True),
    ]
    with pytest.raises(ValueError, match="`min_visible`"):
        cut_boxes(boxes, (0, 0, 10, 10), 1.5)


def test_tiles_on_disk_show_what_their_labels_say(tmp_path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[5:15, 35:50] = 255
    (tmp_path / "images" / "sub").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "images" / "sub" / "a.png")
    picture = LabelledPicture("sub/a.png", 60, 40, (LabelledBox((35, 5, 15, 10), "car"),))
    told = {"time": (1.0, 0.0, 0.0)}
    made = Conversion(("car",), [picture], conditions={"sub/a.png": told})
    tiles = write_tiles(made, tmp_path / "images", tmp_path / "tiles", tile=30, stride=20)
    names = [picture.file_name for picture in tiles.pictures]
    assert names[:3] == ["sub/a__0_0.png", "sub/a__20_0.png", "sub/a__30_0.png"]
    assert set(tiles.conditions) == set(names) and len(names) == 6
    for tile in tiles.pictures:
        shown = np.asarray(Image.open(tmp_path / "tiles" / tile.file_name)) > 0
        assert shown.shape == (tile.height, tile.width, 3)
        for item in tile.boxes:
            left, top, width, height = item.box
            assert shown[top : top + height, left : left + width].all()
            assert shown.sum() == width * height * 3
    with pytest.raises(InputError, match="in use"):
        write_tiles(made, tmp_path / "images", tmp_path / "tiles")


def test_every_bad_picture_is_told_before_a_tile_is_written(tmp_path):
    sizes = {"good.png": "RGB", "deep.png": "I;16", "cut.png": "RGB", "other.png": "RGB"}
    for name, mode in sizes.items():
        Image.new(mode, (40, 30)).save(tmp_path / name)
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:50])
    Image.new("RGB", (30, 40)).save(tmp_path / "other.png")
    made = Conversion(("car",), [LabelledPicture(name, 40, 30, ()) for name in (*sizes, "no.png")])
    with pytest.raises(InputError) as error:
        write_tiles(made, tmp_path, tmp_path / "tiles", tile=30, stride=20)
    assert [text.split()[0].rstrip(":") for text in error.value.problems] == [
        *("deep.png", "cut.png", "other.png", "no.png"),
    ]
    assert not (tmp_path / "tiles").exists()


def detections(tile, *rows):
    """Rows of left, top, right, bottom, score, label."""
    values = np.array(rows, float).reshape(-1, 6)
    return TileDetections(tile, values[:, :4], values[:, 4], values[:, 5].astype(int))


class TestMerge:
    def test_boxes_move_to_the_picture(self):
        found = detections((100, 50, 80, 80), (10, 10, 20, 30, 0.9, 2))
        boxes, scores, labels = merge_tiles([found], (180, 130))
        assert boxes.tolist() == [[110, 60, 120, 80]]
        assert (scores.tolist(), labels.tolist()) == ([0.9], [2])

    def test_the_weaker_twin_goes_only_within_its_class(self):
        left = detections((0, 0, 100, 100), (60, 10, 80, 30, 0.6, 0), (60, 50, 80, 70, 0.5, 1))
        right = detections((50, 0, 100, 100), (11, 10, 31, 30, 0.8, 0), (10, 50, 30, 70, 0.7, 0))
        boxes, scores, labels = merge_tiles([left, right], (150, 100))
        assert scores.tolist() == [0.8, 0.7, 0.5] and labels.tolist() == [0, 0, 1]
        assert boxes[0].tolist() == [61, 10, 81, 30]

    def test_a_piece_at_a_border_yields_to_the_whole_even_if_stronger(self):
        piece = detections((0, 0, 100, 100), (85, 10, 100, 30, 0.95, 0))
        whole = detections((50, 0, 100, 100), (35, 10, 85, 30, 0.6, 0))
        boxes, _, _ = merge_tiles([piece, whole], (150, 100))
        assert boxes.tolist() == [[85, 10, 135, 30]]

    def test_a_piece_that_nothing_completes_stays(self):
        piece = detections((0, 0, 100, 100), (85, 10, 100, 30, 0.95, 0))
        assert len(merge_tiles([piece], (150, 100))[0]) == 1

    def test_the_border_of_the_picture_cuts_nothing(self):
        edge = detections((0, 0, 100, 100), (0, 10, 50, 30, 0.9, 0))
        other = detections((0, 0, 100, 100), (20, 10, 60, 30, 0.5, 0))
        boxes, scores, _ = merge_tiles([edge, other], (150, 100))
        assert scores.tolist() == [0.9, 0.5] and boxes[0].tolist() == [0, 10, 50, 30]

    def test_one_tile_is_plain_suppression(self):
        torchvision = pytest.importorskip("torchvision")
        torch = pytest.importorskip("torch")
        rng = np.random.default_rng(0)
        corners = rng.uniform(10, 400, (200, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(10, 90, (200, 2))], 1)
        scores, labels = rng.permutation(200) / 200, rng.integers(0, 3, 200)
        found = TileDetections((0, 0, 500, 500), boxes, scores, labels)
        expected = torchvision.ops.batched_nms(*map(torch.tensor, (boxes, scores, labels)), 0.5)
        assert np.array_equal(merge_tiles([found], (500, 500))[0], boxes[expected.numpy()])

    def test_nothing_found(self):
        assert [len(part) for part in merge_tiles([], (10, 10))] == [0, 0, 0]
        assert len(merge_tiles([detections((0, 0, 10, 10))], (10, 10))[0]) == 0

    def test_wrong_shapes_are_refused(self):
        bad = TileDetections((0, 0, 9, 9), np.zeros((2, 4)), np.zeros(1), np.zeros(2, int))
        with pytest.raises(ValueError, match="`boxes`"):
            merge_tiles([bad], (9, 9))
        with pytest.raises(ValueError, match="`iou_threshold`"):
            merge_tiles([], (9, 9), iou_threshold=2)
