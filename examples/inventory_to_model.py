"""From inventories to a trained model, on two SIMULATED events; further arguments are real inventories to read.

python examples/inventory_to_model.py WORK [INVENTORY ...]
"""

import sys
from pathlib import Path

import sarcube as sc

work, patches = Path(sys.argv[1]), []
for seed in (31, 32):
    made = sc.simulate(work / f"event-{seed}", seed=seed, size_km=8)
    cube = sc.load(sc.search(made.event, catalog=made.folder, pre_days=60, post_days=24), bbox=made.event.bbox)
    cube = sc.add_geometry(sc.add_terrain(cube, made.dem))
    whole, seen, lost = sc.clean_inventory(sc.read_inventory(made.inventory), cube)  # one for each track
    print(made.event.name, lost.round(3), sep="\n")
    for track, cleaned in seen.items():
        stack = sc.composite(cube, made.event, track=track, pre_days=60, post_days=24)
        patches.append(sc.sample_patches(stack, whole, cleaned=cleaned).load())
train, validation, test = sc.split_patches(sc.concatenate_patches(patches), method="blocked", block_size=1600)
model = sc.train(train, validation, model=sc.models.cnn(4, filters=8), config=sc.TrainConfig(epochs=10))
sc.save_model(model, work / "model.safetensors")
print(test, sc.evaluate(model, test), sep="\n")
for path in sys.argv[2:]:
    print(path, sc.read_inventory(path).explode().area.describe().round(1), sep="\n")
