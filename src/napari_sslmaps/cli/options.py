"""Options shared by commands: points, rectangles, numbers, corrections of a weight file."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from napari_sslmaps.core.region import Region
    from napari_sslmaps.encoders.overrides import Overrides

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
    from napari_sslmaps.inputs.images import open_named

    if text is not None:
        parts = numbers(text, 4, "--region as y,x,height,width, for example 0,0,256,256")
        y, x, height, width = (int(part) for part in parts)
        return Region(y, x, height, width, level, frame)
    if level == frame == 0:
        return None
    with open_named(image) as source:
        shape = source.levels[min(level, len(source.levels) - 1)].shape_yx
    return Region(0, 0, *shape, level, frame)


_PANEL = "Where a weight file is wrong or silent"
Method = Annotated[
    str | None, typer.Option(help="mae, ijepa, dino, dinov2, dinov3, dira.", rich_help_panel=_PANEL)
]
Heads = Annotated[
    int | None, typer.Option("--num-heads", help="Attention heads per block.", rich_help_panel=_PANEL)
]
Normalisation = Annotated[
    str | None,
    typer.Option(
        help="imagenet, unit, …, or mean/std in [0, 1]: 0.5,0.5,0.5/0.25,0.25,0.25.", rich_help_panel=_PANEL
    ),
]
Eps = Annotated[float | None, typer.Option(help="LayerNorm's epsilon.", rich_help_panel=_PANEL)]
Branch = Annotated[
    str | None,
    typer.Option(
        help="target (I-JEPA's target encoder, a teacher; the default) or encoder.", rich_help_panel=_PANEL
    ),
]
TokenStage = Annotated[
    str | None,
    typer.Option(help="Stage of a U-Net whose features are the tokens.", rich_help_panel=_PANEL),
]


def corrections(**given: str | float | None) -> "Overrides":
    """Return what was given as `Overrides`; raises `InvalidOptionError` if a value is not permitted."""
    from napari_sslmaps.encoders.overrides import Overrides

    return Overrides.of({name: value for name, value in given.items() if value is not None})
