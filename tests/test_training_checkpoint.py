"""Interrupted at whatever moment and called again: the weights of no interruption, to the bit."""

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from killable_training import CONFIG
from training_patches import TinySegmenter, make_chips, make_patches, stack_patches, tiny_cnn

import sarcube as sc
from sarcube.errors import InputError, ReadError, StoreError
from sarcube.labels.patches import patches_from_arrays
from sarcube.lock import writing
from sarcube.models.weights import model_hash

QUICK = sc.TrainConfig(epochs=5, batch_size=32, learning_rate=3e-3, schedule="plateau", weight_decay=1e-4)


class Interrupted(Exception):
    """What a user's Ctrl-C is in these tests."""


@pytest.fixture(autouse=True)
def one_thread():
    """numba's first parallel call, in whichever test, gives torch as many threads as there are cores: other bits."""
    torch.set_num_threads(1)


def interrupting(after):
    """Interrupt after so many epochs of one call."""
    seen = []

    def progress(entry):
        seen.append(entry)
        if len(seen) == after:
            raise Interrupted

    return progress


def small_sets():
    return make_patches(96), make_patches(64, seed=1)


def chip_sets():
    return make_chips(48), make_chips(32, seed=1)


def lazy_sets():
    return stack_patches((4, 50, 50)), stack_patches(seed=1)


@pytest.mark.parametrize(("sets", "model"), [(small_sets, tiny_cnn), (chip_sets, TinySegmenter), (lazy_sets, tiny_cnn)])
@pytest.mark.parametrize("after", [1, 3, 5])
def test_resumed_equals_uninterrupted_to_the_bit(tmp_path, sets, model, after):
    expected = sc.train(*sets(), model=model(), config=QUICK)
    path = tmp_path / "cnn.checkpoint"
    with pytest.raises(Interrupted):
        sc.train(*sets(), model=model(), config=QUICK, checkpoint=path, progress=interrupting(after))
    seen = []
    resumed = sc.train(*sets(), model=model(), config=QUICK, checkpoint=path, progress=seen.append)
    assert model_hash(resumed) == model_hash(expected)
    assert resumed.history == expected.history
    assert [entry["epoch"] for entry in seen] == list(range(after + 1, 6))
    assert not resumed.training
    assert [file.name for file in tmp_path.iterdir()] == ["cnn.checkpoint"]


def test_interrupted_after_every_epoch(tmp_path):
    expected = sc.train(*small_sets(), model=tiny_cnn(), config=QUICK)
    for _ in range(5):
        with pytest.raises(Interrupted):
            sc.train(*small_sets(), model=tiny_cnn(), config=QUICK, checkpoint=tmp_path / "c", progress=interrupting(1))
    resumed = sc.train(*small_sets(), model=tiny_cnn(), config=QUICK, checkpoint=tmp_path / "c")
    assert model_hash(resumed) == model_hash(expected)


def test_patience_goes_on_where_it_was(tmp_path):
    training, validation = small_sets()
    at_random = np.random.default_rng(0).random(len(validation)) < 0.5
    untrainable = patches_from_arrays(validation.images, at_random, bands=validation.bands)
    config = replace(QUICK, epochs=60, patience=3)
    expected = sc.train(training, untrainable, model=tiny_cnn(), config=config)
    with pytest.raises(Interrupted):
        sc.train(
            training,
            untrainable,
            model=tiny_cnn(),
            config=config,
            checkpoint=tmp_path / "c",
            progress=interrupting(len(expected.history) - 1),
        )
    resumed = sc.train(training, untrainable, model=tiny_cnn(), config=config, checkpoint=tmp_path / "c")
    assert resumed.history == expected.history
    assert model_hash(resumed) == model_hash(expected)


def test_a_training_that_is_done_is_returned_at_once(tmp_path):
    sets = lazy_sets()
    done = sc.train(*sets, model=tiny_cnn(), config=QUICK, checkpoint=tmp_path / "c")
    written = (tmp_path / "c").stat().st_mtime_ns
    # Pixels that can no longer be read: none is asked for.
    unreadable = [replace(patches, pixels=replace(patches.pixels, stacks=(None, None))) for patches in sets]
    again = sc.train(*unreadable, model=tiny_cnn(), config=QUICK, checkpoint=tmp_path / "c")
    assert model_hash(again) == model_hash(done)
    assert again.history == done.history
    assert not again.training
    assert (tmp_path / "c").stat().st_mtime_ns == written


def test_another_call_is_refused_and_told_what_differs(tmp_path):
    training, validation = small_sets()
    path = tmp_path / "c"
    with pytest.raises(Interrupted):
        sc.train(training, validation, model=tiny_cnn(), config=QUICK, checkpoint=path, progress=interrupting(1))
    before = path.read_bytes()

    def call(training=training, validation=validation, model=None, **settings):
        sc.train(training, validation, model=model or tiny_cnn(), config=replace(QUICK, **settings), checkpoint=path)

    with pytest.raises(InputError, match=r"learning_rate \(0.003 there, 0.01 here\).*delete"):
        call(learning_rate=0.01)
    with pytest.raises(InputError, match=r"epochs \(5 there, 9 here\), seed \(0 there, 1 here\)"):
        call(epochs=9, seed=1)
    with pytest.raises(InputError, match="the model"):
        call(model=tiny_cnn(seed=1))
    with pytest.raises(InputError, match="the validation patches"):
        call(validation=validation.subset(np.arange(60)))
    other = patches_from_arrays(training.images + 1, training.labels, bands=training.bands, fraction=training.fraction)
    with pytest.raises(InputError, match="the training patches"):
        call(training=other)
    assert path.read_bytes() == before


def test_patches_are_known_by_their_place_wherever_their_pixels_are(tmp_path):
    training, validation = lazy_sets()
    with pytest.raises(Interrupted):
        sc.train(
            training,
            validation,
            model=tiny_cnn(),
            config=QUICK,
            checkpoint=tmp_path / "c",
            progress=interrupting(2),
        )
    resumed = sc.train(training.load(), validation, model=tiny_cnn(), config=QUICK, checkpoint=tmp_path / "c")
    assert model_hash(resumed) == model_hash(sc.train(training, validation, model=tiny_cnn(), config=QUICK))


@pytest.mark.parametrize("masks", [False, True])
def test_other_pixels_under_the_same_table_are_noticed(tmp_path, masks):
    def sets(shift, chunks=None):
        training, validation = stack_patches(chunks, masks=masks), stack_patches(seed=1, masks=masks)
        first, second = training.pixels.stacks
        return replace(training, pixels=replace(training.pixels, stacks=(first, second + shift))), validation

    model = TinySegmenter() if masks else tiny_cnn()
    path = tmp_path / "c"
    with pytest.raises(Interrupted):
        sc.train(*sets(0), model=model, config=QUICK, checkpoint=path, progress=interrupting(1))
    with pytest.raises(InputError, match=r"same places and labels with other pixels.*delete"):
        sc.train(*sets(1), model=model, config=QUICK, checkpoint=path)
    resumed = sc.train(*sets(0, (2, 40, 50)), model=model, config=QUICK, checkpoint=path)
    assert model_hash(resumed) == model_hash(sc.train(*sets(0), model=model, config=QUICK))


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / "c"
    config = replace(QUICK, epochs=1)
    sc.train(*small_sets(), model=tiny_cnn(), config=config, checkpoint=path)
    whole = path.read_bytes()
    draws = random.Random(0)
    for _ in range(40):
        place = draws.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << draws.randrange(8)]) + whole[place + 1 :])
        with pytest.raises(ReadError, match="delete it"):
            sc.train(*small_sets(), model=tiny_cnn(), config=config, checkpoint=path)
    for length in (0, 5, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ReadError, match="delete it"):
            sc.train(*small_sets(), model=tiny_cnn(), config=config, checkpoint=path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ReadError, match="cannot read the checkpoint"):
        sc.train(*small_sets(), model=tiny_cnn(), config=config, checkpoint=path)


def test_two_trainings_do_not_share_a_checkpoint(tmp_path):
    fork = multiprocessing.get_context("fork")
    ready, done = fork.Event(), fork.Event()

    def hold():
        with writing(tmp_path / "c"):
            ready.set()
            done.wait(60)

    other = fork.Process(target=hold)
    other.start()
    try:
        ready.wait(60)
        with pytest.raises(StoreError, match=f"being written by process {other.pid}"):
            sc.train(*small_sets(), model=tiny_cnn(), config=QUICK, checkpoint=tmp_path / "c")
    finally:
        done.set()
        other.join()


def test_a_folder_that_is_not_there_is_named_before_anything_is_trained(tmp_path):
    with pytest.raises(StoreError, match="make it first"):
        sc.train(*small_sets(), model=tiny_cnn(), checkpoint=tmp_path / "none" / "c", progress=interrupting(1))


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    draws = random.Random(1)
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("killable_training.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:

        def start(path):
            server.stdin.write(f"{path}\n")
            server.stdin.flush()
            return int(server.stdout.readline())

        def ended():
            return int(server.stdout.readline())

        # There too: other tests may have given torch more threads here, and weights are those of one number of threads.
        whole = tmp_path / "whole.checkpoint"
        begun = time.perf_counter()
        start(whole)
        assert ended() == 0
        length = time.perf_counter() - begun
        expected = whole.with_suffix(".hash").read_text()
        killed = 0
        for number in range(4):
            path = tmp_path / f"{number}.checkpoint"
            kills = 0  # of this training
            while not path.with_suffix(".hash").exists():
                child = start(path)
                if kills < 4:
                    time.sleep(draws.uniform(0.05, 0.4) * length)
                    with contextlib.suppress(ProcessLookupError):  # it was done
                        os.kill(child, signal.SIGKILL)
                code = ended()
                assert code in (0, -signal.SIGKILL)
                kills += code != 0
            killed += kills
            assert path.with_suffix(".hash").read_text() == expected
        server.stdin.close()
    assert killed >= 4
    assert CONFIG.epochs == 12
