"""What the page on staging says can be typed, typed."""

import re
from pathlib import Path

import sarcube as sc

PAGE = Path(__file__).parents[1] / "docs" / "staging.md"


def test_the_script_runs_as_it_stands(tmp_path, monkeypatch):
    sc.simulate(tmp_path / "sumatra", seed=31, size_km=2, pre_dates=2, post_dates=1)
    (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(script, PAGE.name, "exec"), names)
    assert names["cube"].sizes["time"] > 1
    assert {path.name for path in (tmp_path / "staged").iterdir()} == {"catalog.json", "sentinel-1-rtc"}


def test_links_lead_somewhere():
    for page in ("staging.md", "access.md", "finding-scenes.md", "building.md", "faults.md"):
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (PAGE.parent / page).read_text()):
            assert link.startswith("http") or (PAGE.parent / link).exists(), f"{page}: {link}"
