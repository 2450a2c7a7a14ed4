"""What the page on conditions says can be typed, typed."""

import re
from pathlib import Path

import sarcube as sc
from sarcube.evaluation.conditions import DISTORTED

PAGE = Path(__file__).parents[1] / "docs" / "conditions.md"


def test_it_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = {}
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL))
    exec(compile(code, PAGE.name, "exec"), made)
    positives = made["predictions"]["landslide"].sum()
    assert positives > 20
    for table in (made["by_slope"], made["by_look"], made["by_distortion"], made["by_aspect"]):
        assert table["positives"].sum() == positives
    named = re.findall(r"^\| (`.*?) \|", PAGE.read_text(), flags=re.MULTILINE)
    columns = {name for cell in named for name in re.findall(r"`(\w+)`", cell)} - {"land_cover"}
    assert columns <= set(made["predictions"])
    assert Path("densities.png").stat().st_size > 10_000


def test_what_it_says_is_so():
    text = PAGE.read_text()
    assert f"above {100 * DISTORTED:g} %" in text
    for name in re.findall(r"sc\.(\w+)\(", text):
        assert hasattr(sc, name), name
