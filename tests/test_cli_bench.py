"""The command that times a model, as a user types it; no speed is tested."""

import json

import pytest
import torch

import sarcube as sc
from sarcube import cli
from sarcube.detection import throughput
from sarcube.errors import InputError

torch.set_num_threads(1)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder: exit code, what was printed, what was complained of."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["sarcube", "bench", *arguments])
        with pytest.raises(SystemExit) as left:  # typer ends every command so
            cli.main()
        said = capsys.readouterr()
        return left.value.code, said.out, said.err

    return call


def test_strides_and_precisions_are_timed_and_written(run, tmp_path):
    sc.save_model(sc.models.cnn(4, filters=2), tmp_path / "tiny.safetensors")
    options = ("--stride", "64", "--stride", "32", "--precision", "float32", "--precision", "screened")
    code, said, _ = run("--model", "tiny.safetensors", "--size", "96", *options, "--json", "bench.json")
    assert code == 0
    assert "SIMULATED noise, 96 x 96 pixels, cpu" in said
    assert "windows/s" in said
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["simulated"]
    assert found["model"] == "tiny.safetensors"
    rows = [(row["stride"], row["precision"], row["windows"]) for row in found["results"]]
    assert rows == [(64, "float32", 4), (32, "float32", 4), (64, "screened", 4), (32, "screened", 4)]
    for row in found["results"]:
        assert row["windows_per_second"] == pytest.approx(4 / row["seconds"])
        assert row["megapixels_per_second"] == pytest.approx(96 * 96 / 1e6 / row["seconds"])


def test_the_packaged_model_at_stride_32_is_the_default(run):
    code, said, _ = run("--size", "64")
    assert code == 0
    assert said.startswith("cnn-vv-vh (cnn, 64 x 64 x 4)")
    assert [line.split()[1:6:2] for line in said.splitlines() if "float32" in line] == [["32", "float32", "1"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--size", "63"), "holds no window of 64"),
        (("--size", "64", "--precision", "half"), 'not "half"'),
        (("--size", "64", "--stride", "65"), "stride must be"),
        (("--model", "unknown"), "no packaged model"),
    ],
)
def test_what_cannot_be_timed_is_refused_with_a_reason(run, arguments, said):
    code, out, complaint = run(*arguments)
    assert code == 2
    assert said in complaint
    assert out == ""


def test_a_model_that_judges_pixels_is_refused():
    with pytest.raises(InputError):
        sc.detection.throughput.measure_throughput(sc.models.unet(4, window_size=64), size=64)


def test_a_system_without_proc_has_no_peak_and_no_flags(monkeypatch, tmp_path):
    monkeypatch.setattr(throughput, "_PROC", tmp_path)
    found = throughput.measure_throughput(sc.models.cnn(4, filters=2), size=64)
    assert found.peak_memory_gib is None
    assert found.windows == 1
    assert throughput.processor() == {"cpu": "", "flags": []}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nmodel name\t: Fast 9\nflags\t\t: fpu avx2 amx_bf16 sse\n", ("Fast 9", ["avx2", "amx_bf16"])),
        ("processor\t: 0\nFeatures\t: fp asimd sve\n", ("", ["asimd", "sve"])),
    ],
)
def test_flags_are_those_that_decide_about_speed(monkeypatch, tmp_path, text, expected):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(throughput, "_PROC", tmp_path)
    assert throughput.processor() == dict(zip(("cpu", "flags"), expected, strict=True))


def test_the_peak_begins_anew_and_counts_what_is_held(tmp_path):
    if not throughput._forget_peak():
        pytest.skip("this system does not tell a process its peak of memory")
    before = throughput._peak_gib()
    held = bytearray(300 << 20)
    held[::4096] = b"1" * len(held[::4096])
    assert throughput._peak_gib() > before + 0.2
