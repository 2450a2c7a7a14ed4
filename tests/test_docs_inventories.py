"""What the page on inventories says can be typed, typed."""

import re
from pathlib import Path

import numpy as np

from sarcube.sar.look_codes import CLEAR

PAGE = Path(__file__).parents[1] / "docs" / "inventories.md"


def test_the_page_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    text = PAGE.read_text()
    monkeypatch.chdir(tmp_path)
    made = {}
    exec(compile("\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)), PAGE.name, "exec"), made)
    (shown,) = re.findall(r"```text\n(.*?)```", text, flags=re.DOTALL)
    assert shown in capsys.readouterr().out
    np.testing.assert_array_equal(made["cube"]["landslide"], made["label"])
    assert abs(made["share"].mean() - made["label"].mean()) < 0.001
    for track, seen in made["inventories"].per_track.items():
        clear = made["cube"]["layover_shadow"].sel(track=track) == CLEAR
        np.testing.assert_array_equal(made["rasterise_inventory"](seen, made["cube"]), made["label"] & clear)
    assert len(made["table"]) == len(made["paper_events"]())
