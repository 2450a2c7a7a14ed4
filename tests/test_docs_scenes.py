"""What the page on finding scenes says can be typed, typed."""

import re
from pathlib import Path

import pytest

import sarcube as sc

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "finding-scenes.md").read_text()
REAL = ROOT.parent / "shared" / "data" / "opera-rtc-california"


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_page_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    sc.simulate(tmp_path / "sumatra", size_km=2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    exec(compile("\n".join(blocks("python")), "finding-scenes.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in printed] == "".join(blocks("text")).splitlines()


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real data is not at {REAL}")
def test_the_errors_are_those_that_its_command_finds(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (command,) = blocks("python realdata")
    exec(compile(command, "finding-scenes.md", "exec"), {})
    said = capsys.readouterr().out
    assert said.count("\n") == 5
    assert said in PAGE
