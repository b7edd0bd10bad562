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
        captions = {f"{index}.png": ["cat {} dog"] for index in range(3)}
        (exemplars / "text.json").write_text(json.dumps(captions), encoding="utf-8")
        out = run("data", "check", str(exemplars))[1]
        assert "3 pictures" in out and "warning: fewer than 4" in out and "squashed" in out

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
