"""Three pictures of a simulated event: before and after, false colours, and one landslide over time.

    python examples/simulated_event_change.py --out change

The event is simulated from its seed, nothing is downloaded, and every picture says that it is simulated.
"""

import argparse
import io
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
from matplotlib.figure import Figure
from PIL import Image

import sarcube as sc
from sarcube.plotting import plot_change, plot_rgb, plot_time_series

SEED, SIZE_KM = 7, 6.0
PRE_DAYS, POST_DAYS = 60, 24
DPI = 80


def largest_slide(inventory: gpd.GeoDataFrame) -> tuple[float, float]:
    """Longitude and latitude of a place inside the largest polygon."""
    inside = inventory.representative_point().to_crs(4326).iloc[inventory.area.argmax()]
    return inside.x, inside.y


def save(figure: Figure, path: Path) -> None:
    """Write a picture small enough for a page."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DPI)
    image = Image.open(drawn).convert("RGB")
    if path.suffix == ".png":
        image = image.quantize(256)  # few colours: a fraction of the size
    image.save(path, optimize=True, quality=80)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, composite, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--size-km", type=float, default=SIZE_KM)
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    logging.getLogger("sarcube").setLevel(logging.ERROR)  # the archive's flaws are meant

    with tempfile.TemporaryDirectory() as folder:
        simulation = sc.simulate(Path(folder) / "event", seed=args.seed, size_km=args.size_km)
        event, track = simulation.event, simulation.tracks[0]
        items = sc.search(event, catalog=simulation.folder, pre_days=PRE_DAYS, post_days=POST_DAYS)
        cube = sc.add_terrain(sc.load(items, bbox=event.bbox), simulation.dem)
        inventory = sc.read_inventory(simulation.inventory)
        stack = sc.composite(cube, event, track=track, pre_days=PRE_DAYS, post_days=POST_DAYS).compute()
        print(
            f"{event.name}, track {track}: {len(inventory)} landslides, {stack.sizes['y']} x {stack.sizes['x']} pixels"
        )

        change = plot_change(stack, background=cube["elevation"], inventory=inventory)
        save(change, args.out / "simulated-change.jpg")
        save(plot_rgb(stack), args.out / "simulated-rgb.jpg")
        if len(inventory):
            series = plot_time_series(cube, point=largest_slide(inventory), event=event)
            save(series, args.out / "simulated-time-series.png")


if __name__ == "__main__":
    main()
