"""What the pages on patches and on models say can be typed, typed."""

import re
from pathlib import Path

import numpy as np

DOCS = Path(__file__).parents[1] / "docs"


def run(page):
    """Run a page's Python from top to bottom; return what it made."""
    made = {}
    code = "\n".join(re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL))
    exec(compile(code, page, "exec"), made)
    return made


def test_the_page_on_patches_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = run("patches.md")
    patches = made["patches"]
    assert len(set(zip(patches.events, patches.tracks, strict=True))) == 4
    assert 0 < patches.labels.sum() < len(patches)
    assert made["chips"].images.shape[1:] == (8, 128, 128)
    assert all(made["chips"].read_masks([n]).any() for n in range(len(made["chips"])))
    assert np.isfinite(made["test"].images).all()
    assert all(len(part) for part in (made["train"], made["validation"], made["test"]))


def test_the_page_on_models_says_how_large_they_are(capsys):
    run("models.md")
    (shown,) = re.findall(r"```text\n(.*?)```", (DOCS / "models.md").read_text(), flags=re.DOTALL)
    assert capsys.readouterr().out == shown


def test_the_number_of_boehms_parameters():
    """The call on the page, on no device: shapes alone."""
    import torch

    import sarcube as sc

    (call,) = re.findall(r"`(sc\.models\.unet_plus_plus\(2, .*?\))`", (DOCS / "models.md").read_text())
    with torch.device("meta"):
        model = eval(call, {"sc": sc})
    assert sum(p.numel() for p in model.parameters()) == 48_982_754
