"""`examples/inventory_to_model.py`: from inventories to a trained model, in less than 25 lines."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sarcube as sc

SCRIPT = Path(__file__).parents[1] / "examples" / "inventory_to_model.py"
REAL = Path(__file__).parents[2] / "shared" / "data" / "inventories"


def run(*arguments):
    call = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(call, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_short():
    tree = ast.parse(SCRIPT.read_text())
    assert ast.get_docstring(tree)
    first = tree.body[1].lineno
    assert sum(bool(line.strip()) for line in SCRIPT.read_text().splitlines()[first - 1 :]) < 25


@pytest.mark.slow
def test_it_gives_inventories_patches_and_a_model(tmp_path):
    real = sorted(REAL.glob("*.geojson"))
    printed = run(tmp_path, *real)
    assert printed.count("wholly_lost") == 2  # a table for each event
    ((auprc, chance),) = re.findall(r"AUPRC ([\d.]+) \(chance ([\d.]+)\)", printed)
    assert float(auprc) > 1.5 * float(chance)
    model = sc.load_model(tmp_path / "model.safetensors")
    assert model.spec.mean is not None
    for path in real:
        assert str(path) in printed


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real data is not at {REAL}")
def test_there_are_two_real_inventories():
    assert len(sorted(REAL.glob("*.geojson"))) == 2
