"""What a staged DEM is, as a STAC item beside it: what a second call trusts it by."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import shapely

from sarcube.acquisition.files.headers import open_geotiff, read_grid
from sarcube.acquisition.staging.area import bounds_of, outline
from sarcube.acquisition.staging.claims import digest
from sarcube.acquisition.staging.pieces import write_whole

logger = logging.getLogger(__name__)

_ASSET = "data"
_DATE = "2021-04-22T00:00:00Z"  # of GLO-30, as the Planetary Computer has it

BBox = tuple[float, float, float, float]


def write_record(
    raster: Path, *, collection: str, bbox: BBox, margin: float, tiles: Sequence[str], missing: Sequence[str]
) -> None:
    """Write the record of a raster that is whole and on the disk.

    Parameters
    ----------
    raster : Path
        In EPSG:4326; the record has its name, with the suffix ``.json``.
    collection : str
        That the tiles are of.
    bbox : (west, south, east, north)
        The area that it was made for, degrees.
    margin : float
        Metres around it.
    tiles, missing : sequence of str
        Ids of the items it was made of, and names of those that the catalogue lacks.
    """
    with open_geotiff(str(raster), owner="the DEM") as dataset:
        grid = read_grid(dataset, owner="the DEM")
    area = outline(grid)
    document = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
            "https://stac-extensions.github.io/file/v2.1.0/schema.json",
        ],
        "id": raster.stem,
        "collection": collection,
        "bbox": bounds_of(area),
        "geometry": json.loads(shapely.to_geojson(area)),
        "properties": {
            "datetime": _DATE,
            "gsd": 30,
            "proj:epsg": 4326,
            "proj:shape": list(grid.shape),
            "proj:transform": [*grid.transform, 0.0, 0.0, 1.0],
            "sarcube:area": list(bbox),
            "sarcube:margin_m": margin,
            "sarcube:tiles": list(tiles),
            "sarcube:missing_tiles": list(missing),
        },
        "assets": {
            _ASSET: {
                "href": f"./{raster.name}",
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "roles": ["data"],
                "title": "Height above the EGM2008 geoid, metres",
                **digest(raster),
            }
        },
        "links": [],
    }
    write_whole(_path(raster), json.dumps(document, indent=1).encode())


def is_recorded(raster: Path, *, bbox: BBox, margin: float) -> bool:
    """Whether a raster lies there, whole and of this area, as its record says."""
    path = _path(raster)
    try:
        record = json.loads(path.read_bytes())
        said, file = record["properties"], record["assets"][_ASSET]
        if said["sarcube:area"] != list(bbox) or said["sarcube:margin_m"] != margin:
            return False
        if digest(raster).items() <= file.items():
            return True
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s cannot be read (%r): the DEM is made again", path, error)
        return False
    logger.warning("%s is not what %s says of it: it is made again", raster, path.name)
    return False


def _path(raster: Path) -> Path:
    return raster.with_suffix(".json")
