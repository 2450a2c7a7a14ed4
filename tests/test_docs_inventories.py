"""What the page on inventories says can be typed, typed."""

import re
from pathlib import Path

import numpy as np

from sarcube.sar.look_codes import CLEAR

PAGE = Path(__file__).parents[1] / "docs" / "inventories.md"


NUMBER = re.compile(r"(?<![A-Z])\d+(?:\.\d+)?")


def assert_says(printed, shown):
    """The same words, and numbers to 1 %: processors round sums otherwise, and a pixel at a mask's border follows."""
    said, expected = (text.split() for text in (printed, shown))
    words, wanted = ([NUMBER.sub("#", word) for word in words] for words in (said, expected))
    first = next(i for i in range(len(words)) if words[i : i + len(wanted)] == wanted)
    found, numbers = (NUMBER.findall(" ".join(text)) for text in (said[first : first + len(wanted)], expected))
    np.testing.assert_allclose(np.array(found, float), np.array(numbers, float), rtol=0.01, atol=0.001)


def test_the_page_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    text = PAGE.read_text()
    monkeypatch.chdir(tmp_path)
    made = {}
    exec(compile("\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)), PAGE.name, "exec"), made)
    (shown,) = re.findall(r"```text\n(.*?)```", text, flags=re.DOTALL)
    assert_says(capsys.readouterr().out, shown)
    np.testing.assert_array_equal(made["cube"]["landslide"], made["label"])
    assert abs(made["share"].mean() - made["label"].mean()) < 0.001
    for track, seen in made["inventories"].per_track.items():
        clear = made["cube"]["layover_shadow"].sel(track=track) == CLEAR
        differing = made["rasterise_inventory"](seen, made["cube"]) != (made["label"] & clear)
        assert differing.sum() <= 2  # a centre on an outline falls to either side, as the processor rounds
    assert len(made["table"]) == len(made["paper_events"]())
