"""`python -m benchmarks.composite`: a rival that is right, a cube that is the same everywhere; no speed is tested."""

import json
import math
import subprocess
import sys
from pathlib import Path

import dask
import numpy as np
import pytest

import sarcube as sc
from benchmarks.composite import measure_memory, memory_contestants
from benchmarks.composite_cube import AFTER, BEFORE, WINDOWS, event, lazy_cube, store_cube
from benchmarks.rivals_composite import READS, natural_composite, read_own, read_zarr
from benchmarks.rivals_median import without_numbagg

SIZE = 200


def refuse(*args, **kwargs):
    raise AssertionError("computed while the graph was built")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return store_cube(tmp_path_factory.mktemp("stored"), 1100)


def test_the_rival_finds_our_composite():
    cube = lazy_cube(SIZE).compute()
    ours = sc.composite(cube, event(), **WINDOWS)
    assert ours.attrs["dates_pre"] == [str(d)[:10] for d in cube.time.values[:BEFORE]]
    assert len(ours.attrs["dates_post"]) == AFTER
    assert 0.8 < np.isfinite(ours).mean() < 0.95
    natural = without_numbagg(lambda: natural_composite(cube, event(), **WINDOWS).values)
    np.testing.assert_allclose(natural, ours, rtol=0, atol=2e-5)


def test_the_rival_leaves_out_what_is_not_valid():
    cube = lazy_cube(SIZE).compute()
    cube["vv"][:, :10, 100:] = np.array([np.nan, 0, -32768, np.inf, 0.1, 0.2], np.float32)[:, None, None]
    natural = without_numbagg(lambda: natural_composite(cube, event(), **WINDOWS).values)
    np.testing.assert_allclose(natural, sc.composite(cube, event(), **WINDOWS), rtol=0, atol=2e-5)
    assert natural[2, 0, 110] == pytest.approx(10 * np.log10(2), abs=1e-5)


def test_the_cube_is_lazy_and_has_its_statistics():
    with dask.config.set(scheduler=refuse):
        lazy = lazy_cube(600)
    assert lazy.vv.chunks == ((1,) * 6, (600,), (600,))
    cube = lazy.compute()
    assert cube.vv.dtype == np.float32
    # Each date's invalid edge lies further on.
    valid = np.isfinite(cube.vv).mean(["y", "x"]).values
    assert valid[0] == pytest.approx(0.975, abs=0.001)
    np.testing.assert_allclose(np.diff(valid), -0.015, atol=0.001)
    assert 10 * np.log10(float(cube.vv.mean())) == pytest.approx(-11, abs=1)
    assert 10 * np.log10(float(cube.vh.mean())) == pytest.approx(-17, abs=1)
    assert not np.array_equal(cube.vv[0], cube.vv[1])


def test_every_contestant_is_there():
    works = memory_contestants(lazy_cube(64).compute(), 64)
    kinds = ("numpy", "dask_8", "dask_16", "dask_32")
    assert set(works) == {f"{who}_{kind}" for who in ("ours", "xarray", "xarray_without_numbagg") for kind in kinds}


def test_a_rival_that_is_wrong_is_noticed(monkeypatch):
    def contestants(cube, size):
        ours = sc.composite(cube, event(), **WINDOWS).values
        return {"ours_numpy": lambda: ours, "xarray_numpy": lambda: ours + 0.001}

    monkeypatch.setattr("benchmarks.composite.memory_contestants", contestants)
    with pytest.raises(AssertionError, match=r"xarray_numpy finds another composite: 0\.001"):
        measure_memory(SIZE, 1)


def test_the_stored_cube_is_kept(stored):
    before = {path: path.stat().st_mtime_ns for path in (stored / "vv").rglob("*") if path.is_file()}
    assert store_cube(stored.parent, 1100) == stored
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert sc.open_cube(stored).vv.chunks == ((1,) * 6, (1024, 76), (1024, 76))


def test_reading_alone_reads_every_chunk(stored, monkeypatch):
    read = []

    def chunk(**settings):
        read.append(settings["block_id"])

    monkeypatch.setattr("benchmarks.rivals_composite.read_chunk", chunk)
    read_own(stored, "vv", threads=2)
    assert len(read) == len(set(read)) == 24


@pytest.mark.parametrize("how", READS)
def test_reading_by_zarr_notices_a_missing_file(stored, how, tmp_path):
    rows, concurrency = READS[how]
    read_zarr(stored, "vv", rows=rows, concurrency=concurrency, threads=2)
    damaged = tmp_path / "cube.zarr"
    (damaged / "vv" / "c" / "5" / "1").mkdir(parents=True)
    (damaged / "vv" / "zarr.json").write_bytes((stored / "vv" / "zarr.json").read_bytes())
    (damaged / "vv" / "c" / "5" / "1" / "1").write_bytes(b"no chunk")
    with pytest.raises((ValueError, RuntimeError)):  # so the last chunk of all is read
        read_zarr(damaged, "vv", rows=rows, concurrency=concurrency, threads=2)


@pytest.mark.slow
def test_it_runs_at_a_tiny_size(tmp_path):
    command = [sys.executable, "-m", "benchmarks.composite", "--json", str(tmp_path / "c.json"), "--rounds", "1"]
    said = subprocess.run(
        [*command, "--size", "256", "--stored", "1200", "--work", str(tmp_path / "work")],
        check=True,
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    assert "not the sizes that are reported" in said
    result = json.loads((tmp_path / "c.json").read_text())
    for key in (
        *("vs_xarray_dask", "vs_xarray_dask_lazy", "vs_xarray_dask_without_numbagg", "vs_xarray", "gbps"),
        *("ratio_read", "ratio_read_strict", "peak_rss_gib", "stored_seconds", "peak_rss_gib_stored"),
        *("first_call_s", "first_ever_s", "import_s"),
    ):
        assert math.isfinite(result[key]), key
        assert result[key] > 0, key
    assert result["compilation_ever_s"] > result["compilation_s"]
    assert 0.8 < result["store"]["share_valid"] < 0.95
    assert result["simulated"]
    assert result["threads"] == 2
    assert [path.name for path in (tmp_path / "work").glob("composite-*")] == ["composite-1200.zarr"]
