"""SAR-LRA's weights from Keras' files: against Keras' own probabilities, and files that are not what they say."""

import json
import re
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from foreign_rasters import write_raster
from simple_stack import MeanModel, make_stack

import sarcube as sc
from sarcube.errors import InputError, ReadError
from sarcube.models import ModelSpec, keras_hdf5, sar_lra
from sarcube.models.weights import model_hash

FOLDER = Path(__file__).parent / "fixtures" / "sar_lra_weights"
KERAS = json.loads((FOLDER / "probabilities.json").read_text())
WINDOWS = np.load(FOLDER / "windows.npz")["windows"].astype(np.float32).transpose(0, 3, 1, 2)
PLAIN = "keras2_weights_DESCENDING.hdf5"
KERNEL, DENSE = "conv2d_1/conv2d_1/kernel:0", "dense/dense/kernel:0"
NORMALISATION = "batch_normalization/batch_normalization"


def from_fixture(name):
    model = sc.models.from_sar_lra(FOLDER / name)
    return model, WINDOWS if len(model.spec.bands) == 4 else WINDOWS[:, [0, 2]]


def changed(tmp_path, change, name=PLAIN):
    """Copy a file and let a function change the copy."""
    path = tmp_path / "changed.hdf5"
    shutil.copy(FOLDER / name, path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def put(file, name, **dataset):
    """Put a dataset where another is."""
    del file[name]
    return file.create_dataset(name, **dataset)


# --- what Keras says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KERAS)
def test_probabilities_are_those_of_keras(name):
    model, windows = from_fixture(name)
    expected = np.array(KERAS[name]["probabilities"])
    assert expected.min() < 0.1 < 0.9 < expected.max()
    np.testing.assert_allclose(model.probabilities(windows), expected, atol=1e-5, rtol=0)
    assert not model.training


def test_files_of_keras_2_and_3_weights_and_whole_models_are_among_them():
    assert {KERAS[name]["made_with"] for name in KERAS} == {
        "TensorFlow 2.15.1, Keras 2.15.0",
        "TensorFlow 2.19.0, Keras 3.15.1",
    }
    with h5py.File(FOLDER / "keras2_fourth_model.hdf5") as file:
        assert [name for name in file.attrs["layer_names"] if "conv" in name] == ["conv2d_9", "conv2d_10", "conv2d_11"]
    with h5py.File(FOLDER / "keras2_whole_model.hdf5") as file:
        assert set(file) == {"model_weights", "optimizer_weights"}
    with h5py.File(FOLDER / "keras3.weights.h5") as file:
        assert "layers/conv2d_2/vars/0" in file


def test_keras_3_numbers_are_numbers(tmp_path):
    def add_nine(file):
        for kind in ("conv2d", "batch_normalization"):
            for number in (2, 1, 0):  # conv2d_8, conv2d_9, conv2d_10
                file.move(f"layers/{kind}_{number}".removesuffix("_0"), f"layers/{kind}_{number + 8}")

    model = sc.models.from_sar_lra(changed(tmp_path, add_nine, "keras3.weights.h5"))
    expected = KERAS["keras3.weights.h5"]["probabilities"]
    np.testing.assert_allclose(model.probabilities(WINDOWS), expected, atol=1e-5, rtol=0)


def test_maps_are_joined_as_the_file_has_them():
    joined = {name: from_fixture(name)[0].spec.options["joined"] for name in KERAS}
    assert joined.pop("keras2_papers.hdf5") == 3
    assert set(joined.values()) == {1}
    model, windows = from_fixture(PLAIN)
    other = sc.models.build(replace(model.spec, options={"filters": 4, "dropout": 0.7})).eval()
    other.load_state_dict(
        model.state_dict()
    )  # the sizes are the same: what was joined shows in the probabilities alone
    assert np.abs(other.probabilities(windows) - model.probabilities(windows)).max() > 0.1


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_other_floats_are_read_as_well(tmp_path, dtype):
    def convert(file):
        put(file, KERNEL, data=file[KERNEL][()].astype(dtype))

    plain, windows = from_fixture(PLAIN)
    model = sc.models.from_sar_lra(changed(tmp_path, convert))
    tolerance = 0.05 if dtype == np.float16 else 0
    np.testing.assert_allclose(model.probabilities(windows), plain.probabilities(windows), atol=tolerance, rtol=0)


# --- what the model says of itself ---------------------------------------------------------------------------------


def test_the_spec_says_what_is_expected_and_what_is_not_known():
    spec = from_fixture(PLAIN)[0].spec
    assert spec.bands == ("vv_post", "vh_post", "vv_diff", "vh_diff")
    assert from_fixture("keras2_vv_ASCENDING.hdf5")[0].spec.bands == ("vv_post", "vv_diff")
    assert spec.options == {"filters": 4, "dropout": 0.7, "joined": 1}
    assert (spec.threshold, spec.mean, spec.std, spec.window_size) == (0.6, None, None, 64)
    assert spec.radiometry == "sigma0 on the ellipsoid, dB"
    assert "not explicitly confirmed" in spec.licence
    assert "MIT" not in spec.licence
    assert spec.trained_on.startswith("unknown")  # these weights are random: nothing else would be true


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("VV_VH_60_nn_noSlope_DESCENDING_60_12_5_size_64.hdf5", "For descending passes alone"),
        ("x-ascending.h5", "For ascending passes alone"),
        ("weights.hdf5", "does not say"),
        ("ASCENDING_and_DESCENDING.hdf5", "does not say"),
        ("CONDESCENDING.hdf5", "does not say"),
    ],
)
def test_the_pass_direction_is_in_the_name_or_not_known(tmp_path, name, card):
    path = shutil.copy(FOLDER / PLAIN, tmp_path / name)
    assert card in sc.models.from_sar_lra(path).spec.card


def test_a_published_file_is_known_by_its_hash(tmp_path, monkeypatch):
    path = shutil.copy(FOLDER / PLAIN, tmp_path / "DESCENDING.hdf5")
    monkeypatch.setitem(sar_lra.PUBLISHED, sar_lra._sha256(path), "ascending")
    spec = sc.models.from_sar_lra(path).spec
    assert "For ascending passes alone" in spec.card
    assert "Hokkaido" in spec.trained_on
    assert "ascending passes; SAR-LRA's published file" in spec.trained_on


def test_the_model_can_be_saved_and_comes_back(tmp_path):
    model, windows = from_fixture(PLAIN)
    back = sc.load_model(sc.save_model(model, tmp_path / "model.safetensors"))
    assert model_hash(back) == model_hash(model)
    np.testing.assert_array_equal(back.probabilities(windows), model.probabilities(windows))


def test_the_papers_maps_are_joined_unless_said_otherwise():
    assert "joined" not in sc.models.cnn(4, filters=2).spec.options
    alone = sc.models.cnn(4, filters=2, joined=1).eval()
    spec = ModelSpec.from_json(alone.spec.to_json())
    assert spec.options["joined"] == 1
    other = sc.models.cnn(4, filters=2).eval()
    assert torch.equal(other.dense.weight, alone.dense.weight)
    assert np.abs(other.probabilities(WINDOWS) - alone.probabilities(WINDOWS)).max() > 1e-3
    for joined in (0, 2, 333):
        with pytest.raises(InputError, match="joined must be 3, the papers'"):
            sc.models.cnn(4, joined=joined)


# --- files that are not what they say ------------------------------------------------------------------------------


def external_link(file):
    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink(str(FOLDER / PLAIN), KERNEL)


def soft_link(file):
    del file[KERNEL]
    file[KERNEL] = h5py.SoftLink("/conv2d_2/conv2d_2/kernel:0")


def external_group(file):
    del file["conv2d_1"]
    file["conv2d_1"] = h5py.ExternalLink(str(FOLDER / PLAIN), "conv2d_1")


def external_storage(file):
    put(file, KERNEL, shape=(3, 3, 4, 4), dtype="f4", external=[("/etc/passwd", 0, 576)])


def virtual(file):
    layout = h5py.VirtualLayout((3, 3, 4, 4), "f4")
    layout[:] = h5py.VirtualSource(str(FOLDER / PLAIN), KERNEL, shape=(3, 3, 4, 4))
    del file[KERNEL]
    file.create_virtual_dataset(KERNEL, layout)


def same_object_twice(file):
    del file[KERNEL]
    file[KERNEL] = file["conv2d_2/conv2d_2/kernel:0"]


def circle(file):
    file["conv2d_1/conv2d_1/again"] = file["conv2d_1"]


def nested(file):
    file.create_group("conv2d_1/" + "/".join("abcdefgh"))


def many_members(file):
    for number in range(keras_hdf5.MOST_MEMBERS + 1):
        file["conv2d_1"].create_group(f"{number}")


def datatype(file):
    file["conv2d_1/type"] = np.dtype("f4")


def objects(file):
    put(file, KERNEL, shape=(3, 3, 4, 4), dtype=h5py.string_dtype())


def references(file):
    put(file, KERNEL, shape=(3, 3, 4, 4), dtype=h5py.ref_dtype)


def integers(file):
    put(file, KERNEL, data=np.ones((3, 3, 4, 4), np.int32))


def nan(file):
    file[KERNEL][1, 1, 2, 3] = np.nan


def too_large_for_float32(file):
    put(file, KERNEL, data=np.full((3, 3, 4, 4), 1e300))


def negative_variance(file):
    file[f"{NORMALISATION}/moving_variance:0"][2] = -0.1


def transposed(file):
    put(file, DENSE, data=file[DENSE][()].T)


def other_kernel(file):
    put(file, "conv2d/conv2d/kernel:0", data=np.ones((5, 5, 4, 4), np.float32))


def three_bands(file):
    put(file, "conv2d/conv2d/kernel:0", data=np.ones((3, 3, 3, 4), np.float32))


def no_filters(file):
    put(file, "conv2d/conv2d/kernel:0", shape=(3, 3, 4, 0), dtype="f4")


def no_dataspace(file):
    put(file, KERNEL, data=h5py.Empty("f4"))


def compressed(file):
    put(file, DENSE, data=file[DENSE][()], compression="gzip")


def chunked(file):
    put(file, DENSE, data=file[DENSE][()], chunks=(64, 32))


def names(file, change):
    file.attrs["layer_names"] = change([str(name) for name in file.attrs["layer_names"]])


def layer_missing(file):
    del file["conv2d_1"]
    names(file, lambda listed: [name for name in listed if name != "conv2d_1"])


def layer_named_but_missing(file):
    del file["conv2d_1"]


def layer_too_many(file):
    file.create_dataset("dense_9/dense_9/kernel:0", data=np.ones((1, 1), np.float32))
    names(file, lambda listed: [*listed, "dense_9"])


def layer_of_another_kind(file):
    file.create_dataset("prelu/prelu/alpha:0", data=np.ones((1, 1), np.float32))
    names(file, lambda listed: [*listed, "prelu"])


def layer_not_named(file):
    file.create_dataset("dense_9/dense_9/kernel:0", data=np.ones((1, 1), np.float32))


def named_twice(file):
    names(file, lambda listed: [*listed, listed[1]])


def numbers_for_names(file):
    file.attrs["layer_names"] = np.arange(8)


def one_name(file):
    file.attrs["layer_names"] = "conv2d"


def endless_names(file):
    file.attrs["layer_names"] = ["conv2d"] * (keras_hdf5.MOST_MEMBERS + 1)


def no_names(file):
    del file.attrs["layer_names"]


def variable_missing(file):
    del file["conv2d_1/conv2d_1/bias:0"]


def variable_twice(file):
    file["conv2d_1"].create_dataset("kernel", data=np.ones((3, 3, 4, 4), np.float32))


def dataset_for_a_layer(file):
    del file["conv2d_1"]
    file["conv2d_1"] = np.ones((3, 3, 4, 4), np.float32)


def name_not_utf8(file):
    file["conv2d_1"].create_group(b"\xff\xfe")


def not_utf8(file):
    file.attrs["layer_names"] = np.array([b"\xff\xfe"], "S2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external_link, '"kernel:0" is a link that leads elsewhere; weights must lie in the file itself'),
        (soft_link, '"kernel:0" is a link that leads elsewhere'),
        (external_group, '"conv2d_1" is a link that leads elsewhere'),
        (external_storage, "its values lie in another file"),
        (virtual, "its values lie in another file"),
        (same_object_twice, "stands elsewhere in the file already"),
        (circle, '"again" is an object that stands elsewhere'),
        (nested, "nested more than 6 deep"),
        (many_members, "members; expected 128 at most"),
        (datatype, '"type" is neither a group nor a dataset'),
        (objects, "kernel:0: it holds object; weights are floats"),
        (references, "kernel:0: it holds object; weights are floats"),
        (integers, "kernel:0: it holds int32; weights are floats"),
        (nan, "kernel:0: it holds NaN or infinite"),
        (too_large_for_float32, "kernel:0: it holds NaN or infinite"),
        (negative_variance, "moving variance of batch_normalization is negative"),
        (transposed, r"/dense/dense/kernel:0: it has the shape \(32, 768\); the network needs \(768, 32\)"),
        (other_kernel, r"conv2d has the shape \(5, 5, 4, 4\); expected \(3, 3, bands, filters\) with 2 or 4"),
        (three_bands, r"conv2d has the shape \(3, 3, 3, 4\)"),
        (no_filters, r"conv2d has the shape \(3, 3, 4, 0\)"),
        (no_dataspace, "does not hold the layers of a SAR-LRA network"),
        (compressed, "chunks or compressed.*h5repack -l CONTI -f NONE"),
        (chunked, "chunks or compressed"),
        (layer_missing, "expected 3 convolutions, .*; it holds conv2d, batch_normalization, batch_normalization_1"),
        (layer_named_but_missing, "names layers that it does not hold: conv2d_1"),
        (layer_too_many, "expected 3 convolutions, 3 batch normalisations and 2 dense layers; .*dense_9"),
        (layer_of_another_kind, "it holds .*prelu"),
        (layer_not_named, 'holds weights of dense_9, which "layer_names" does not name'),
        (named_twice, "has a name twice"),
        (numbers_for_names, r"must list up to 128 texts; it has the shape \(8,\) and the type int64"),
        (one_name, r"must list up to 128 texts; it has the shape \(\)"),
        (endless_names, r"must list up to 128 texts; it has the shape \(129,\)"),
        (no_names, '"layer_names" or the groups "model_weights" or "layers"; there is batch_norm'),
        (variable_missing, "expected 3 convolutions"),
        (variable_twice, '"kernel" twice'),
        (dataset_for_a_layer, "it is a dataset where the group of a layer was expected"),
        (not_utf8, "is damaged"),
        (name_not_utf8, "a member whose name is no text"),
    ],
)
def test_files_that_are_not_such_weights_are_refused(tmp_path, change, message):
    path = changed(tmp_path, change)
    with pytest.raises(ReadError, match=message) as caught:
        sc.models.from_sar_lra(path)
    assert str(path) in str(caught.value)


def test_a_file_of_keras_3_with_other_variables_is_refused(tmp_path):
    def third(file):
        file["layers/conv2d_1/vars/2"] = np.ones(1, np.float32)

    def renamed(file):
        file.move("layers/conv2d_1/vars/1", "layers/conv2d_1/vars/one")

    def of_a_model(file):
        file["layers/conv2d_1/other/kernel"] = np.ones(1, np.float32)

    for change in (third, renamed, of_a_model):
        with pytest.raises(ReadError, match=r"conv2d_1: its variables are 0, .*; expected 0 and 1"):
            sc.models.from_sar_lra(changed(tmp_path, change, "keras3.weights.h5"))


def test_a_whole_model_without_names_of_layers_is_refused(tmp_path):
    def nameless(file):
        del file["model_weights"].attrs["layer_names"]

    with pytest.raises(ReadError, match=r'/model_weights: it lacks the attribute "layer_names"'):
        sc.models.from_sar_lra(changed(tmp_path, nameless, "keras2_whole_model.hdf5"))


@pytest.mark.parametrize("options", [{}, {"chunks": (1024, 8192), "compression": "gzip"}])
def test_a_small_file_with_huge_claims_takes_no_memory(tmp_path, options):
    """1024 filters throughout: shapes that belong together, 6 GB in a file of a few kilobytes."""

    def claims(file):
        n = 1024
        for name, dataset in [(name, file[name]) for name in list_datasets(file)]:
            shape = tuple({4: n, 12: 3 * n, 32: 8 * n, 768: 192 * n}.get(size, size) for size in dataset.shape)
            if name.startswith("conv2d/") and len(shape) == 4:
                shape = (3, 3, 4, n)
            put(file, name, shape=shape, dtype="f4", **(options if shape == (192 * n, 8 * n) else {}))

    path = changed(tmp_path, claims)
    assert path.stat().st_size < 1e6
    tracemalloc.start()
    try:
        with pytest.raises(ReadError, match=r"compressed|it needs 147456 bytes; 0 are stored"):
            sc.models.from_sar_lra(path)
        assert tracemalloc.get_traced_memory()[1] < 1e8
    finally:
        tracemalloc.stop()


def list_datasets(file):
    found = []
    file.visititems(lambda name, thing: found.append(name) if isinstance(thing, h5py.Dataset) else None)
    return found


def test_files_that_are_no_hdf5_or_broken_off_are_refused(tmp_path):
    with pytest.raises(ReadError, match="no file of weights"):
        sc.models.from_sar_lra(tmp_path / "missing.hdf5")
    with pytest.raises(ReadError, match="no file of weights"):
        sc.models.from_sar_lra(tmp_path)
    path = tmp_path / "x.hdf5"
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(ReadError, match="not a readable HDF5 file"):
        sc.models.from_sar_lra(path)
    whole = (FOLDER / PLAIN).read_bytes()
    for length in (0, 8, 100, 1000, 50_000, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ReadError, match="not a readable HDF5 file"):
            sc.models.from_sar_lra(path)


def test_a_file_is_closed_again(tmp_path):
    path = shutil.copy(FOLDER / PLAIN, tmp_path / "a.hdf5")
    sc.models.from_sar_lra(path)
    with h5py.File(path, "r+") as file:
        nan(file)
    with pytest.raises(ReadError, match="NaN"):
        sc.models.from_sar_lra(path)
    with h5py.File(path, "r+") as file:
        assert np.isnan(file[KERNEL][1, 1, 2, 3])


# --- radiometry ----------------------------------------------------------------------------------------------------


def test_a_stack_of_another_radiometry_is_refused():
    model, stack = from_fixture(PLAIN)[0], make_stack(64, 64)
    sc.score_windows(stack, model)  # it does not say what it holds
    stack.attrs["radiometry"] = "gamma0 RTC, dB"
    message = (
        'the model was trained on "sigma0 on the ellipsoid, dB", and this stack holds "gamma0 RTC, dB"; make a stack '
        "of what it expects: sc.composite(sc.to_sigma0(cube), ...)"
    )
    with pytest.raises(InputError, match=re.escape(message)):
        sc.score_windows(stack, model)
    with pytest.raises(InputError, match=re.escape(message)):
        sc.detect(stack, model)
    stack.attrs["radiometry"] = "sigma0 on the ellipsoid, dB"
    assert sc.score_windows(stack, model).notnull().all()
    with pytest.raises(InputError, match=r'holds "sigma0.*sc\.to_gamma0\(cube\)'):
        sc.score_windows(stack, MeanModel())
    other = MeanModel()
    other.spec = replace(other.spec, radiometry="beta0")
    with pytest.raises(InputError, match=r'trained on "beta0".* of what it expects$'):
        sc.score_windows(stack, other)


def test_sar_lra_composites_are_what_its_weights_expect(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(-12, 3, (4, 70, 80)).astype(np.float32)
    bands = ("postVV", "postVH", "diffVV", "diffVH")
    path = write_raster(tmp_path / "SAR_DESCENDING_.tif", values, descriptions=bands)
    model = from_fixture(PLAIN)[0]
    scores = sc.score_windows(sc.open_sar_lra(path), model, stride=6).compute()
    assert scores.to_numpy()[0, 0] == model.probabilities(values[None, :, :64, :64])[0]
    with pytest.raises(InputError, match="to_gamma0"):
        sc.score_windows(sc.open_sar_lra(path), sc.models.cnn(4, filters=2))


# --- the page ------------------------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[1] / "docs" / "sar-lra-weights.md"


def test_the_page_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    """From a simulated event to scores; a cube of gamma0 is refused, and says so in its stacks."""
    sc.simulate(tmp_path / "sumatra", seed=7, size_km=3)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (name,) = re.findall(r'from_sar_lra\(\s*"([^"]*)"', "".join(blocks))
    shutil.copy(FOLDER / PLAIN, tmp_path / name)
    made = {}
    exec(compile("\n".join(blocks), PAGE.name, "exec"), made)
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert capsys.readouterr().out == shown
    gamma0 = sc.composite(made["cube"], made["event"], track=made["track"], pre_days=60, post_days=12)
    assert gamma0.attrs["radiometry"] == ModelSpec("cnn", ("a",)).radiometry
    with pytest.raises(InputError, match="to_sigma0"):
        sc.score_windows(gamma0, made["model"])
    assert made["scores"].notnull().any()


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)#?([^)]*)\)", PAGE.read_text())
    assert links
    for name, place in links:
        headings = re.findall(r"^## (.*)", (PAGE.parent / name).read_text(), flags=re.MULTILINE)
        assert not place or place in [heading.lower().replace(" ", "-") for heading in headings], (name, place)
