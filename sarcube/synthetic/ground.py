"""A simulated place and what a track receives from it on a day."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sarcube.cube.geometry.look import look_at_pixels, solve_look
from sarcube.sar import slope_aspect
from sarcube.synthetic import backscatter, nuisance
from sarcube.synthetic.fields import smooth_field
from sarcube.synthetic.landcover import LandCover, grow_landcover
from sarcube.synthetic.landslides import Landslides, slide_change, trigger_landslides
from sarcube.synthetic.nuisance import Change
from sarcube.synthetic.radar import Look, look_at, receive
from sarcube.synthetic.relief import Relief, carve_relief
from sarcube.synthetic.scenario import Scenario
from sarcube.synthetic.speckle import Looks, draw_looks, speckle
from sarcube.synthetic.streams import stream

Field = NDArray[np.float32]


@dataclass(frozen=True)
class Ground:
    """A landscape, its cover, its slides and the other changes; (y, x) on `geobox`."""

    seed: int
    scenario: Scenario
    geobox: GeoBox
    relief: Relief
    slope: Field
    landcover: LandCover
    lasting: dict[str, Field]
    slides: Landslides | None
    changes: Sequence[Change]


@dataclass(frozen=True)
class View:
    """One track over a ground: its look, its slides' change in dB, its static terrain residual in dB, its speckle."""

    name: str
    look: Look
    slide_vv: Field
    slide_vh: Field
    residual: Field
    lasting_looks: dict[str, Looks]


def make_ground(seed: int, scenario: Scenario, geobox: GeoBox, *, landslides: bool) -> Ground:
    """Build the landscape of one event; without `landslides`, everything else changes all the same."""
    pixel = float(geobox.resolution.x)
    relief = carve_relief(seed, geobox.shape.yx, resolution=pixel, steepness=scenario.steepness)
    slope = slope_aspect(relief.elevation, resolution=pixel)[0].astype(np.float32)
    landcover = grow_landcover(seed, relief, slope, scenario)
    slides = trigger_landslides(seed, relief, slope, landcover, scenario) if landslides else None
    changes = (
        nuisance.harvest(seed, landcover, scenario),
        nuisance.clearing_and_building(seed, relief, slope, landcover, scenario),
        nuisance.rivers(seed, relief, slope, scenario),
    )
    lasting = backscatter.lasting_backscatter(seed, landcover, pixel)
    return Ground(seed, scenario, geobox, relief, slope, landcover, lasting, slides, changes)


def view_from(ground: Ground, name: str, *, relative_orbit: int, orbit_state: str) -> View:
    """Prepare a track's view: true look geometry of the reference orbit, layover and shadow where it puts them."""
    geobox, shape = ground.geobox, ground.geobox.shape.yx
    nodes = solve_look(geobox, relative_orbit=relative_orbit, orbit_state=orbit_state)
    rows, columns = (np.arange(n, dtype=float) for n in shape)
    incidence, _ = look_at_pixels(nodes, rows, columns, ground.relief.elevation)
    look = look_at(
        ground.relief.elevation,
        resolution=ground.relief.resolution,
        incidence=np.radians(incidence),
        azimuth=float(np.radians(nodes.mean_grid_azimuth)),
    )
    if ground.slides is None:
        vv = vh = np.zeros(shape, np.float32)
    else:
        vv, vh = slide_change(ground.seed, ground.slides, look)
    # Uncorrected terrain: ± 1 dB on slopes, ± 2 to 3 beyond 30° and near layover, the same on all dates [M].
    tilt = np.degrees(look.toward) / 30
    rng = stream(ground.seed, "residual", name)
    rough = smooth_field(rng, shape, 3) * np.clip(np.abs(tilt) - 0.8, 0, 1) * 2
    residual = (ground.scenario.residual_slope * tilt + rough).astype(np.float32)
    looks = {pol: draw_looks(ground.seed, "lasting", name, pol, shape=shape) for pol in backscatter.POLARISATIONS}
    return View(name, look, vv, vh, residual, looks)


def image(ground: Ground, view: View, day: int) -> dict[str, Field]:
    """gamma0 (y, x) in linear power that a track's product holds on a day relative to the event, VV and VH."""
    pixel = ground.relief.resolution
    cover = ground.landcover.cover
    drift, wet = backscatter.weather(ground.seed, view.name, day, day > 0, ground.landcover, pixel, ground.scenario)
    coherence = backscatter.per_cover(backscatter.LASTING)[cover]
    for change in ground.changes:
        coherence[day > change.onset] = 0
    if day > 0 and ground.slides is not None:
        coherence[ground.slides.number > 0] = 0  # new ground: its speckle has nothing of the old
    snow = nuisance.snow_line(ground.seed, day, ground.relief, ground.scenario)
    result = {}
    for pol in backscatter.POLARISATIONS:
        db = ground.lasting[pol] + drift[pol]
        for change in ground.changes:
            db += np.where(day > change.onset, getattr(change, pol), np.float32(0))
        if day > 0:
            db += view.slide_vv if pol == "vv" else view.slide_vh
        power = np.power(np.float32(10), db / np.float32(10)) + wet[pol]
        if snow is not None:
            power *= np.power(np.float32(10), snow / np.float32(10))
        received = receive(view.look, power)
        received *= np.power(np.float32(10), view.residual / np.float32(10))
        received += np.float32(backscatter.NOISE[pol])
        fresh = draw_looks(ground.seed, "fresh", view.name, pol, day, shape=cover.shape)
        result[pol] = received * speckle(view.lasting_looks[pol], fresh, coherence)
    return result
