"""The options with which a user corrects what a weight file says or leaves open."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from napari_sslmaps.encoders.overrides import Overrides

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
