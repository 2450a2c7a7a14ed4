"""What the page on sweeps says can be typed, typed."""

import re
from pathlib import Path

import dask
import distributed  # noqa: F401 (first, for its settings are dask's as well)
import pandas as pd
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "sweeps.md"


@pytest.mark.slow
def test_the_page_on_sweeps_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = {}
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL))
    with dask.config.set({"distributed.worker.daemon": True}):
        exec(compile(code, PAGE.name, "exec"), made)
    results, again = made["results"], made["again"]
    assert len(made["data"]) == 4
    assert (again["status"] == "finished").all()
    assert len(again) == 12
    # The cluster made the third seed alone.
    earlier = again[again["seed"] < 2].reset_index(drop=True)
    pd.testing.assert_frame_equal(earlier, results)
    assert made["verdicts"]["paired"].all()
    assert made["verdicts"]["n_a"].tolist() == [3, 3]


def test_what_it_links_to_is_there():
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text()):
        assert (PAGE.parent / link).exists(), link
