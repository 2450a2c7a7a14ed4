"""What the pages on composites and on change say can be typed, typed."""

import re
from pathlib import Path

import numpy as np
import pytest
import rasterio

import sarcube as sc

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("composites.md", "change.md")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    simulation = sc.simulate(folder / "sumatra", seed=7, size_km=2)
    write_coherence(folder / "insar", simulation)
    return folder


def write_coherence(folder, simulation):
    """Write HyP3-like coherence of a pair before the event and one across it, which lost a third of the area."""
    folder.mkdir()
    pixels = np.full((60, 60), 0.7, np.float32)
    west, south, east, north = simulation.event.bbox
    grid = rasterio.transform.from_bounds(west, south, east, north, 60, 60)
    for days, lost in (((-24, -12), 0.0), ((-12, 12), 0.5)):
        first, second = (np.datetime64(simulation.event.last_before.date()) + day for day in days)
        name = f"{first}_{second}_corr.tif".replace("-", "")
        profile = {"driver": "GTiff", "width": 60, "height": 60, "count": 1, "dtype": "float32", "crs": "EPSG:4326"}
        with rasterio.open(folder / name, "w", transform=grid, **profile) as file:
            pixels[:, :20] -= lost
            file.write(pixels, 1)


def run(page, folder, monkeypatch):
    """Run a page's Python from top to bottom; return what it made."""
    text = (DOCS / page).read_text()
    monkeypatch.chdir(folder)
    names = {}
    exec(compile("\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)), page, "exec"), names)
    return names


def test_composites_run_as_they_stand(folder, monkeypatch, capsys):
    made = run("composites.md", folder, monkeypatch)
    (shown,) = re.findall(r"```text\n(.*?)```", (DOCS / "composites.md").read_text(), flags=re.DOTALL)
    assert shown in capsys.readouterr().out
    assert made["stacks"].sizes["buffer"] == 10
    np.testing.assert_array_equal(made["one"], made["stack"])
    assert made["near"].attrs["dates_pre"] == made["stack"].attrs["dates_pre"][-3:]
    assert made["near"].attrs["dates_post"] == made["stack"].attrs["dates_post"][:1]
    assert made["sure"].isnull().sum() >= made["stack"].isnull().sum()
    assert made["stacks_of"].keys() == set(np.unique(made["cube"].scene_track))
    assert made["sequence"].last_before < made["second"].last_before < made["sequence"].first_after
    assert made["haiti"].last_before < made["haiti"].first_after


def test_change_runs_as_it_stands(folder, monkeypatch):
    made = run("change.md", folder, monkeypatch)
    for name in ("density", "published", "masked", "unlikely", "distance", "clustering", "loss"):
        assert made[name].notnull().any(), name
        assert made[name].attrs["event"] == made["event"].name
    for name in ("dense", "tested", "far", "together", "lost", "darker"):
        assert made[name].crs == made["cube"].rio.crs
    assert len(made["lost"]) == 1
    for name in ("darker.gpkg", "change.png", "rgb.png", "series.png"):
        assert (folder / name).stat().st_size > 0


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (DOCS / page).read_text()
    headings = {
        re.sub(r"[^\w -]", "", line[3:].lower()).replace(" ", "-") for line in re.findall(r"^## .*", text, re.M)
    }
    for link in re.findall(r"\]\(([^)]+)\)", text):
        path, _, place = link.partition("#")
        assert not path or (DOCS / path).exists(), link
        assert not place or place in headings, link
