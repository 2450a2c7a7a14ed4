"""What the page on explanation says can be typed, typed."""

import re
from pathlib import Path

import numpy as np
import pytest

import sarcube as sc

PAGE = Path(__file__).parents[1] / "docs" / "explanation.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    sc.simulate(folder / "sumatra", seed=31, size_km=6, pre_dates=4, flaws=())
    return folder


def test_it_runs_as_it_stands(folder, monkeypatch):
    monkeypatch.chdir(folder)
    made = {}
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL))
    exec(compile(code, PAGE.name, "exec"), made)
    assert made["track"] == "D143"
    assert made["layer"].shape == (4, 192, 256)
    assert np.isfinite(made["mean"]).all()
    assert (folder / "explain.png").read_bytes().startswith(b"\x89PNG")
    assert made["gaps"].abs().max() > 10 * np.abs(made["gap"]).max()  # what the page says of integrated gradients


def test_what_it_names_is_there():
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text()):
        assert (PAGE.parent / link).exists(), link
