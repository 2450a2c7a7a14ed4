"""Patches: labelled windows of stacks; a table of them, and where their pixels are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import ArrayLike, NDArray

from sarcube.errors import BandError, InputError
from sarcube.gaps import fill_gaps
from sarcube.labels.order import AT_ONCE, reading_order
from sarcube.labels.pixels import CutWindows, Pixels, StackWindows, join_pixels, tile_numbers

Indices = NDArray[np.int64]

UNSEEN = 255
"""In a mask: a landslide that the track does not see, to be counted neither as one nor as background."""

COLUMNS = ("event", "track", "stack", "y0", "x0", "left", "bottom", "right", "top", "crs", "fraction", "landslide")


@dataclass(frozen=True, eq=False)
class Patches:
    """Labelled windows of one or more stacks.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per patch: event and track (text, as the stack's attributes have them); stack (which of them it is cut
        from), y0 and x0 (its first pixel row and column there); left, bottom, right, top (its box on the map, in the
        units of crs); crs (text); fraction (share of landslide pixels, 0 to 1); landslide (the label, bool).
    pixels : CutWindows or StackWindows
        Where the images come from: memory, or stacks, NumPy or Dask, that are read when they are needed.
    bands : tuple of str
        What the band axis holds, in order.
    size : int
        Pixels along a side.
    masks : CutWindows or StackWindows, optional
        Likewise for landslide pixels, for models that judge pixels.
    radiometry : str
        Radiometry and unit of the images, as the stack's attributes say it; empty where nobody said.
    filled : bool
        A single pixel that is not valid is filled when a patch is read (`sarcube.gaps`); otherwise NaN stay.
    """

    table: pd.DataFrame
    pixels: Pixels
    bands: tuple[str, ...]
    size: int
    masks: Pixels | None = None
    radiometry: str = ""
    filled: bool = True

    def __len__(self) -> int:
        return len(self.table)

    def __str__(self) -> str:
        where = ", ".join(dict.fromkeys(f"{e} {t}".strip() for e, t in zip(self.events, self.tracks, strict=True)))
        return (
            f"{len(self)} patches of {self.size} x {self.size} pixels, {int(self.labels.sum())} of them landslides"
            + (f" ({where})" if where else "")
        )

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Landslide or background: (n,) bool."""
        return self.table["landslide"].to_numpy(bool)

    @property
    def fraction(self) -> NDArray[np.float64]:
        """Share of landslide pixels: (n,) float64, 0 to 1."""
        return self.table["fraction"].to_numpy(np.float64)

    @property
    def events(self) -> NDArray[np.object_]:
        """Name of the event: (n,) text."""
        return self.table["event"].to_numpy(object)

    @property
    def tracks(self) -> NDArray[np.object_]:
        """Name of the track: (n,) text."""
        return self.table["track"].to_numpy(object)

    @property
    def tiles(self) -> Indices:
        """Number of the tile that each patch begins in: (n,) int64; patches of one are read together."""
        stack, y0, x0 = (self.table[name].to_numpy(np.int64) for name in ("stack", "y0", "x0"))
        return tile_numbers(stack, y0, x0)

    @property
    def is_loaded(self) -> bool:
        """Whether images and masks are in memory."""
        return isinstance(self.pixels, CutWindows) and not isinstance(self.masks, StackWindows)

    @property
    def images(self) -> NDArray[np.float32]:
        """All images (n, band, size, size), float32: read now where they are not in memory."""
        return self.read(np.arange(len(self)))

    def read(self, indices: ArrayLike) -> NDArray[np.float32]:
        """Read some images: (k, band, size, size) float32, in the order of the indices."""
        images = np.asarray(self.pixels.read(self._numbers(indices)), np.float32)
        return fill_gaps(images) if self.filled else images

    def read_masks(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Read the landslide pixels of some patches: (k, size, size) uint8, 1 landslide, 255 one that is not seen.

        Raises
        ------
        InputError
            If the patches have no masks.
        """
        if self.masks is None:
            raise InputError(
                "these patches have labels, but no masks of landslide pixels; sarcube.sample_chips makes some that do"
            )
        return np.asarray(self.masks.read(self._numbers(indices))[:, 0], np.uint8)

    def _numbers(self, indices: ArrayLike) -> Indices:
        chosen = np.asarray(indices)
        if chosen.dtype == bool:  # as whole numbers it would be the first two patches again and again
            raise InputError("read takes the indices of patches, not a mask: patches.subset(mask).images")
        return chosen.astype(np.int64)

    def load(self) -> "Patches":
        """Read everything into memory, tile by tile: the same patches, quick to read again."""
        if self.is_loaded:
            return self
        images = np.empty((len(self), len(self.bands), self.size, self.size), np.float32)
        masks = None if self.masks is None else np.empty((len(self), 1, self.size, self.size), np.uint8)
        for share in reading_order(self.tiles, np.arange(len(self)), at_once=AT_ONCE):
            images[share] = self.read(share)
            if masks is not None:
                masks[share, 0] = self.read_masks(share)
        return replace(self, pixels=CutWindows(images), masks=None if masks is None else CutWindows(masks))

    def subset(self, selection: NDArray[np.bool_] | NDArray[np.integer]) -> "Patches":
        """Return the patches that a mask or indices select."""
        chosen = np.arange(len(self))[selection]
        return replace(
            self,
            table=self.table.iloc[chosen].reset_index(drop=True),
            pixels=self.pixels.take(chosen),
            masks=None if self.masks is None else self.masks.take(chosen),
        )

    def select_bands(self, bands: Sequence[str]) -> "Patches":
        """Return the same patches with some of their bands: those of VV out of VV and VH, say.

        Which patches there are was decided by all bands of the stack, so that both can be compared patch by patch.

        Raises
        ------
        BandError
            If they do not hold one of the bands.
        """
        missing = [band for band in bands if band not in self.bands]
        if missing:
            raise BandError(f"the patches hold the bands {', '.join(self.bands)}, not {', '.join(missing)}")
        numbers = [self.bands.index(band) for band in bands]
        return replace(self, pixels=self.pixels.with_bands(numbers), bands=tuple(bands))

    def to_frame(self) -> gpd.GeoDataFrame:
        """Return the boxes on the map, with the columns of the table: in their CRS, or EPSG:4326 if there are several.

        Raises
        ------
        InputError
            If the patches were made of arrays and know no place.
        """
        systems = list(dict.fromkeys(self.table["crs"]))
        if "" in systems:
            raise InputError("these patches were made of arrays: nobody knows where they lie")
        target = systems[0] if len(systems) == 1 else "EPSG:4326"
        boxes = gpd.GeoSeries(index=self.table.index, dtype="geometry", crs=target)
        for system in systems:
            rows = self.table[self.table["crs"] == system]
            shapes = shapely.box(rows["left"], rows["bottom"], rows["right"], rows["top"])
            boxes.loc[rows.index] = gpd.GeoSeries(shapes, index=rows.index, crs=system).to_crs(target)
        return gpd.GeoDataFrame(self.table, geometry=boxes, crs=target)


def patches_from_arrays(
    images: NDArray[np.float32],
    labels: NDArray[np.bool_],
    *,
    bands: Sequence[str],
    fraction: NDArray[np.float64] | None = None,
    masks: NDArray[np.uint8] | None = None,
    radiometry: str = "",
    event: str = "",
    track: str = "",
) -> Patches:
    """Make patches of arrays in memory, cut by whatever means.

    Parameters
    ----------
    images : (n, band, size, size) float32 array
    labels : (n,) bool array
        Landslide or background; 0 and 1 do as well.
    bands : sequence of str
        What the band axis holds, in order.
    fraction : (n,) float64 array, optional
        Share of landslide pixels; NaN where it is not given.
    masks : (n, size, size) uint8 array, optional
        1 where landslide. With masks, NaN in the images stay.
    radiometry : str
        Such as "gamma0 RTC, dB".
    event, track : str
        Names for all of them.

    Raises
    ------
    InputError
        If the shapes do not fit, or labels or masks hold anything but 0 and 1.
    """
    images, labels = np.asarray(images, np.float32), _flags(labels, "labels").astype(bool)
    n = len(labels)
    if labels.ndim != 1:
        raise InputError(f"labels must have the shape (n,), not {labels.shape}")
    if images.ndim != 4 or images.shape[:2] != (n, len(bands)) or images.shape[2] != images.shape[3]:
        raise InputError(f"images must have the shape ({n}, {len(bands)}, size, size), not {images.shape}")
    if fraction is not None and np.shape(fraction) != (n,):
        raise InputError(f"fraction must have the shape ({n},), not {np.shape(fraction)}")
    if masks is not None:
        masks = _flags(masks, "masks").astype(np.uint8)
        if masks.shape != (n, *images.shape[2:]):
            raise InputError(f"masks must have the shape {(n, *images.shape[2:])}, not {masks.shape}")
    zeros, nowhere = np.zeros(n, np.int64), np.full(n, np.nan)
    columns: dict[str, ArrayLike] = {
        "event": [event] * n,
        "track": [track] * n,
        **dict.fromkeys(("stack", "y0", "x0"), zeros),
        **dict.fromkeys(("left", "bottom", "right", "top"), nowhere),
        "crs": [""] * n,
        "fraction": nowhere if fraction is None else np.asarray(fraction, np.float64),
        "landslide": labels,
    }
    return Patches(
        pd.DataFrame(columns, columns=list(COLUMNS)),
        CutWindows(images),
        tuple(bands),
        int(images.shape[-1]),
        masks=None if masks is None else CutWindows(masks[:, np.newaxis]),
        radiometry=radiometry,
        filled=masks is None,
    )


def _flags(values: ArrayLike, name: str) -> NDArray[np.generic]:
    flags = np.asarray(values)
    if not np.isin(flags, (0, 1)).all():
        raise InputError(f"{name} must be True and False, or 1 where landslide and 0 elsewhere: {name} > 0, perhaps")
    return flags


def concatenate_patches(parts: Sequence[Patches]) -> Patches:
    """Join the patches of several stacks or events. Nothing is read.

    Raises
    ------
    InputError
        If there is none, their sizes or radiometry differ, or some are in memory or have masks and others do not.
    BandError
        If their bands differ.
    """
    if not parts:
        raise InputError("there are no patches to join")
    first = parts[0]
    for other in parts[1:]:
        if other.bands != first.bands:
            raise BandError(f"patches of different bands cannot be joined: {first.bands} and {other.bands}")
        if other.size != first.size:
            raise InputError(f"patches of different sizes cannot be joined: {first.size} and {other.size} pixels")
        if other.radiometry != first.radiometry:
            raise InputError(
                f'patches of different radiometry cannot be joined: "{first.radiometry}" and "{other.radiometry}"'
            )
        if (other.masks is None, other.filled) != (first.masks is None, first.filled):
            raise InputError("patches with masks and patches without cannot be joined: train on one kind")
    pixels = join_pixels([part.pixels for part in parts])
    masks = None if first.masks is None else join_pixels([p.masks for p in parts if p.masks is not None])
    if pixels is None or (first.masks is not None and masks is None):
        raise InputError("some of the patches are in memory and others are not; call .load() on the others")
    offsets = np.cumsum([0, *(int(part.table["stack"].max()) + 1 if len(part) else 0 for part in parts)])
    tables = [
        part.table.assign(stack=part.table["stack"] + offset) for part, offset in zip(parts, offsets, strict=False)
    ]
    return replace(first, table=pd.concat(tables, ignore_index=True), pixels=pixels, masks=masks)
