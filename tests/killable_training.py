"""A process that forks trainings to be killed: they start warm, so that a kill falls into the training.

Reads paths of checkpoints as lines, forks a child for each, says its process id, waits for it, says how it ended.
"""

import os
import sys
from pathlib import Path

from training_patches import make_patches, tiny_cnn

import sarcube as sc
from sarcube.models.weights import model_hash

CONFIG = sc.TrainConfig(epochs=12, batch_size=16, learning_rate=3e-3, schedule="plateau")


def trained(checkpoint, progress=None):
    sets = make_patches(128), make_patches(64, seed=1)
    return sc.train(*sets, model=tiny_cnn(), config=CONFIG, checkpoint=checkpoint, progress=progress)


def main() -> None:
    for line in sys.stdin:
        checkpoint = Path(line.strip())
        child = os.fork()
        if child == 0:
            model = trained(checkpoint)
            checkpoint.with_suffix(".hash").write_text(model_hash(model))
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
