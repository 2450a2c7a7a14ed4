"""The packaged weights on events that they have not seen: every window, natural prevalence."""

from pathlib import Path

import numpy as np
import pytest

import sarcube as sc
from benchmarks.accuracy import measure, summary
from sarcube.synthetic.training_set import FRESH_SEEDS_FROM, TRAINING_SEEDS, VALIDATION_SEEDS

SEEDS = (FRESH_SEEDS_FROM + 1, FRESH_SEEDS_FROM + 2)


@pytest.mark.slow
def test_the_packaged_cnn_is_ahead_of_a_threshold_on_unseen_events(tmp_path):
    assert not set(SEEDS) & {*TRAINING_SEEDS, *VALIDATION_SEEDS}
    model = sc.load_model("cnn-vv-vh")
    parts = []
    for seed in SEEDS:
        parts += measure(seed, Path(tmp_path) / str(seed), model, {})
    result = summary(parts, {"cnn": model.spec.threshold, "threshold": None, "density": None})
    print({key: np.round(value, 3) for key, value in result.items()})
    assert result["windows"] > 4000
    assert 0.65 <= result["cnn_f1"] <= 0.95
    assert result["cnn_f1"] >= result["threshold_f1"] + 0.10


def test_the_packaged_weights_say_what_they_are():
    spec = sc.load_model("cnn-vv-vh").spec
    assert spec.simulated_only
    assert "simulate" in spec.trained_on
    assert "none of them real" in spec.card
    assert spec.bands == ("vv_post", "vh_post", "vv_diff", "vh_diff")
    assert 0 < spec.threshold < 1
