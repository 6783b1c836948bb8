"""What is typed, understood: points, rectangles, numbers."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from napari_sslmaps.core.region import Region

Points = tuple[tuple[float, float], ...]


def points_of(texts: list[str] | None, option: str) -> Points:
    """Understand ``row,column`` texts of an option."""
    return tuple(numbers(text, 2, f"{option} as row,column, for example 120,340") for text in texts or ())  # type: ignore[misc]  # two numbers by construction


def numbers(text: str, count: int, wanted: str) -> tuple[float, ...]:
    """Understand `count` numbers with commas between; raise `typer.BadParameter` naming what was `wanted`."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise typer.BadParameter(f"expected {wanted}; got {text!r}.")
    return numbers


def region_of(image: str, text: str | None, level: int, frame: int) -> "Region | None":
    """Understand ``y,x,height,width``; the whole level if omitted, None for the whole finest one."""
    from napari_sslmaps.core.region import Region
    from napari_sslmaps.run.request import open_named

    if text is not None:
        parts = numbers(text, 4, "--region as y,x,height,width, for example 0,0,256,256")
        y, x, height, width = (int(part) for part in parts)
        return Region(y, x, height, width, level, frame)
    if level == frame == 0:
        return None
    with open_named(image) as source:
        shape = source.levels[min(level, len(source.levels) - 1)].shape_yx
    return Region(0, 0, *shape, level, frame)
