import pytest
import torch

from tests.pipelines.videorepa.toys import FRAMES, SIZE, toy_base_folder
from visionrel.losses import token_relation_distillation_loss
from visionrel.pipelines.videorepa import bench


@pytest.mark.parametrize("form", [bench.dense_loss, bench.frames_loss])
def test_the_forms_are_the_same_loss(form):
    student, teacher = torch.randn(2, 2, 3, 5, 8, dtype=torch.float64)
    expected = token_relation_distillation_loss(student, teacher, bench.MARGIN)
    torch.testing.assert_close(form(student, teacher), expected, rtol=0, atol=1e-12)


def test_memory_counts_what_lives_at_one_time():
    given = torch.zeros(1000)

    def call():
        first = given + 1  # 4000 bytes, freed when `second` is made
        second = (first[:500] * 2).repeat(4)  # 2000, then 8000
        del first
        second.add_(1)
        return given.mul_(1)  # given storage does not count

    assert bench.measure_peak(call) == 14_000


@pytest.mark.parametrize("form", [bench.dense_loss, bench.frames_loss])
def test_a_row_compares_time_and_memory(form):
    timing = bench.bench_loss(1, batch=2, other=form, grid=(4, 50), width=16)
    assert timing.ratio > 0
    assert "MiB" in timing.note and float(timing.note.rpartition(" ")[2]) < 1e-6


def test_ours_needs_a_tenth_of_the_memory():
    student, teacher = torch.randn(2, 1, 8, 150, 64)

    def peak(loss):
        return bench.measure_peak(lambda: bench._run(loss, student, teacher))

    assert 10 * peak(token_relation_distillation_loss) < peak(bench.dense_loss)


def test_rows():
    assert list(bench.ROWS) == [
        *("trd-dense-1", "trd-dense-4", "trd-frames-1", "trd-frames-4", "trd-native"),
        "motion-generate",
    ]
    assert bench.bench_loss(1, batch=1, other=None, grid=(2, 9), width=4).baseline_seconds is None


def test_the_row_of_generation_draws_with_the_commands_own_settings():
    timing = bench.bench_generate(2, base=str(toy_base_folder()))
    assert (timing.name, timing.target) == ("visionrel generate videorepa", "30 s")
    assert timing.seconds > 0 and timing.note.startswith(
        f"{FRAMES} frames of {SIZE} x {SIZE}, base"
    )
