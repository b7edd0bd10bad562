"""Converters on hand-made files in the original formats: coordinates, ids, what is ignored."""

from pathlib import Path

import pytest
from PIL import Image

from visionrel.data.aerial import (
    DOTA,
    UAVDT,
    VISDRONE,
    convert_dota,
    convert_uavdt,
    convert_visdrone,
    convert_voc,
    to_coco,
)
from visionrel.errors import InputError


NEON = Path(__file__).parent / "neon_trees"


def picture(path: Path, size: tuple[int, int] = (100, 80)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "green").save(path)


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


class TestVisdrone:
    @pytest.fixture
    def source(self, tmp_path):
        picture(tmp_path / "images" / "a.jpg")
        picture(tmp_path / "images" / "b.jpg", (50, 60))
        write(
            tmp_path / "annotations" / "a.txt",
            "10,20,30,40,1,4,0,1",  # car
            "0,0,5,6,1,1,1,2,",  # pedestrian, with the comma some files have
            "40,40,10,10,0,0,0,0",  # ignored region
            "60,60,20,20,1,11,0,0",  # others
            "90,70,20,20,1,10,0,0",  # motor, beyond the corner
            "5,5,4,4,0,9,0,0",  # bus that does not count
        )
        write(tmp_path / "annotations" / "b.txt")
        return tmp_path / "images", tmp_path / "annotations"

    def test_boxes_classes_and_ignored_regions(self, source):
        made = convert_visdrone(*source)
        first, second = made.pictures
        assert (first.file_name, first.width, first.height) == ("a.jpg", 100, 80)
        assert (second.file_name, second.boxes) == ("b.jpg", ())
        assert [(item.name, item.box, item.ignore) for item in first.boxes] == [
            ("car", (10, 20, 30, 40), False),
            ("pedestrian", (0, 0, 5, 6), False),
            (None, (40, 40, 10, 10), False),
            (None, (60, 60, 20, 20), False),
            ("motor", (90, 70, 10, 10), False),
            ("bus", (5, 5, 4, 4), True),
        ]
        assert first.boxes[0].extra == {"truncation": 0, "occlusion": 1}
        assert made.count()["car"] == made.count()["motor"] == 1 and made.count()["bus"] == 0
        assert made.warnings == ["1 boxes reached beyond their picture and were cut: a.txt:5."]

    def test_the_coco_json_has_a_region_once_per_class(self, source):
        coco = to_coco(convert_visdrone(*source).pictures, VISDRONE)
        assert [(c["id"], c["name"]) for c in coco["categories"]][:4] == [
            (1, "pedestrian"),
            (2, "people"),
            (3, "bicycle"),
            (4, "car"),
        ]
        assert coco["categories"][9] == {"id": 10, "name": "motor"}
        car = coco["annotations"][0]
        assert car | {"bbox": [10, 20, 30, 40], "area": 1200, "iscrowd": 0} == car
        assert (car["category_id"], car["image_id"]) == (4, 1)
        region = [a for a in coco["annotations"] if a["bbox"] == [40, 40, 10, 10]]
        assert [a["category_id"] for a in region] == list(range(1, 11))
        assert all(a["iscrowd"] == 1 for a in region)
        ids = [a["id"] for a in coco["annotations"]]
        assert ids == list(range(1, len(ids) + 1))

    def test_pictures_without_labels_are_told(self, source):
        picture(source[0] / "c.jpg")
        assert convert_visdrone(*source).warnings[0] == "c.jpg has no label file and was left out."

    def test_noise_of_floats_is_no_cut(self, source):
        write(source[1] / "b.txt", "49.7,59.9,0.3,0.1,1,4,0,0")
        made = convert_visdrone(*source)
        assert made.warnings == ["1 boxes reached beyond their picture and were cut: a.txt:5."]

    def test_bad_rows_are_listed_together(self, source):
        images, annotations = source
        write(
            annotations / "b.txt",
            "1,2,3,4,1,4,0",
            "1,2,x,4,1,4,0,0",
            "1,2,3,4,1,12,0,0",
            "1,2,-3,4,1,4,0,0",
            "1,2,3,4,7,4,0,0",
            "1,2,0,4,1,4,0,0",
        )
        write(annotations / "c.txt", "1,2,3,4,1,4,0,0")
        (images / "a.jpg").write_bytes(b"")
        with pytest.raises(InputError) as error:
            convert_visdrone(images, annotations)
        text = str(error.value)
        assert len(error.value.problems) == 7
        for place in ("b.txt:1", "b.txt:2", "b.txt:3", "b.txt:4", "b.txt:5", "c.txt", "a.jpg"):
            assert place in text

    def test_boxes_without_area_are_left_out_and_told(self, source):
        images, annotations = source
        write(annotations / "b.txt", "1,2,0,4,1,4,0,0", "200,2,3,4,1,4,0,0")
        made = convert_visdrone(images, annotations)
        assert made.pictures[1].boxes == ()
        assert "b.txt:1, b.txt:2" in made.warnings[-1]

    def test_folders_that_are_none(self, tmp_path):
        with pytest.raises(InputError, match="`images`") as error:
            convert_visdrone(tmp_path / "x", tmp_path / "y")
        assert len(error.value.problems) == 2


class TestUavdt:
    @pytest.fixture
    def source(self, tmp_path):
        for frame in (1, 2, 3, 4):
            picture(tmp_path / "images" / "M0101" / f"img{frame:06d}.jpg")
        picture(tmp_path / "images" / "M0701" / "img000001.jpg")
        write(
            tmp_path / "GT" / "M0101_gt_whole.txt",
            "1,1,10,20,30,40,1,1,1",
            "3,1,11,20,30,40,1,4,2",
            "3,2,50,20,10,10,1,1,3",
        )
        write(tmp_path / "GT" / "M0101_gt_ignore.txt", "1,0,60,60,20,10,-1,-1,-1", "4,0,1,1,5,5")
        write(tmp_path / "GT" / "M0701_gt_whole.txt", "1,1,10,20,30,40,1,1,1")
        write(tmp_path / "M_attr" / "train" / "M0101_attr.txt", "1,0,0,0,1,0,1,1,0,0")
        write(tmp_path / "M_attr" / "test" / "M0701 _attr.txt", "0,0,1,0,0,1,0,0,1,1")
        return tmp_path

    def test_frames_classes_and_ignored_regions(self, source):
        made = convert_uavdt(source / "images", source / "GT", source / "M_attr" / "train")
        assert made.classes == UAVDT == ("car", "truck", "bus")
        assert [p.file_name for p in made.pictures] == [
            f"M0101/img00000{frame}.jpg" for frame in (1, 2, 3)
        ]
        first, second, third = made.pictures
        assert [(i.name, i.box) for i in first.boxes] == [
            ("car", (10, 20, 30, 40)),
            (None, (60, 60, 20, 10)),
        ]
        assert second.boxes == ()
        assert [i.name for i in third.boxes] == ["truck", "bus"]
        assert third.boxes[0].extra == {"out_of_view": 1, "occlusion": 4, "track_id": 1}
        assert "1 pictures after frame 3 have no labels" in made.warnings[0]

    def test_attributes_become_conditions(self, source):
        train = convert_uavdt(source / "images", source / "GT", source / "M_attr" / "train")
        assert train.conditions["M0101/img000001.jpg"] == {
            "time": (1.0, 0.0, 0.0),
            "weather": (0.25, 0.25, 0.0, 0.25, 0.25),  # anything but fog
            "altitude": (0.0, 1.0, 0.0),
            "view": (0.0, 0.5, 0.5),  # front and side share the axis
        }
        test = convert_uavdt(source / "images", source / "GT", source / "M_attr" / "test")
        assert test.conditions == {
            "M0701/img000001.jpg": {
                "weather": (0.0, 0.0, 1.0, 0.0, 0.0),
                "altitude": (0.0, 0.0, 1.0),
                "view": (1.0, 0.0, 0.0),
            }
        }

    def test_without_attributes_every_sequence_is_read(self, source):
        made = convert_uavdt(source / "images", source / "GT")
        assert len(made.pictures) == 4 and not made.conditions

    def test_bad_files_are_listed_together(self, source):
        write(
            source / "GT" / "M0101_gt_whole.txt",
            "0,1,10,20,30,40,1,1,1",
            "1,1,10,20,30,40,1,1,4",
            "2,1,10,20,30,40,1",
            "9,1,10,20,30,40,1,1,1",
        )
        write(source / "M_attr" / "train" / "M0101_attr.txt", "1,0,0,0,1,0,1,1,0,0")
        write(source / "M_attr" / "train" / "M0202_attr.txt", "1,0,0,0,1,0,1,0,0,0")
        write(source / "M_attr" / "train" / "M0303_attr.txt", "1,0,2")
        with pytest.raises(InputError) as error:
            convert_uavdt(source / "images", source / "GT", source / "M_attr" / "train")
        text = str(error.value)
        assert len(error.value.problems) == 6
        for part in ("txt:1", "txt:2", "txt:3", "img000009", "M0202", "M0303"):
            assert part in text


class TestDota:
    @pytest.fixture
    def source(self, tmp_path):
        picture(tmp_path / "images" / "P0001.png", (300, 200))
        write(
            tmp_path / "labelTxt" / "P0001.txt",
            "imagesource:GoogleEarth",
            "gsd:0.146343590398",
            "10.0 20.0 50.0 10.0 60.0 40.0 20.0 50.0 plane 0",
            "100 100 120 100 120 130 100 130 small-vehicle 1",
        )
        return tmp_path / "images", tmp_path / "labelTxt"

    def test_polygons_become_upright_boxes(self, source):
        made = convert_dota(*source)
        assert made.classes == DOTA and len(DOTA) == 15
        plane, vehicle = made.pictures[0].boxes
        assert (plane.name, plane.box, plane.ignore) == ("plane", (10, 10, 50, 40), False)
        assert (vehicle.box, vehicle.ignore) == ((100, 100, 20, 30), True)
        assert [a["iscrowd"] for a in to_coco(made.pictures, DOTA)["annotations"]] == [0, 1]

    def test_pictures_without_labels_are_told(self, source):
        picture(source[0] / "P0002.png")
        assert convert_dota(*source).warnings == ["P0002.png has no label file and was left out."]

    def test_difficult_objects_can_be_kept(self, source):
        vehicle = convert_dota(*source, keep_difficult=True).pictures[0].boxes[1]
        assert not vehicle.ignore and vehicle.extra == {"difficult": 1}

    def test_bad_rows_are_listed_together(self, source):
        write(
            source[1] / "P0001.txt",
            "gsd:null",
            "1 2 3 4 5 6 7 plane 0",
            "1 2 3 4 5 6 7 8 planet 0",
            "1 2 3 4 5 6 7 8 plane 3",
            "1 2 nan 4 5 6 7 8 plane 0",
        )
        with pytest.raises(InputError, match="did you mean 'plane'") as error:
            convert_dota(*source)
        assert len(error.value.problems) == 4


XML = """<annotation><filename>a.png</filename>
<size><width>{width}</width><height>80</height></size>
<object><name>Tree</name><difficult>{difficult}</difficult><bndbox><xmin>{xmin}</xmin>
<ymin>11</ymin><xmax>{xmax}</xmax><ymax>30</ymax></bndbox></object></annotation>"""


class TestVoc:
    @pytest.fixture
    def source(self, tmp_path):
        picture(tmp_path / "images" / "a.png")
        self.write_xml(tmp_path)
        return tmp_path / "images", tmp_path / "xml"

    def write_xml(self, folder, width=100, difficult=0, xmin=1, xmax=100):
        text = XML.format(width=width, difficult=difficult, xmin=xmin, xmax=xmax)
        write(folder / "xml" / "a.xml", text)

    def test_pixels_count_from_one_and_the_last_belongs_to_the_box(self, source):
        made = convert_voc(*source)
        assert made.classes == ("Tree",) and not made.warnings
        assert made.pictures[0].boxes[0].box == (0, 10, 100, 20)

    def test_or_from_zero_on_request(self, source, tmp_path):
        self.write_xml(tmp_path, xmin=0)
        with pytest.raises(InputError, match="`origin` 0"):
            convert_voc(*source)
        assert convert_voc(*source, origin=0).pictures[0].boxes[0].box == (0, 11, 100, 19)

    def test_difficult_objects_are_ignored(self, source, tmp_path):
        self.write_xml(tmp_path, difficult=1)
        assert convert_voc(*source).pictures[0].boxes[0].ignore
        assert not convert_voc(*source, keep_difficult=True).pictures[0].boxes[0].ignore

    def test_pictures_without_labels_are_told(self, source):
        picture(source[0] / "b.png")
        assert convert_voc(*source).warnings == ["b.png has no label file and was left out."]

    @pytest.mark.parametrize("value", ["nan", "inf"])
    def test_coordinates_must_be_finite(self, source, tmp_path, value):
        self.write_xml(tmp_path, xmax=value)
        with pytest.raises(InputError, match=r"a\.xml:object 1: needs bndbox"):
            convert_voc(*source)

    def test_wrong_sizes_and_unknown_classes_are_refused(self, source, tmp_path):
        with pytest.raises(InputError, match="Classes Tree are not among"):
            convert_voc(*source, classes=("Bush",))
        self.write_xml(tmp_path, width=99)
        write(tmp_path / "xml" / "b.xml", "<annotation>")
        with pytest.raises(InputError) as error:
            convert_voc(*source)
        assert len(error.value.problems) == 3  # size, xml, picture of b
        assert "for a picture of 99 x 80" in str(error.value)

    def test_real_tree_crowns(self):
        made = convert_voc(NEON, NEON)
        crop = made.pictures[0]
        assert (crop.file_name, crop.width, crop.height) == ("OSBS_029_crop.png", 160, 160)
        assert made.count() == {"Tree": len(crop.boxes)} and len(crop.boxes) == 8
        assert "names the picture OSBS_029.tif" in made.warnings[0] and len(made.warnings) == 1
        right = max(item.box[0] + item.box[2] for item in crop.boxes)
        bottom = max(item.box[1] + item.box[3] for item in crop.boxes)
        assert (right, bottom) == (160, 160)
