"""The document of a staged item: what its source said, and where the clipped files now lie."""

import json
import logging
from collections.abc import Mapping
from os.path import relpath
from pathlib import Path
from typing import Any

import pystac
import shapely

from sarcube.acquisition.catalogs.areas import footprint
from sarcube.acquisition.files.headers import open_geotiff, read_grid
from sarcube.acquisition.hrefs import is_url
from sarcube.acquisition.scenes import Grid, polarisation_asset
from sarcube.acquisition.staging.area import bounds_of, outline, polygons
from sarcube.acquisition.staging.claims import Claim, digest
from sarcube.errors import ReadError

logger = logging.getLogger(__name__)

_KEPT_LINKS = ("derived_from", "license", "via", "canonical")  # lead out of the catalogue, to where it all comes from
_FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
_ROUNDING = 1e-9  # degrees
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"

Document = dict[str, Any]


def describe(
    item: pystac.Item, staged: Mapping[str, tuple[Path, Claim]], others: Mapping[str, Document], *, collection: str
) -> Document:
    """Return the document of an item whose files were staged.

    Parameters
    ----------
    item : pystac.Item
        As its catalogue gave it; its other assets, which would lead into the network, are left out.
    staged : mapping of str to (Path, dict)
        By polarisation: the file, and what is said of it.
    others : mapping of str to dict
        Assets that lie in the staged folder as well, such as annotations.
    collection : str
        That the item becomes a member of.
    """
    # Nothing is resolved: links lead to where nobody has looked.
    document: Document = json.loads(
        json.dumps(item.to_dict(include_self_link=False, transform_hrefs=False), default=str)
    )
    grids = {name: _grid_of(path, item.id) for name, (path, _) in staged.items()}
    properties, assets = document["properties"], document["assets"]
    first = next(iter(grids.values()))
    covered = _covered(item, shapely.union_all([outline(grid) for grid in set(grids.values())]))
    came_from = document.get("collection")
    if came_from not in (None, collection):
        properties["sarcube:collection"] = came_from
    document |= {
        "collection": collection,
        "geometry": json.loads(shapely.to_geojson(covered)),
        "bbox": bounds_of(covered),
        "properties": dict(sorted({**_without_projection(properties), **_projection(first)}.items())),
        "assets": {
            **{
                name: _raster(
                    assets[_key(item, name)],
                    path,
                    claim,
                    {} if grids[name] == first else _projection(grids[name]),
                )
                for name, (path, claim) in staged.items()
            },
            **others,
        },
        "links": [
            {"rel": "root", "href": "../../catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "../collection.json", "type": "application/json"},
            {"rel": "collection", "href": "../collection.json", "type": "application/json"},
            *_links(item, document["links"]),
        ],
    }
    written = {one.rpartition("/v")[0] for one in (_FILE, _PROJECTION)}
    kept = [one for one in document.get("stac_extensions", []) if one.rpartition("/v")[0] not in written]
    return {**document, "stac_extensions": sorted({*kept, _FILE, _PROJECTION})}


def annotation_assets(paths: list[Path], home: Path) -> dict[str, Document]:
    """Return the assets of annotations of the product that a scene was made from; `home` is the item's folder."""
    return {
        "annotation" if number == 0 else f"annotation-{number + 1}": {
            "href": relpath(path, home),
            "type": "application/xml",
            "roles": ["metadata"],
            **digest(path),
        }
        for number, path in enumerate(paths)
    }


def _covered(item: pystac.Item, clips: shapely.Geometry) -> shapely.Geometry:
    """Return what of the item's outline its clipped files hold; all that these cover, if it gives none."""
    try:
        said = footprint(item)
    except ReadError as error:
        logger.info("%s; its outline is taken from its files", error)
        return clips
    if shapely.covers(shapely.buffer(clips, _ROUNDING), said):
        return said  # it was clipped before: to cut it again would move its corners in their last digit
    covered = polygons(shapely.intersection(said, clips))
    return clips if shapely.is_empty(covered) else covered  # outlines of items can be rough


def _grid_of(path: Path, item: str) -> Grid:
    owner = f'item "{item}"'
    with open_geotiff(str(path), owner=owner) as dataset:
        return read_grid(dataset, owner=owner)


def _key(item: pystac.Item, polarisation: str) -> str:
    """Return the key of a polarisation's asset as the item has it: "vv" or "VV"."""
    asset = polarisation_asset(item, polarisation)
    return next(key for key, known in item.assets.items() if known is asset)


def _raster(asset: Document, path: Path, claim: Claim, projection: Document) -> Document:
    """Return the asset of a staged file, with all that its source's said that is still so."""
    said = {name: value for name, value in _without_projection(asset).items() if name != "alternate"}
    return dict(sorted({**said, "href": f"./{path.name}", "type": _COG, **claim, **projection}.items()))


def _without_projection(fields: Document) -> Document:
    return {name: value for name, value in fields.items() if not name.startswith("proj:")}


def _projection(grid: Grid) -> Document:
    """Return the projection fields of a grid."""
    a, b, c, d, e, f = grid.transform
    rows, columns = grid.shape
    corners = [(a * x + b * y + c, d * x + e * y + f) for x in (0, columns) for y in (0, rows)]
    xs, ys = zip(*corners, strict=True)
    return {
        ("proj:code" if grid.crs.startswith("EPSG:") else "proj:wkt2"): grid.crs,
        "proj:shape": [rows, columns],
        "proj:transform": [a, b, c, d, e, f, 0.0, 0.0, 1.0],
        "proj:bbox": [min(xs), min(ys), max(xs), max(ys)],
    }


def _links(item: pystac.Item, links: list[Document]) -> list[Document]:
    """Return the links that are kept, and one to the item's own address."""
    kept = [link for link in links if link.get("rel") in _KEPT_LINKS and is_url(str(link.get("href")))]
    home = item.get_self_href()
    if home is not None and is_url(home) and not any(link["rel"] == "canonical" for link in kept):
        kept.append({"rel": "canonical", "href": home, "type": "application/geo+json"})
    return kept
