"""`python -m benchmarks.patches` and `benchmarks.leakage`: what they compare is comparable; no speed is tested."""

import json
import subprocess
import sys
from argparse import Namespace

import numpy as np
import pytest

from benchmarks.composite_cube import store_cube
from benchmarks.leakage import as_many, at_ratio, compare_splits, summary
from benchmarks.patches import apart
from benchmarks.patches_apart import sampled
from sarcube.labels.patches import concatenate_patches, patches_from_arrays

SMALL = {"epochs": 1, "filters": 2}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return store_cube(tmp_path_factory.mktemp("stored"), 1100)


def test_both_train_on_the_same_and_end_with_the_same_weights(stored):
    answers = [apart("train", stored, source, limit_gib=3, **SMALL) for source in ("zarr", "memory")]
    assert len({answer["model"] for answer in answers}) == 1
    assert len({answer["patches"] for answer in answers}) == 1
    assert all(len(answer["seconds"]) == 1 for answer in answers)


def test_training_from_disk_dies_above_its_limit(stored):
    with pytest.raises(RuntimeError, match="train from zarr failed"):
        apart("train", stored, "zarr", limit_gib=0.1, **SMALL)


def test_patches_are_not_in_memory_and_some_are_landslides(stored):
    patches = sampled(stored)
    assert not patches.is_loaded
    assert 0.05 < patches.labels.mean() < 0.15
    assert np.isfinite(patches.read([0])).all()


@pytest.mark.slow
def test_it_runs_and_says_what_its_page_says(stored, tmp_path):
    path = tmp_path / "patches.json"
    call = [sys.executable, "-m", "benchmarks.patches", "--json", str(path), "--work", str(stored.parent)]
    options = ["--size", "1100", "--filters", "2", "--epochs", "1", "--rounds", "1", "--limit-gib", "3"]
    subprocess.run([*call, *options], check=True, capture_output=True)
    result = json.loads(path.read_text())
    assert result["same_weights"]
    assert result["ratio_training"] == pytest.approx(
        result["patches_per_second_zarr"] / result["patches_per_second_memory"]
    )
    assert result["cube_gib"] == pytest.approx(12 * 1100**2 * 4 / 2**30)


def made(n, share, seed=0):
    draws = np.random.default_rng(seed)
    labels = np.arange(n) < share * n
    images = draws.normal(size=(n, 4, 64, 64)).astype(np.float32)
    return patches_from_arrays(images, labels, bands=("vv_post", "vh_post", "vv_diff", "vh_diff"), event="made")


def test_sets_are_brought_to_one_size_and_one_share():
    few, many = made(40, 0.25), made(90, 0.5)
    drawn = as_many(many, few, seed=0)
    assert (drawn.labels.sum(), len(drawn)) == (10, 40)
    even = at_ratio(many, seed=0)
    assert (even.labels.sum(), (~even.labels).sum()) == (11, 44)


def test_the_summary_is_over_seeds():
    rows = [{"leakage": 0.1}, {"leakage": -0.1}, {"leakage": 0.3}]
    assert summary(rows)["leakage"] == pytest.approx({"mean": 0.1, "std": 0.2, "positive": 2 / 3})


def test_a_network_is_measured_on_both_splits():
    from simple_stack import make_inventory, make_stack

    import sarcube as sc

    draws = np.random.default_rng(0)
    corners = draws.integers(0, 1200, (120, 2))
    stack = make_stack(1280, 1280)
    patches = sc.sample_patches(stack, make_inventory(*((y, x, y + 40, x + 40) for y, x in corners)))
    pooled = concatenate_patches([patches, patches])
    row = compare_splits(patches, pooled, patches, Namespace(epochs=1, patience=1, filters=2), seed=0)
    assert row["blocked_neighbours"] == 0 < row["random_neighbours"]
    for name in ("random", "pooled"):
        assert row[f"leakage_{name}"] == pytest.approx(row[f"{name}_hidden"] - row["blocked_hidden"])
