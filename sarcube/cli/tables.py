"""What the commands say of a cube and of its scenes."""

from typing import Any

from rich.table import Table

from sarcube.cli.console import out


def describe_cube(data: Any) -> None:
    """Print what a cube holds."""
    names = data["scene_track"].to_numpy()
    x = data["x"].to_numpy()
    said = " SIMULATED, not a measurement;" if data.attrs.get("simulated") else ""
    out.print(
        f"cube:{said} {data.sizes['time']} dates of {data.sizes['y']} x {data.sizes['x']} pixels, "
        f"{abs(x[1] - x[0]):g} m, {data.rio.crs}\nlayers: {', '.join(map(str, data.data_vars))}"
    )
    table = Table("track", "dates", "first", "last")
    for name in sorted(set(names)):
        days = data["time"].to_numpy()[names == name].astype("M8[D]")
        table.add_row(name, str(len(days)), str(days.min()), str(days.max()))
    out.print(table)
    if "incomplete" in data.attrs:
        out.print(f"incomplete: {data.attrs['incomplete']}")
    for label in (
        "duplicates_dropped",
        "dropped_on_request",
        "missing_polarisations",
        "items_without_vv_and_vh",
        "not_staged",
        "unread",
    ):
        for line in data.attrs.get(label, []):
            out.print(f"{label.replace('_', ' ')}: {line}")


def quality_table(data: Any) -> None:
    """Print what `sc.quality` found, a row per scene, and its warnings."""
    table = Table(title="shares of pixels; displacement in pixels against the track's other dates")
    shares = [name for name in data.columns if name.endswith(("_valid", "_zeros", "_nodata", "_fringe", "_unread"))]
    shares = [name for name in shares if name.endswith("_valid") or (data[name] > 0).any()]
    for column in ("date", "track", *(name.replace("_", " ") for name in shares), "rows", "columns", "seam dB"):
        table.add_column(column, justify="left" if column in ("date", "track") else "right")
    for _, row in data.iterrows():
        numbers = [f"{row[name]:.2f}" for name in ("shift_rows", "shift_columns", "seam_db")]
        table.add_row(f"{row['time']:%Y-%m-%d}", row["track"], *(f"{row[name]:.1%}" for name in shares), *numbers)
    out.print(table)
    for _, row in data.iterrows():
        for warning in row["warnings"]:
            out.print(f"{row['time']:%Y-%m-%d} {row['track']} {row['item_ids']}: {warning}", highlight=False)
