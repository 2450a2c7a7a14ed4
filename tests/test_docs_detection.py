"""What the page on detection says can be typed, typed."""

import inspect
import re
from pathlib import Path

import sarcube as sc
from sarcube.detection import block, scores
from sarcube.detection.filters import STEEP_SHARE, WET_SHARE

PAGE = Path(__file__).parents[1] / "docs" / "detection.md"


def test_it_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = {}
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL))
    exec(compile(code, PAGE.name, "exec"), made)
    assert len(made["boxes"]) > 10
    assert 0 < made["difference"] < 0.1
    assert 0 < len(made["steep"]) < len(made["boxes"])
    assert Path("boxes.gpkg").stat().st_size > 10_000


def test_what_it_says_is_so():
    text = " ".join(PAGE.read_text().split())
    assert f"a square of {scores.BLOCK_PIXELS} " in text
    assert f"{block.SAMPLE} windows of each block of {scores.BLOCK_PIXELS} pixels" in text
    assert (block.ERRORS, block.MOST_ALONE) == (4, 0.25)
    assert f"the largest error of a logit, {block.MARGIN} at least" in text
    assert f"less than {100 * STEEP_SHARE:g} % is so steep" in text
    assert WET_SHARE == 0.5
    arguments = set(inspect.signature(sc.detect).parameters)
    table = re.findall(r"^\| (`.*?) \|", PAGE.read_text(), flags=re.MULTILINE)
    named = {name for cell in table for name in re.findall(r"`(\w+)[`=]", cell)}
    assert named <= arguments
    assert {"min_slope", "water", "min_visible_share", "method", "overlap"} <= named
