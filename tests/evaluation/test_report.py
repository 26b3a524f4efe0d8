import csv
import io

import numpy as np
import pytest

from evaluation.bootstrap import estimate_mean
from evaluation.measure import MEASURES, Values
from evaluation.report import csv_table, markdown_table, rank_clips, summarise, summarise_distances


def values_of(**numbers: float | str) -> Values:
    return dict.fromkeys(MEASURES, "no masks (fashion_masks)") | numbers


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        estimate = estimate_mean(rng.normal(3, 1, 40), seed, num_resamples=300)
        covered += estimate["ci_low"] <= 3 <= estimate["ci_high"]
    assert covered >= 87


def test_an_estimate_repeats_and_a_single_clip_has_no_width() -> None:
    values = np.random.default_rng(0).normal(size=30).tolist()
    assert estimate_mean(values, 3) == estimate_mean(values, 3) != estimate_mean(values, 4)
    assert estimate_mean([2.5]) == {"mean": 2.5, "ci_low": 2.5, "ci_high": 2.5, "n": 1}


def test_a_summary_counts_the_clips_that_have_a_number_and_says_why_there_is_none() -> None:
    summary = summarise([values_of(psnr=20.0), values_of(psnr=22.0), values_of(psnr="why")], 0)
    assert (summary["psnr"]["mean"], summary["psnr"]["n"]) == (21, 2)
    assert summary["ssim"] == "not computed: no masks (fashion_masks)"


def test_distances_need_features_of_two_clips() -> None:
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(1, 4)) for _ in range(5)]
    summary = summarise_distances({"fvd": features}, {"fvd": features})
    assert summary["fvd"]["mean"] == pytest.approx(0, abs=1e-9)
    assert summary["fvd"]["n"] == 5 and summary["fvd"]["ci_low"] is None
    assert "--inception_weights" in summary["fid"]
    assert "two clips" in summarise_distances({"fvd": features[:1]}, {"fvd": features[:1]})["fvd"]
    assert summarise_distances({}, {}, "no VAE")["fid"] == "not computed: no VAE"


def test_tables_have_every_row_and_name_every_measure() -> None:
    rows = {}
    for name in ("videos", "truth"):
        rows[name] = summarise([values_of(psnr=20.0)], 0) | summarise_distances({}, {})
    page = markdown_table(rows, "# Title")
    assert "| truth | 20 [20, 20] |" in page
    assert all(f"`{name}`" in page for name in MEASURES)
    lines = list(csv.DictReader(io.StringIO(csv_table(rows))))
    assert len(lines) == 2 * len(MEASURES)
    assert next(line for line in lines if line["measure"] == "psnr")["mean"] == "20.0"


@pytest.mark.parametrize(
    ("measure", "best"), [("silhouette_iou", "b"), ("garment_color_error", "a"), ("motion_ratio", "b")]
)
def test_clips_are_ranked_by_what_is_better(measure: str, best: str) -> None:
    clips = {"a": values_of(**{measure: 0.5}), "b": values_of(**{measure: 1.2}), "c": values_of()}
    name, ranked = rank_clips(clips, measure)
    assert name == measure and ranked[0] == best and len(ranked) == 2


def test_psnr_ranks_where_the_preferred_measure_is_missing() -> None:
    clips = {"a": values_of(psnr=10.0), "b": values_of(psnr=12.0)}
    assert rank_clips(clips, "silhouette_iou") == ("psnr", ["b", "a"])
