"""The comparison from cells on disk: trainings resume, and few seeds decide nothing."""

import dataclasses
import json
import shutil

import pytest

from tests.cli.conftest import run  # noqa: F401
from visionrel.detectors import evidence
from visionrel.detectors.comparison import VARIANTS, choose_variants
from visionrel.detectors.configuration import shipped_configs
from visionrel.detectors.findings import Findings, make_report, seed_interval
from visionrel.errors import InputError


def scores(value, rare, steep=None):
    part = {"small": value, "medium": value, "large": None}
    groups = {"frequent": value, "common": value, "rare": rare}
    overlaps = {"AP": value, "AP50": 2 * value, "AP75": value / 2}
    split = {**overlaps, "by_size": part, "by_group": groups}
    names = ("val", "test-night", "test-fog", "test-steep")
    splits = dict.fromkeys(names, split)
    if steep is not None:
        splits["test-steep"] = {**split, "AP": steep}
    return {"parameters": 100, "iterations": 5, "splits": splits}


def findings(table):
    cells = {(name, seed): scores(*row) for name, rows in table.items() for seed, row in rows}
    return Findings(choose_variants(tuple(table)), cells, dict.fromkeys(table, 0.01), {})


def verdicts(report):
    return {claim.statement: claim.verdict for claim in report.claims}


@pytest.fixture
def settings():
    from visionrel.cli.detect import EvaluateAerialSettings

    return EvaluateAerialSettings()


def test_every_variant_is_shipped():
    assert {variant.config for variant in VARIANTS.values()} <= set(shipped_configs())


def test_differences_are_paired_by_seed(settings):
    base = [(0, (0.1, 0.1)), (1, (0.3, 0.1)), (2, (0.2, 0.1))]
    lango = [(seed, (value + 0.02 + 0.001 * seed, rare)) for seed, (value, rare) in base]
    report = make_report(findings({"base": base, "lango": lango}), settings)
    found = verdicts(report)
    assert found["LANGO finds more under conditions that it never saw."] == "holds"
    assert found["Language helps: LANGO beats random vectors."] == "not measured here"


def test_what_does_not_help_is_said(settings):
    base = [(seed, (0.2, 0.1 + 0.01 * seed)) for seed in range(3)]
    worse = [(seed, (0.2, 0.05 + 0.01 * seed)) for seed in range(3)]
    found = verdicts(make_report(findings({"base": base, "batchformer": worse}), settings))
    assert found["BatchFormer V1 on regions finds more of rare classes."] == "does not hold"
    assert found["BatchFormer V1 on regions costs nothing at inference."] == "holds"


def test_a_slower_detector_costs_something(settings):
    table = {name: [(0, (0.2, 0.1))] for name in ("base", "batchformer")}
    speed = {"base": 0.01, "batchformer": 0.011}
    measured = dataclasses.replace(findings(table), speed=speed, threads=4)
    report = make_report(measured, settings)
    assert (
        verdicts(report)["BatchFormer V1 on regions costs nothing at inference."] == "does not hold"
    )
    assert "on 4 threads" in report.tables[-1].note


def test_one_seed_decides_nothing(settings):
    one = findings({"base": [(0, (0.1, 0.1))], "lango": [(0, (0.4, 0.4))]})
    report = make_report(one, settings)
    assert verdicts(report)["LANGO finds more under conditions that it never saw."] == "undecided"
    assert "one seed" in report.to_markdown() and "[" not in report.tables[0].rows[0][1:]


def test_a_class_that_is_absent_is_no_zero(settings):
    report = make_report(findings({"base": [(0, (0.1, None)), (1, (0.2, None))]}), settings)
    frequency = report.tables[2]
    assert frequency.rows[0][3] is None and frequency.rows[0][1].estimate == pytest.approx(0.15)


def test_strict_and_lenient_overlaps_stand_beside_the_mean(settings):
    overlaps = make_report(findings({"base": [(0, (0.1, None))]}), settings).tables[1]
    assert overlaps.columns[1:4] == ("AP, validation", "AP50, validation", "AP75, validation")
    assert overlaps.rows[0][1:] == pytest.approx((0.1, 0.2, 0.05) * 2)


def test_a_mean_that_mostly_is_one_split_says_so(settings):
    mixed = make_report(findings({"base": [(0, (0.1, None))]}), settings)
    assert "mostly is" not in mixed.summary
    steep = make_report(findings({"base": [(0, (0.01, None, 0.2))]}), settings)
    assert "(mean AP over all trainings 0.010 and 0.010)" in steep.summary
    assert "*held out* mostly is the steep split (0.200)" in steep.summary


def test_what_was_not_run_is_named(settings):
    limits = make_report(findings({"base": [(0, (0.1, None))]}), settings).limits
    assert "BatchFormerV2 in the DETR family" in " ".join(limits)
    assert "reasoner alone" in limits[-1] and "Faster R-CNN" not in limits[-1]


def test_an_interval_needs_two_seeds():
    assert seed_interval([0.3]) is None
    interval = seed_interval([0.1, 0.1])
    assert (interval.low, interval.high) == (0.1, 0.1)


def test_unknown_variants_are_refused():
    with pytest.raises(InputError, match="'nothing'; choose among base"):
        choose_variants(("nothing",))


def test_the_command_goes_on_where_it_was(run, aerial, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(evidence, "_TIMED", 1)
    words = ("evaluate", "aerial", "--data_root", str(aerial), "--iterations", "1")
    words += ("--output_dir", "found", "--json", "--seeds", "1")
    code, _, err = run(*words, "--no-train")
    assert code == 2 and "holds no measurements" in err
    code, out, err = run(*words, "--variants", "base")
    assert code == 0, err
    assert not (tmp_path / "docs").exists()

    # The training is there; only its scores are lost.
    (tmp_path / "found" / "cells" / "base-seed0.json").unlink()
    folder = tmp_path / "found" / "runs" / "base-seed0"
    before = (folder / "iter_1.pth").stat().st_mtime_ns
    code, out, err = run(*words, "--variants", "base", "batchformer", "--docs_dir", "docs")
    assert code == 0, err
    assert (folder / "iter_1.pth").stat().st_mtime_ns == before
    # Whether it holds is a matter of time, and one picture was timed.
    claims = {claim["statement"]: claim["measured"] for claim in json.loads(out)["claims"]}
    assert claims["BatchFormer V1 on regions costs nothing at inference."].startswith(
        "+0 parameters used"
    )
    assert (
        "Faster R-CNN 1, BatchFormer V1 on regions 1"
        in (tmp_path / "docs" / "results.md").read_text()
    )

    shutil.rmtree(tmp_path / "found" / "runs" / "batchformer-seed0")
    code, _, err = run(*words, "--no-train")
    assert code == 0, err
    code, _, err = run(*words, "--iterations", "2")
    assert code == 2 and "measurements of other settings" in err
