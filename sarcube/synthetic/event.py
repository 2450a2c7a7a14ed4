"""A simulated event as a folder, the way a user has one after staging: catalogue, scenes, DEM, inventory."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pyogrio.errors
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.warp import Resampling, reproject

from sarcube.errors import InputError, StoreError
from sarcube.events import Event
from sarcube.sar import tracks_over
from sarcube.synthetic import archive
from sarcube.synthetic.fields import smooth_field
from sarcube.synthetic.ground import Ground, image, make_ground, view_from
from sarcube.synthetic.scenario import Scenario, draw_scenario
from sarcube.synthetic.streams import stream

PIXEL = 10.0  # metres
_MARGIN = 40  # pixels beyond the event's box, so that no window at its edge lacks data
_REPEAT = 12  # days
_MOST_BEFORE, _MOST_AFTER = 35, 6


@dataclass(frozen=True)
class Simulation:
    """Where a simulated event lies and what is in it. `tracks` are names such as "A015"."""

    folder: Path
    event: Event
    tracks: tuple[str, ...]
    scenario: Scenario
    slides: int

    @property
    def dem(self) -> Path:
        """The DEM: a GeoTIFF of about 30 m in EPSG:4326, with errors of its own."""
        return self.folder / "dem.tif"

    @property
    def inventory(self) -> Path:
        """The true landslides as a GeoPackage; empty where nothing slid."""
        return self.folder / "inventory.gpkg"


def simulate(
    folder: str | Path,
    *,
    seed: int = 0,
    size_km: float = 20.0,
    pre_dates: int = 5,
    post_dates: int = 2,
    landslides: bool = True,
    flaws: Sequence[str] = archive.USUAL_FLAWS,
    progress: Callable[[str, int, int], None] | None = None,
) -> Simulation:
    """Simulate an event with known truth and write it as a folder that `sc.search(event, catalog=folder)` reads.

    Parameters
    ----------
    folder : str or path
        Where to write; must not exist, or be empty.
    seed : int
        Everything is drawn from it: the same seed gives the same bytes on one machine.
    size_km : float
        Side of the square event, 2 to 60 km, on 10 m pixels.
    pre_dates, post_dates : int
        Dates of each track before (1 to 35) and after (1 to 6) the event, 12 days apart.
    landslides : bool
        False: nothing slides, everything else changes all the same.
    flaws : sequence of str
        The archive's flaws that occur once per track, of `sarcube.synthetic.archive.FLAWS`.
    progress : callable, optional
        Called with (what, done, total) as the scenes are written, one by one.

    Returns
    -------
    Simulation
        One ascending and one descending track with the look geometry of the reference orbit.

    Raises
    ------
    InputError
        For numbers outside their bounds, unknown flaws or a folder that holds something.
    StoreError
        If the disk is full.

    Notes
    -----
    What is drawn and where its numbers come from stands in `sarcube.synthetic`'s modules and in docs/simulation.md.
    Nothing in the folder is a measurement, and every file says so.
    """
    _check(seed, size_km, pre_dates, post_dates)
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} already holds something; give a new folder, or empty it first")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _simulate(folder, seed, size_km, pre_dates, post_dates, landslides, tuple(flaws), progress)
    except (OSError, pyogrio.errors.DataSourceError, pyogrio.errors.FeatureError) as error:
        raise StoreError(f"cannot write the simulated event to {folder}: {error}; is the disk full?") from error


def _simulate(
    folder: Path,
    seed: int,
    size_km: float,
    pre_dates: int,
    post_dates: int,
    landslides: bool,
    flaws: tuple[str, ...],
    progress: Callable[[str, int, int], None] | None,
) -> Simulation:
    scenario = draw_scenario(seed)
    geobox = _grid(scenario, size_km)
    event = _event(seed, geobox)
    tracks = [_draw_track(seed, scenario, state) for state in ("ascending", "descending")]
    plans = {t: _plan(seed, scenario, event, *t, pre_dates=pre_dates, post_dates=post_dates) for t in tracks}
    days = {t: archive.flaw_days(seed, flaws, plan) for t, plan in plans.items()}
    total = sum(map(len, plans.values())) + 1
    report = progress or (lambda what, done, of: None)

    report("carving the landscape", 0, total)
    ground = make_ground(seed, scenario, geobox, landslides=landslides)
    items: list[Path] = []
    done = 1
    for track, plan in plans.items():
        name = plan[0].track
        report(f"imaging from track {name}", done, total)
        view = view_from(ground, name, relative_orbit=track[1], orbit_state=track[0])
        for acquisition in plan:
            bands = image(ground, view, acquisition.day)
            items += archive.write_acquisition(folder, acquisition, bands, geobox, seed=seed, flaws=days[track])
            done += 1
            report(f"imaging from track {name}", done, total)
    archive.write_catalog(
        folder, items, description=f"SIMULATED Sentinel-1 RTC scenes, seed {seed}; made by sarcube, not measured"
    )
    _write_dem(folder / "dem.tif", ground)
    slides = _write_inventory(folder / "inventory.gpkg", ground)
    simulation = Simulation(folder, event, tuple(p[0].track for p in plans.values()), scenario, slides)
    _write_event(simulation, seed)
    return simulation


def _check(seed: int, size_km: float, pre_dates: int, post_dates: int) -> None:
    if not (isinstance(seed, int) and seed >= 0):
        raise InputError(f"seed must be an integer >= 0, not {seed!r}")
    if not 2 <= size_km <= 60:
        raise InputError(f"size_km must be 2 to 60, not {size_km!r}")
    if not 1 <= pre_dates <= _MOST_BEFORE:
        raise InputError(f"pre_dates must be 1 to {_MOST_BEFORE}, not {pre_dates!r}")
    if not 1 <= post_dates <= _MOST_AFTER:
        raise InputError(f"post_dates must be 1 to {_MOST_AFTER}, not {post_dates!r}")


def _grid(scenario: Scenario, size_km: float) -> GeoBox:
    """A square on the 10 m grid of its UTM zone, around the scenario's place, margin included."""
    zone = int((scenario.longitude + 180) // 6) + 1
    epsg = (32600 if scenario.latitude >= 0 else 32700) + zone
    point = gpd.GeoSeries([shapely.Point(scenario.longitude, scenario.latitude)], crs=4326).to_crs(epsg)[0]
    n = math.ceil(size_km * 1000 / PIXEL) + 2 * _MARGIN
    west, north = (round(v / 100) * 100 + s * n / 2 * PIXEL for v, s in ((point.x, -1), (point.y, 1)))
    return GeoBox((n, n), Affine(PIXEL, 0, west, 0, -PIXEL, north), f"EPSG:{epsg}")


def _event(seed: int, geobox: GeoBox) -> Event:
    """The event's box in degrees: the largest whose envelope in the grid stays half a margin inside it."""
    inner = geobox.pad(-_MARGIN // 2).extent.to_crs("EPSG:4326")
    lons, lats = (sorted(values) for values in zip(*inner.exterior.coords[:4], strict=True))
    west, east, south, north = lons[1], lons[2], lats[1], lats[2]  # the box inscribed in the turned square
    rng = stream(seed, "event")
    time = datetime(2016, 1, 1, tzinfo=UTC) + timedelta(minutes=int(rng.integers(0, 6 * 365 * 1440)))
    box = (round(west, 4), round(south, 4), round(east, 4), round(north, 4))
    return Event(f"simulated-{seed}", bbox=box, time=time)


def _draw_track(seed: int, scenario: Scenario, orbit_state: str) -> tuple[str, int]:
    """One relative orbit that images the place, as the acquisition plan of Sentinel-1 would have it."""
    over = tracks_over(scenario.latitude, scenario.longitude, orbit_state=orbit_state)
    rng = stream(seed, "track", orbit_state)
    return orbit_state, int(rng.choice(sorted(over)))


def _plan(
    seed: int, scenario: Scenario, event: Event, orbit_state: str, orbit: int, *, pre_dates: int, post_dates: int
) -> list[archive.Acquisition]:
    first = int(stream(seed, "first pass", orbit_state).integers(1, _REPEAT))
    hour = (18.0 if orbit_state == "ascending" else 6.0) - scenario.longitude / 15  # local solar time of the orbit
    midnight = event.first_after.replace(hour=0, minute=0, second=0, microsecond=0)
    plan = []
    for k in range(-pre_dates, post_dates):
        day = first + _REPEAT * k
        time = midnight + timedelta(days=day, hours=hour % 24)
        cycle = 20 + (time - datetime(2015, 1, 1, tzinfo=UTC)).days // _REPEAT
        plan.append(archive.Acquisition(f"{orbit_state[0].upper()}{orbit:03d}", orbit, orbit_state, day, time, cycle))
    return plan


def _write_dem(path: Path, ground: Ground) -> None:
    """The DEM a user would have: one arc second, EPSG:4326, errors of 1 to 2 m as Copernicus GLO-30 has them [D]."""
    area = ground.geobox.extent.to_crs("EPSG:4326").boundingbox
    target = GeoBox.from_bbox(area, "EPSG:4326", resolution=1 / 3600)
    heights = np.full(target.shape, np.nan, np.float32)
    reproject(
        ground.relief.elevation,
        heights,
        src_transform=ground.geobox.affine,
        src_crs=str(ground.geobox.crs),
        src_nodata=np.nan,
        dst_transform=target.affine,
        dst_crs="EPSG:4326",
        dst_nodata=np.nan,
        resampling=Resampling.average,
    )
    heights += np.float32(1.2) * smooth_field(stream(ground.seed, "dem"), target.shape.yx, 1.5)
    archive.write_raster(path, heights, target, nodata=float("nan"), UNIT="metre")


def _write_inventory(path: Path, ground: Ground) -> int:
    crs = str(ground.geobox.crs)
    columns: dict[str, object] = {"area_m2": [], "simulated": []}
    geometry: list[shapely.Geometry] = []
    if ground.slides is not None:
        a = ground.geobox.affine
        geometry = [
            shapely.affinity.affine_transform(p, [a.a, a.b, a.d, a.e, a.c, a.f]) for p in ground.slides.polygons
        ]
        columns = {"area_m2": np.round(ground.slides.area, 1), "simulated": np.ones(len(geometry), bool)}
    frame = gpd.GeoDataFrame(columns, geometry=geometry, crs=crs)
    # A GeoPackage carries the time of its writing: pinned, so that the same seed gives the same bytes.
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2000-01-01T00:00:00Z"})
    try:
        frame.to_file(path, driver="GPKG", layer="landslides", engine="pyogrio", geometry_type="Polygon")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
    return len(frame)


def _write_event(simulation: Simulation, seed: int) -> None:
    event = simulation.event
    (simulation.folder / "event.toml").write_text(
        f'# SIMULATED by sarcube, seed {seed}; not measured\nname = "{event.name}"\nbbox = {list(event.bbox)}\n'
        f"time = {event.first_after:%Y-%m-%dT%H:%M:%SZ}\nsimulated = true\n"
    )
    (simulation.folder / "scenario.json").write_text(
        json.dumps(
            {"simulated": True, "seed": seed, "tracks": simulation.tracks, **asdict(simulation.scenario)}, indent=1
        )
    )
