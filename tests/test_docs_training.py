"""What the page on training says can be typed, typed."""

import re
from pathlib import Path

import pytest

import sarcube as sc
from sarcube.models.weights import model_hash

PAGE = Path(__file__).parents[1] / "docs" / "training.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    sc.simulate(folder / "sumatra", seed=31, size_km=5, pre_dates=3, post_dates=1, flaws=())
    return folder


def test_it_runs_as_it_stands(folder, monkeypatch):
    monkeypatch.chdir(folder)
    made = {}
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL))
    exec(compile(code, PAGE.name, "exec"), made)
    assert len(made["model"].history) == 3
    assert model_hash(made["again"]) == model_hash(made["model"])
    assert model_hash(sc.load_model("mine.safetensors")) == model_hash(made["model"])
    assert made["images"].shape[1:] == (4, 64, 64)
    assert made["NAVA_2026"].epochs == 500


def test_what_it_names_is_there():
    text = PAGE.read_text()
    for name in re.findall(r'\| `"(\w+)"`', text):
        sc.TrainConfig(
            **({"augment": (name,)} if "flip" in name or name in ("zoom", "translate", "rotate") else {"loss": name})
        )
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (PAGE.parent / link).exists(), link
