"""Detections and score maps as files, each there whole or not at all."""

import sqlite3
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import rioxarray  # noqa: F401  (registers .rio on xarray objects)
import xarray as xr
from affine import Affine

from sarcube.atomic import replacing
from sarcube.errors import InputError, StoreError

LAYER = "detections"
SUFFIXES = (".gpkg", ".parquet", ".geojson", ".shp")
SHAPEFILE_NAMES = {"visible_share": "visible"}
"""A shapefile's column names have at most ten characters."""


def write_detections(detections: gpd.GeoDataFrame, path: str | Path) -> Path:
    """Write boxes to a vector file whose suffix names the format.

    Parameters
    ----------
    detections : GeoDataFrame
        What `detect` returned; it may be empty.
    path : str or Path
        ``.gpkg`` (layer "detections", with a style that QGIS applies: frames coloured by score), ``.parquet``
        (GeoParquet), ``.geojson`` (RFC 7946, so longitude and latitude) or ``.shp`` (`visible_share` becomes
        `visible`). An existing file is replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If the suffix is another one, or the frame has no CRS.
    StoreError
        If the file cannot be written; what was there before is left as it was.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f'detections are written as {", ".join(SUFFIXES)}, not "{path.name}"')
    if detections.crs is None:
        raise InputError("detections without a coordinate reference system cannot be written; set it with set_crs")
    with replacing(path, errors=(pyogrio.errors.DataSourceError, pyogrio.errors.FeatureError, sqlite3.Error)) as file:
        if suffix == ".parquet":
            detections.to_parquet(file, index=False)
        else:
            _write_ogr(detections, file, suffix)
    return path


def _write_ogr(detections: gpd.GeoDataFrame, file: Path, suffix: str) -> None:
    if suffix == ".gpkg":
        _write_layer(detections, file, driver="GPKG", layer=LAYER)
        _embed_style(file)
    elif suffix == ".geojson":
        _write_layer(detections.to_crs("EPSG:4326"), file, driver="GeoJSON", RFC7946="YES")
    else:
        _write_layer(detections.rename(columns=SHAPEFILE_NAMES), file, driver="ESRI Shapefile")


def _write_layer(detections: gpd.GeoDataFrame, file: Path, **options: str) -> None:
    several = bool((detections.geom_type == "MultiPolygon").any())  # boxes are not; objects of change may be
    kind = "MultiPolygon" if several else "Polygon"
    pyogrio.write_dataframe(detections, file, geometry_type=kind, promote_to_multi=several, **options)
    written = pyogrio.read_info(file)["features"]  # a full disk need not make GDAL raise
    if written != len(detections):
        raise StoreError(f'only {written} of {len(detections)} boxes arrived in "{file.name}"; is the disk full?')


def score_map(scores: xr.DataArray) -> xr.DataArray:
    """Lay the scores of windows out as a map: one cell of stride x stride pixels in the middle of each window.

    A cell's centre is its window's centre, so cells neither overlap nor leave gaps. The clamped last row and column of
    windows begin less than a stride after the row and column before them; their cells take the next place of the
    regular grid, so they are drawn up to a stride further out than their windows' centres.

    Parameters
    ----------
    scores : (window_y, window_x) DataArray
        What `score_windows` returned.

    Returns
    -------
    (y, x) DataArray
        float32, in the same order, with x and y of the cells' centres and the CRS. Still lazy if the scores are.

    Raises
    ------
    InputError
        If the scores do not come from `score_windows`.
    """
    missing = {"stride", "window_size", "image_transform"} - set(scores.attrs)
    if scores.dims != ("window_y", "window_x") or missing:
        raise InputError(f"scores must come from score_windows; these have the dimensions {scores.dims}")
    stride, size = scores.attrs["stride"], scores.attrs["window_size"]
    to_map = Affine(*scores.attrs["image_transform"])
    rows, columns = (np.arange(n) * stride + size / 2 for n in scores.shape)
    kept = ("long_name", "units", "model", "track", "event", "threshold")
    layer = xr.DataArray(
        scores.data,
        dims=("y", "x"),
        coords={"y": to_map.f + to_map.e * rows, "x": to_map.c + to_map.a * columns},
        name=scores.name,
        attrs={name: scores.attrs[name] for name in kept if name in scores.attrs},
    )
    layer = layer.rio.write_crs(scores.rio.crs)
    cell = to_map * Affine.translation((size - stride) / 2, (size - stride) / 2) * Affine.scale(stride)
    located: xr.DataArray = layer.rio.write_transform(cell)  # a single row or column would not tell its cell size
    return located


def _embed_style(geopackage: Path) -> None:
    """Add the table from which QGIS takes a layer's default style."""
    connection = sqlite3.connect(geopackage)
    try:
        with connection:
            connection.execute(
                "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), "
                "f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), "
                "styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), "
                "update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')))"
            )
            connection.execute(
                "INSERT INTO gpkg_contents (table_name, data_type, identifier) "
                "VALUES ('layer_styles', 'attributes', 'layer_styles')"
            )
            (geometry_column,) = connection.execute(
                "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (LAYER,)
            ).fetchone()
            connection.execute(
                "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, "
                "styleName, styleQML, styleSLD, useAsDefault, description, owner) "
                "VALUES ('', '', ?, ?, ?, ?, '', 1, ?, '')",
                (LAYER, geometry_column, "score", _qml(), "Frames coloured by the probability of a landslide"),
            )
    finally:
        connection.close()


SCORE_CLASSES = (
    (0.0, 0.5, "254,240,217"),
    (0.5, 0.6, "253,212,158"),
    (0.6, 0.7, "253,187,132"),
    (0.7, 0.8, "252,141,89"),
    (0.8, 0.9, "227,74,51"),
    (0.9, 1.0, "179,0,0"),
)
"""Lower and upper score, red-green-blue: ColorBrewer's OrRd."""


def _qml() -> str:
    """Write a graduated QGIS style: empty squares, frames from pale (unlikely) to dark red (likely)."""
    ranges = "".join(
        f'<range lower="{lower}" upper="{upper}" symbol="{i}" label="{lower:.1f} to {upper:.1f}" render="true"/>'
        for i, (lower, upper, _) in enumerate(SCORE_CLASSES)
    )
    symbols = "".join(
        f'<symbol type="fill" name="{i}" alpha="1" clip_to_extent="1"><layer class="SimpleFill" enabled="1" pass="0">'
        f'<Option type="Map"><Option type="QString" name="style" value="no"/>'
        f'<Option type="QString" name="outline_style" value="solid"/>'
        f'<Option type="QString" name="outline_color" value="{colour},255"/>'
        f'<Option type="QString" name="outline_width" value="0.6"/>'
        f'<Option type="QString" name="outline_width_unit" value="MM"/></Option></layer></symbol>'
        for i, (_, _, colour) in enumerate(SCORE_CLASSES)
    )
    return (
        '<!DOCTYPE qgis PUBLIC "http://mrcc.com/qgis.dtd" "SYSTEM"><qgis version="3.28" styleCategories="Symbology">'
        '<renderer-v2 type="graduatedSymbol" attr="score" graduatedMethod="GraduatedColor" enableorderby="0">'
        f"<ranges>{ranges}</ranges><symbols>{symbols}</symbols></renderer-v2></qgis>"
    )
