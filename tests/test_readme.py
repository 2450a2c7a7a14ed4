"""What the README says can be typed, typed."""

import re
from pathlib import Path

import sarcube as sc

README = Path(__file__).parents[1] / "README.md"


def test_the_script_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    sc.simulate(tmp_path / "sumatra", seed=31, size_km=3, pre_dates=4, post_dates=2)
    (script,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "before" in printed
    assert "AUPRC" in printed
    assert (tmp_path / "boxes.gpkg").exists()
    assert (tmp_path / "sumatra.zarr").is_dir()


def test_links_lead_somewhere():
    text = README.read_text()
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert links
    for link in links:
        assert (README.parent / link).exists(), link
