"""Outlines of change as a GeoPackage, there whole or not at all."""

from pathlib import Path

import geopandas as gpd
import pyogrio

from sarcube.atomic import replacing
from sarcube.errors import StoreError


def write_outlines(objects: gpd.GeoDataFrame, path: Path) -> Path:
    """Write what `sarcube.change_objects` returned to the layer "change_objects" of a GeoPackage.

    Raises
    ------
    StoreError
        If the file cannot be written; what was there before is left as it was.
    """
    with replacing(path, errors=(pyogrio.errors.DataSourceError, pyogrio.errors.FeatureError)) as file:
        # An object whose parts touch at a corner alone is a MultiPolygon.
        kind = {"geometry_type": "MultiPolygon", "promote_to_multi": True}
        said = {key: str(value) for key, value in objects.attrs.items()}  # of the event; whether it is simulated
        pyogrio.write_dataframe(objects, file, driver="GPKG", layer="change_objects", layer_metadata=said, **kind)
        written = pyogrio.read_info(file)["features"]  # a full disk need not make GDAL raise
        if written != len(objects):
            raise StoreError(f'only {written} of {len(objects)} outlines arrived in "{path}"; is the disk full?')
    return path
