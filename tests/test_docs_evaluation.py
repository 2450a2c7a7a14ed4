"""What the page on evaluation says can be typed, typed."""

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import simple_stack  # noqa: F401  (one thread)

import sarcube as sc
from sarcube.evaluation.summary import Evaluation

PAGE = Path(__file__).parents[1] / "docs" / "evaluation.md"


def test_it_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    sc.simulate(tmp_path / "event", seed=31, size_km=5, pre_dates=3, post_dates=1, flaws=())
    monkeypatch.chdir(tmp_path)
    made = {}
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL))
    exec(compile(code, PAGE.name, "exec"), made)
    said = capsys.readouterr().out
    assert str(made["sure"]) in said
    assert f" {made['margin']}" in said
    assert made["sure"].estimate == made["table"]["f1"].iloc[-1]
    assert made["margin"].blocks == made["sure"].blocks
    assert set(made["table"]["track"]) == {*made["tracks"], "all"}
    model, calibrated = made["model"], sc.load_model("calibrated.safetensors")
    assert calibrated.spec == made["calibrated"].spec
    images = made["patches"].images
    now = calibrated.probabilities(images) >= calibrated.spec.threshold
    np.testing.assert_array_equal(now, model.probabilities(images) >= model.spec.threshold)


def test_what_it_names_is_there():
    text = PAGE.read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (PAGE.parent / link).exists(), link
    for name in re.findall(r"`sc\.(\w+)", text):
        assert hasattr(sc, name), name
    table = "\n".join(re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE))
    explained = re.findall(r"`(\w+)`", table)
    assert sorted(explained) == sorted({field.name for field in fields(Evaluation)} - {"judged"})
