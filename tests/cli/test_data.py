import json

import pytest
from PIL import Image


@pytest.fixture
def exemplars(tmp_path):
    """Four pictures of one pixel each, two of them the same file."""
    folder = tmp_path / "exemplars"
    folder.mkdir()
    for index, colour in enumerate(("red", "blue", "green", "green")):
        Image.new("RGB", (8, 8), colour).save(folder / f"{index}.png")
    captions = {f"{index}.png": ["cat {} dog", "a cat {} a dog"] for index in range(4)}
    (folder / "text.json").write_text(json.dumps(captions), encoding="utf-8")
    return folder


class TestCheck:
    def test_a_good_folder_is_counted(self, run, exemplars):
        code, out, _ = run("data", "check", str(exemplars), "--json")
        found = json.loads(out)
        assert code == 0
        assert (found["pictures"], found["captions"], found["sizes"]) == (4, 8, ["8x8 (4)"])
        assert found["warnings"] == ["2.png and 3.png are the same file"]

    def test_warnings_stand_below_the_count(self, run, exemplars):
        (exemplars / "3.png").unlink()
        Image.new("RGB", (8, 6)).save(exemplars / "2.png")
        Image.new("RGBA", (8, 8), (0, 0, 0, 9)).save(exemplars / "1.png")
        captions = {f"{index}.png": ["cat {} dog"] for index in range(3)}
        (exemplars / "text.json").write_text(json.dumps(captions), encoding="utf-8")
        out = run("data", "check", str(exemplars))[1]
        assert "3 pictures" in out and "warning: fewer than 4" in out and "squashed" in out
        assert "warning: transparent parts are read as white in 1.png" in out

    def test_pictures_in_other_formats_are_warned_of(self, run, exemplars):
        (exemplars / "4.gif").write_bytes(b"GIF89a")
        code, out, err = run("data", "check", str(exemplars))
        assert code == 0 and "4 pictures" in out
        assert "Not read: 4.gif; save them as one of" in err

    def test_all_problems_are_listed_at_once(self, run, exemplars):
        (exemplars / "0.png").write_bytes(b"")
        (exemplars / "1.png").write_bytes((exemplars / "1.png").read_bytes()[:40])
        captions = {f"{index}.png": ["cat {} dog"] for index in range(3)}
        captions["2.png"] = ["cat on dog"]
        (exemplars / "text.json").write_text(json.dumps(captions), encoding="utf-8")
        code, out, err = run("data", "check", str(exemplars))
        assert (code, out) == (2, "")
        for message in ("0.png", "1.png", "without {}", "3.png has no entry"):
            assert message in err


class TestRenderScenes:
    def test_draws_a_folder_that_the_check_accepts(self, run):
        words = ("data", "render", "scenes", "diagonal", "--count", "3", "--seed", "1")
        code, out, _ = run(*words)
        assert (code, out) == (0, "outputs/exemplars/diagonal\n")
        found = json.loads(run("data", "check", out.strip(), "--json")[1])
        assert found["pictures"] == 3

    def test_the_same_seed_draws_the_same_pictures(self, run, tmp_path):
        for name in ("one", "two"):
            run("data", "render", "scenes", "hugging", "--seed", "1", "--output-dir", name)
        one, two = (
            {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
            for name in ("one", "two")
        )
        assert one == two and len(one) == 11

    def test_mistakes_are_refused_together(self, run, tmp_path):
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "file").touch()
        words = ("data", "render", "scenes", "diagonall", "--count", "0", "--output-dir", "full")
        code, _, err = run(*words)
        assert code == 2
        for message in ("Did you mean 'diagonal'?", "`count`", "nothing is overwritten"):
            assert message in err


class TestAerial:
    @pytest.fixture
    def drawn(self, run):
        words = ("data", "render", "aerial", "--train", "2", "--val", "0", "--test", "1")
        code, out, _ = run(*words, "--side", "96", "--seed", "3", "--json")
        assert code == 0
        return json.loads(out)

    def test_draws_splits_that_the_check_accepts(self, run, drawn, tmp_path):
        assert list(drawn["splits"]) == ["train", "test-night", "test-fog", "test-steep"]
        folder = tmp_path / drawn["output_dir"]
        words = ("data", "check", str(folder / "train.json"), "--images_dir", str(folder / "train"))
        side = ("--conditions", str(folder / "train-conditions.json"))
        code, out, _ = run(*words, "--classes", "aerial", *side, "--json")
        found = json.loads(out)
        assert (code, found["pictures"]) == (0, 2)
        assert found["boxes"] == drawn["splits"]["train"]
        code, _, err = run(*words, "--classes", "car", "bus")
        assert code == 2 and "'van' in `categories` is not among" in err

    def test_labels_need_their_pictures_and_exemplars_do_not(self, run, drawn, exemplars):
        code, _, err = run("data", "check", f"{drawn['output_dir']}/train.json")
        assert code == 2 and "`images_dir` is needed" in err
        code, _, err = run("data", "check", str(exemplars), "--classes", "dota")
        assert code == 2 and "`classes` belong to labels" in err


class TestConvert:
    @pytest.fixture
    def source(self, tmp_path):
        for name in ("images", "labels"):
            (tmp_path / name).mkdir()
        Image.new("RGB", (100, 80)).save(tmp_path / "images" / "a.png")
        return ("--images_dir", "images", "--annotations_dir", "labels", "--output_file", "a.json")

    @pytest.mark.parametrize(
        ("name", "file", "text", "counted"),
        [
            ("visdrone", "a.txt", "10,20,30,40,1,4,0,1", "car"),
            ("dota", "a.txt", "10 20 40 20 40 60 10 60 plane 0", "plane"),
            (
                *("voc", "a.xml"),
                "<annotation><object><name>Tree</name><bndbox><xmin>11</xmin><ymin>21</ymin>"
                "<xmax>40</xmax><ymax>60</ymax></bndbox></object></annotation>",
                "Tree",
            ),
        ],
    )
    def test_labels_are_converted_and_pass_the_check(
        self, run, source, tmp_path, name, file, text, counted
    ):
        (tmp_path / "labels" / file).write_text(text, encoding="utf-8")
        code, out, _ = run("data", "convert", name, *source)
        assert code == 0 and out.startswith("a.json: 1 pictures") and f"{counted} 1" in out
        assert json.loads((tmp_path / "a.json").read_text())["annotations"][0]["bbox"] == [
            *(10, 20, 30, 40)
        ]
        assert run("data", "check", "a.json", "--images_dir", "images")[0] == 0
        code, _, err = run("data", "convert", name, *source)
        assert code == 2 and "nothing is overwritten" in err

    def test_sequences_bring_their_conditions(self, run, source, tmp_path):
        (tmp_path / "images" / "M0101").mkdir()
        Image.new("RGB", (100, 80)).save(tmp_path / "images" / "M0101" / "img000001.jpg")
        (tmp_path / "labels" / "M0101_gt_whole.txt").write_text("1,1,10,20,30,40,1,1,3")
        (tmp_path / "labels" / "M0101_attr.txt").write_text("0,1,0,0,1,0,0,0,1,0")
        words = ("data", "convert", "uavdt", *source, "--attributes_dir", "labels", "--json")
        found = json.loads(run(*words)[1])
        assert found["boxes"] == {"car": 0, "truck": 0, "bus": 1}
        assert found["conditions_file"] == "a-conditions.json"
        assert (tmp_path / "a-conditions.json").is_file()
        (tmp_path / "a.json").unlink()
        code, _, err = run(*words)
        assert code == 2 and "a-conditions.json exists" in err
        assert not (tmp_path / "a.json").exists()

    def test_tiles(self, run, source, tmp_path):
        (tmp_path / "labels" / "a.txt").write_text("10,20,30,40,1,4,0,1")
        tiles = ("--tiles_dir", "tiles", "--tile", "60", "--stride", "40")
        found = json.loads(run("data", "convert", "visdrone", *source, *tiles, "--json")[1])
        assert found["pictures"] == 4
        assert run("data", "check", "a.json", "--images_dir", "tiles")[0] == 0
