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


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What it says of two simulated events, and of the real inventories where they are there; the model it made."""
    folder = tmp_path_factory.mktemp("example")
    return run(folder, *sorted(REAL.glob("*.geojson"))), sc.load_model(folder / "model.safetensors")


@pytest.mark.slow
def test_it_gives_inventories_patches_and_a_model(printed):
    text, model = printed
    assert text.count("wholly_lost") == 2  # a table for each event
    ((auprc, chance),) = re.findall(r"AUPRC ([\d.]+) \(chance ([\d.]+)\)", text)
    assert float(auprc) > 1.5 * float(chance)
    assert model.spec.mean is not None


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real data is not at {REAL}")
def test_it_reads_the_two_real_inventories(printed):
    text, _ = printed
    assert [float(count) for count in re.findall(r"^count +([\d.]+)$", text, flags=re.MULTILINE)] == [79, 1]
    assert re.search(r"^50% +2167", text, flags=re.MULTILINE)  # m², of Cipongkor, as PHYSICS.md has it
