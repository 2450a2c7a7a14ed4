"""A stack as a Zarr store of its own, chunk by chunk."""

from pathlib import Path

import xarray as xr

from sarcube.atomic import replacing
from sarcube.errors import StoreError


def write_stack_zarr(stack: xr.DataArray, path: str | Path) -> Path:
    """Write a stack to a new Zarr v3 store, with its chunks, grid and attributes.

    Parameters
    ----------
    stack : (band, y, x) DataArray
        From `sarcube.composite`; computed here, chunk by chunk, if it is lazy.
    path : str or Path
        Folder of the store. It takes this name when it is whole.

    Returns
    -------
    Path
        The store: `xarray.open_dataset(path, engine="zarr", decode_coords="all")` opens it.

    Raises
    ------
    StoreError
        If something is at the path already, or the store cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise StoreError(f'"{path}" is there already; remove it first, or choose another name')
    bands = stack["band"].astype(object)  # text of fixed length has no stable type in Zarr v3
    whole = stack.assign_coords(band=bands).drop_encoding().to_dataset(name=str(stack.name), promote_attrs=True)
    whole[stack.name].encoding["grid_mapping"] = stack.rio.grid_mapping
    with replacing(path) as folder:
        whole.to_zarr(folder, mode="w-", zarr_format=3, consolidated=False)
    return path
