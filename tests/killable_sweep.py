"""A sweep to be killed: `python killable_sweep.py FOLDER EPOCHS` kills itself after so many epochs of all its runs."""

import os
import signal
import sys

from training_patches import make_patches

import sarcube as sc
import sarcube.sweeps.run as running
from sarcube.labels.splits import Split

SETTINGS = [
    sc.SweepSetting(
        {"learning_rate": rate},
        options={"filters": 4, "dropout": 0.2},
        config=sc.TrainConfig(epochs=3, batch_size=16, learning_rate=rate),
    )
    for rate in (1e-3, 3e-3)
]
SEEDS = (0, 1)


def small_split(seed=0):
    """Patches that know no place, to learn from at once."""
    return Split(*(make_patches(n, seed=10 * seed + number) for number, n in enumerate((48, 32, 32))))


def swept(folder, **changed):
    return sc.sweep(
        **{"data": {"small": small_split}, "settings": SETTINGS, "folder": folder, "seeds": SEEDS, **changed}
    )


def main() -> None:
    left = int(sys.argv[2])
    train = running.train

    def killed_in_time(*sets, progress, **settings):
        def counting(entry):
            nonlocal left
            progress(entry)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        return train(*sets, progress=counting, **settings)

    running.train = killed_in_time
    swept(sys.argv[1])


if __name__ == "__main__":
    main()
