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
    print(made.event.name, lost.T.round(3), sep="\n")
    for track, cleaned in seen.items():
        stack = sc.composite(cube, made.event, track=track, pre_days=60, post_days=24)
        patches.append(sc.sample_patches(stack, whole, cleaned=cleaned).load())
train, validation, test = sc.split_patches(sc.concatenate_patches(patches), method="blocked")
start = sc.load_model("cnn-vv-vh")  # or, where patches are many, fresh: sc.models.cnn(4, filters=32)
model = sc.train(train, validation, model=start, config=sc.TrainConfig(epochs=5, learning_rate=1e-4))
sc.save_model(model, work / "model.safetensors")
print(test, sc.evaluate(model, test), sep="\n")
for path in sys.argv[2:]:
    real = sc.read_inventory(path)
    print(path, real.to_crs(real.estimate_utm_crs()).explode().area.describe().round(), sep="\n")  # m²
