"""The aerial world: scenes, pictures and boxes agree, and splits hold out what they say."""

import math
from dataclasses import replace

import numpy as np
import pytest

from visionrel.data.aerial import VISDRONE, check_labels, load_conditions
from visionrel.errors import InputError
from visionrel.worlds.aerial import (
    CLASSES,
    FREQUENCIES,
    GROUPS,
    SPLITS,
    AerialObject,
    AerialScene,
    Camera,
    Conditions,
    count_classes,
    dataset,
    draw_aerial,
    render_aerial,
    sample_aerial,
    write_aerial,
)
from visionrel.worlds.aerial.mesh import SLOTS
from visionrel.worlds.aerial.models import building_mesh, load_model


def scene_of(*objects, conditions=None, depression=90.0, height=40.0):
    """A bare ground with the given objects."""
    return AerialScene(
        conditions or Conditions(),
        *(Camera(height, math.radians(depression)), (120, 130, 90), (), (), ()),
        *(objects, (), (0.7, 1.0), 3),
    )


def thing(name, x=0.0, y=0.0, heading=0.0, **options):
    return AerialObject(name, x, y, heading, (200, 30, 30), (40, 80, 160), **options)


def box_size(name, **options):
    return draw_aerial(scene_of(thing(name), **options), 320)[1][0].box[2:]


def test_classes_frequencies_and_groups_belong_together():
    assert CLASSES == VISDRONE
    assert set(FREQUENCIES) == set(CLASSES) == {name for g in GROUPS.values() for name in g}
    assert math.isclose(sum(FREQUENCIES.values()), 1.0)


def test_equal_seeds_give_equal_pictures_and_other_seeds_others():
    first, again, other = (
        draw_aerial(sample_aerial(np.random.default_rng(seed)), 96) for seed in (3, 3, 4)
    )
    assert first[0].tobytes() == again[0].tobytes() and first[1] == again[1]
    assert first[0].tobytes() != other[0].tobytes()


class TestCamera:
    @pytest.mark.parametrize("depression", [34.0, 60.0, 90.0])
    def test_ground_and_picture_are_inverse(self, depression):
        camera = Camera(30.0, math.radians(depression))
        pixels = np.random.default_rng(0).uniform(0, 320, (50, 2))
        ground = camera.ground(pixels, 320)
        back, depth = camera.project(np.insert(ground, 2, 0.0, -1), 320)
        assert np.allclose(back, pixels) and (depth > 0).all()
        u, v = pixels[0] / 320
        assert np.allclose(camera.ground_point(u, v), ground[0])
        assert np.allclose(camera.glance(*ground[0])[:2], (u, v))

    def test_it_looks_at_the_origin(self):
        pixels = Camera(30.0, 0.9).project(np.zeros(3), 320)[0]
        assert np.allclose(pixels, 160)

    def test_what_is_far_or_high_stands_higher_in_the_picture(self):
        camera = Camera(30.0, 0.8)
        points = np.array([[0, 0, 0], [0, 10, 0], [0, 0, 2.0]])
        near, far, high = camera.project(points, 320)[0]
        assert far[1] < near[1] and high[1] < near[1]

    def test_a_metre_has_the_length_that_the_height_gives(self):
        assert math.isclose(Camera(40.0, math.pi / 2).glance(0, 0)[2] * 40, Camera.focal)


class TestModels:
    @pytest.mark.parametrize("name", CLASSES)
    def test_faces_look_outwards(self, name):
        mesh = load_model(name)
        assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1)
        # The top of every part faces up and nothing else but flat discs faces down.
        assert (mesh.normals[~mesh.flat, 2] > -0.01).all()
        assert mesh.bounds[0, 2] >= -0.5 and (mesh.bounds[1] > mesh.bounds[0]).all()

    @pytest.mark.parametrize("ridged", [True, False])
    def test_houses_close(self, ridged):
        mesh = building_mesh(10, 8, 4, ridged)
        assert (mesh.normals[:, 2] > -0.01).all()
        assert set(mesh.slots.tolist()) >= {SLOTS.index("paint"), SLOTS.index("second")}

    def test_sizes_tell_the_classes_apart(self):
        lengths = {name: np.ptp(load_model(name).bounds[:, 0]) for name in CLASSES}
        assert lengths["bus"] > lengths["truck"] > lengths["van"] > lengths["car"]
        assert lengths["car"] > lengths["tricycle"] > lengths["motor"] > lengths["pedestrian"]

    def test_the_outline_has_the_bounds_of_the_model(self):
        for name in CLASSES:
            mesh = load_model(name)
            assert np.allclose(mesh.outline.min(0)[:2], mesh.bounds[0, :2], atol=0.05)
            assert np.allclose(mesh.outline.max(0)[:2], mesh.bounds[1, :2], atol=0.05)


class TestBoxes:
    def test_a_box_has_the_size_that_optics_give(self):
        width, height = box_size("car")
        # Its widest outline is at most 1 m above the ground and 40 m below the camera.
        metre = Camera.focal * 320 / 40
        length, breadth = np.ptp(load_model("car").bounds, axis=0)[:2]
        assert length * metre <= width <= length * metre * 1.03
        assert breadth * metre <= height <= breadth * metre * 1.12

    def test_a_box_holds_exactly_the_pixels_that_change(self):
        fog = Conditions(view="straight down")
        item = thing("bus", 3.0, -2.0, 0.4)
        with_bus, bare = (
            np.asarray(render_aerial(replace(scene_of(*o, conditions=fog), sun=(0, 1.57)), 160))
            for o in ((item,), ())
        )
        rows, columns = np.nonzero(np.abs(with_bus.astype(int) - bare).sum(-1) > 30)
        left, top, width, height = draw_aerial(scene_of(item, conditions=fog), 160)[1][0].box
        assert abs(columns.min() - left) <= 1.5 and abs(columns.max() + 1 - left - width) <= 1.5
        assert abs(rows.min() - top) <= 1.5 and abs(rows.max() + 1 - top - height) <= 1.5

    def test_boxes_grow_with_the_picture(self):
        scene = sample_aerial(np.random.default_rng(1))
        small, large = (draw_aerial(scene, side)[1] for side in (160, 320))
        sizes = {item.box: item for item in large}
        for item in small:
            assert any(
                item.name == other.name and np.allclose(np.array(item.box) * 2, box, atol=0.05)
                for box, other in sizes.items()
            )

    def test_what_leaves_the_picture_is_cut_and_less_visible(self):
        edge = -Camera(40.0, math.pi / 2).ground(np.array([320.0, 0.0]), 320)[0]
        annotation = draw_aerial(scene_of(thing("bus", edge)), 320)[1][0]
        assert annotation.box[0] == 0 and annotation.visible == pytest.approx(0.44, abs=0.05)
        assert not annotation.ignore

    def test_what_is_hidden_is_ignored_or_left_out(self):
        person = thing("pedestrian", 0.0, 1.6)
        alone = draw_aerial(scene_of(person, depression=35), 320)[1]
        assert [a.ignore for a in alone] == [False] and alone[0].visible == 1.0
        behind = draw_aerial(scene_of(person, thing("bus", 0.0, 0.0), depression=35), 320)[1]
        named = [a for a in behind if a.name == "pedestrian"]
        assert not named or named[0].ignore

    def test_a_crowd_becomes_one_region(self):
        crowd = [thing("pedestrian", x, 0.0, labelled=False) for x in (-1.0, 0.0, 1.0)]
        annotations = draw_aerial(scene_of(*crowd, thing("car", 8.0)), 320)[1]
        assert [(a.name, a.ignore) for a in annotations] == [("car", False), (None, True)]
        assert annotations[1].box[2] > 2 * Camera.focal * 320 / 40

    def test_boxes_lie_inside_the_picture(self):
        rng = np.random.default_rng(5)
        for _ in range(20):
            for item in draw_aerial(sample_aerial(rng), 128)[1]:
                left, top, width, height = item.box
                assert left >= 0 and top >= 0 and width >= 1 and height >= 1
                assert left + width <= 128.01 and top + height <= 128.01


class TestConditions:
    def mean(self, **options):
        shots = [
            render_aerial(sample_aerial(np.random.default_rng(seed), Conditions(**options)), 96)
            for seed in range(6)
        ]
        return np.stack([np.asarray(shot, float) for shot in shots])

    def test_night_is_darker_than_dusk_and_dusk_than_day(self):
        night, dusk, day = (
            self.mean(time=time).mean() for time in ("night", "dusk or dawn", "daytime")
        )
        assert night < 0.6 * dusk and dusk < 0.95 * day

    def test_dusk_is_warmer_than_day(self):
        dusk, day = (self.mean(time=time).mean((0, 1, 2)) for time in ("dusk or dawn", "daytime"))
        assert dusk[0] / dusk[2] > 1.2 * day[0] / day[2]

    def test_fog_takes_contrast_and_snow_brightens(self):
        clear, fog, snow = (
            self.mean(weather=weather) for weather in ("clear weather", "fog", "snow")
        )
        assert fog.std((1, 2)).mean() < 0.7 * clear.std((1, 2)).mean()
        assert snow.mean() > 1.25 * clear.mean()

    def test_altitude_makes_things_smaller(self):
        sizes = [
            np.median(
                [
                    a.box[2] * a.box[3]
                    for seed in range(6)
                    for a in draw_aerial(
                        sample_aerial(np.random.default_rng(seed), Conditions(altitude=altitude)),
                        128,
                    )[1]
                    if a.name == "car" and a.visible == 1
                ]
            )
            for altitude in ("low altitude", "medium altitude", "high altitude")
        ]
        assert sizes[0] > sizes[1] > sizes[2]

    def test_lamps_burn_at_night_only(self):
        for time in ("night", "daytime"):
            scene = sample_aerial(np.random.default_rng(2), Conditions(time=time))
            assert any(item.moving for item in scene.objects) == (time == "night")

    def test_unknown_conditions_are_refused(self):
        with pytest.raises(ValueError, match="`weather` must be one of: clear weather"):
            Conditions(weather="hail")


class TestDataset:
    def test_splits_hold_out_night_fog_and_steep_views(self):
        rng = np.random.default_rng(0)
        drawn = {name: [split.draw(rng) for _ in range(200)] for name, split in SPLITS.items()}
        for name in ("train", "val"):
            for item in drawn[name]:
                assert item.time != "night" and item.weather != "fog"
                assert item.view != "straight down"
        assert {item.time for item in drawn["test-night"]} == {"night"}
        assert {item.weather for item in drawn["test-fog"]} == {"fog"}
        assert {item.view for item in drawn["test-steep"]} == {"straight down"}
        assert len({split.number for split in SPLITS.values()}) == len(SPLITS)

    def test_what_is_written_passes_the_doctor_and_repeats(self, tmp_path):
        for name in ("a", "b"):
            written = write_aerial(tmp_path / name, {"train": 3, "test-night": 2}, 5, side=96)
        files = written["train"]
        report = check_labels(files.labels, files.pictures, CLASSES, files.conditions)
        assert report.pictures == 3 and report.boxes == files.counts
        told = load_conditions(written["test-night"].conditions)
        assert [entry["time"] for entry in told.values()] == [(0, 0, 1)] * 2
        one, two = (
            {p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*.*")}
            for n in ("a", "b")
        )
        assert one == two and len(one) == 9

    def test_an_interrupt_leaves_no_half_of_a_data_set(self, tmp_path, monkeypatch):
        def interrupted(*arguments):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(dataset, "draw_aerial", interrupted)
            with pytest.raises(KeyboardInterrupt):
                write_aerial(tmp_path / "a", {"train": 2}, side=96)
        assert not (tmp_path / "a").exists()
        written = write_aerial(tmp_path / "a", {"train": 2}, side=96)["train"]
        assert [path.name for path in tmp_path.iterdir()] == ["a"]
        assert written.labels.is_file() and len(list(written.pictures.iterdir())) == 2

    def test_mistakes_are_refused_together(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(InputError) as error:
            write_aerial(tmp_path, {"trian": 3, "val": 0}, side=10)
        assert len(error.value.problems) == 4

    def test_frequencies_have_a_long_tail(self):
        counts = count_classes(40)
        total = sum(counts.values())
        frequent, common, rare = (sum(counts[n] for n in group) for group in GROUPS.values())
        assert frequent > 0.7 * total and rare < 0.08 * total and common > rare
