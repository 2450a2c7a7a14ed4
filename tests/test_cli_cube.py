"""The commands that build, look at and verify cubes, as a user types them."""

import numpy as np
import pandas as pd
import pytest
from rtc_scenes import scene, write_catalogue
from typer.testing import CliRunner

import sarcube as sc
from sarcube import cli
from sarcube.cli import app

PASSES = [f"2022-02-{day:02d}T11:30:00" for day in (1, 13, 25)]
EVENT = """
name = "test"
bbox = [99.9, 0.9015, 99.902, 0.903]
time = "2022-02-20T00:00:00Z"
"""


@pytest.fixture
def folder(tmp_path):
    """A staged folder of three dates, 500 m x 400 m."""
    items = [scene(tmp_path / "scenes", f"S{n}", seed=n, time=time) for n, time in enumerate(PASSES)]
    write_catalogue(tmp_path / "scenes", items)
    (tmp_path / "event.toml").write_text(EVENT)
    return tmp_path


@pytest.fixture
def run(folder, monkeypatch):
    """Run a command as `main` does: (exit code, what was printed)."""
    monkeypatch.chdir(folder)

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["sarcube", *arguments])
        with pytest.raises(SystemExit) as left:  # typer ends every command so
            cli.main()
        return left.value.code

    return call


BUILD = ("build", "scenes", "cube.zarr", "--event", "event.toml")


def test_the_help_names_the_commands():
    text = CliRunner().invoke(app, ["--help"]).output
    assert all(name in text for name in ("build", "verify", "quality", "info"))


def test_a_build_can_be_verified_and_repaired(run, folder, capsys):
    assert run(*BUILD) == 0
    assert run("verify", "cube.zarr") == 0
    assert "cube.zarr is whole" in capsys.readouterr().out
    chunk = next(path for path in (folder / "cube.zarr" / "vh" / "c").rglob("*") if path.is_file())
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 4
    chunk.write_bytes(content)
    assert run("verify", "cube.zarr") == 5
    said = capsys.readouterr()
    assert "vh" in said.out
    assert "repairs just these" in said.err
    assert run(*BUILD) == 0
    assert run("verify", "cube.zarr") == 0


def test_eight_bits_unless_exact(run, folder):
    assert run(*BUILD) == 0
    assert run(*BUILD[:2], "exact.zarr", *BUILD[3:], "--exact") == 0
    rounded, exact = (sc.open_cube(folder / name).vv.values for name in ("cube.zarr", "exact.zarr"))
    assert (rounded != exact).any()
    np.testing.assert_allclose(rounded, exact, rtol=2.0**-9)


def test_skipped_files_leave_holes_and_an_exit_code(run, folder, capsys):
    broken = folder / "scenes" / "S1" / "iw-vv.rtc.tiff"
    content = broken.read_bytes()
    broken.write_bytes(content[:300])
    assert run(*BUILD) == 4
    assert "S1" in capsys.readouterr().err
    assert run(*BUILD, "--on-error", "skip", "--overwrite") == 6
    said = capsys.readouterr()
    assert "the same command tries just these again" in said.err
    assert "unread: 2022-02-13" in said.out
    assert "S1" in said.out
    cube = sc.open_cube(folder / "cube.zarr")
    assert np.isnan(cube.vv.values[1]).all()
    assert np.isfinite(cube.vh.values).all()
    broken.write_bytes(content)
    assert run(*BUILD, "--on-error", "skip") == 0
    assert np.isfinite(sc.open_cube(folder / "cube.zarr").vv.values).all()


def test_scenes_left_out_and_dates_added_later(run, folder, capsys):
    assert run(*BUILD, "--drop", "S2") == 0
    assert "dropped on request: S2" in capsys.readouterr().out
    assert sc.open_cube(folder / "cube.zarr").sizes["time"] == 2
    assert run(*BUILD) == 5
    assert "another one than this" in capsys.readouterr().err
    assert run(*BUILD, "--append") == 0
    assert sc.open_cube(folder / "cube.zarr").sizes["time"] == 3
    assert run("verify", "cube.zarr") == 0


def test_an_incomplete_cube_is_shown_when_asked(run, folder, capsys):
    assert run(*BUILD) == 0
    (folder / "cube.zarr" / ".sarcube" / "COMPLETE").unlink()
    next(path for path in (folder / "cube.zarr" / "vv" / "c").rglob("*") if path.is_file()).unlink()
    assert run("info", "cube.zarr") == 5
    assert run("info", "cube.zarr", "--incomplete") == 0
    assert "incomplete: 1 of" in capsys.readouterr().out


def test_the_table_of_quality(run, folder, capsys):
    assert run(*BUILD) == 0
    capsys.readouterr()
    assert run("quality", "cube.zarr", "--csv", "quality.csv") == 0
    said = capsys.readouterr().out
    assert "2022-02-13" in said
    assert "D164" in said
    table = pd.read_csv(folder / "quality.csv")
    assert table["item_ids"].tolist() == ["S0", "S1", "S2"]
    assert (table["vv_valid"] == 1).all()


def test_a_wrong_word_is_wrong_usage(run, capsys):
    assert run(*BUILD, "--on-error", "ignore") == 2
    assert "raise" in capsys.readouterr().err
