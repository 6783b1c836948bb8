"""The page of published encoders, of what the list says of each: ``python docs/published_table.py``.

What the weights of each say without the files beside them is tried, on tensors of the same names and shapes.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from napari_sslmaps.encoders.checkpoint.identify import Recognised, identify
from napari_sslmaps.encoders.checkpoint.open import Opened
from napari_sslmaps.encoders.checkpoint.translate import translate
from napari_sslmaps.encoders.checkpoint.unwrap import pick
from napari_sslmaps.encoders.families.registry import network_of
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.published.entry import WEIGHTS, Published
from napari_sslmaps.encoders.spec import Architecture, get_normalisation
from napari_sslmaps.errors import CheckpointError

PAGE = Path(__file__).parent / "published.md"
_HEAD = """# Published encoders

What `napari-sslmaps encoders download NAME` fetches, and how each is read.
Made by `docs/published_table.py` of the list in the package.

*Input* is the side in pixels that stored positions are of; others work, at which positions are resampled.
*Needs* is what its files leave open and its name brings along: a copy of the same files of your own asks for
it. *Weights alone* is what its weight file needs without those beside it: nothing, corrections, or them; a
number leads to the sentence that refuses it. *Statistics* are those of its model card until its files say
them. Licences are those of the weights: read them on the page before you use any.

| name | repository | method | network | input | statistics | µm/px | needs | weights alone | MB | licence | |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""
_OF_TRANSFORMERS = ("facebook/", "microsoft/", "owkin/", "histai/", "kaiko-ai/")
"""Owners of repositories whose files transformers wrote."""
_CORRECTIONS: Mapping[str, str] = {
    "heads": "num_heads",
    "eps": "eps",
    "grid": "grid",
    "antialias": "antialias",
    "position_offset": "offset",
}


def page() -> str:
    """Return the page as it is to be."""
    refusals: dict[str, int] = {}
    rows = "".join(_row(entry, refusals) for entry in PUBLISHED.values())
    return _HEAD + rows + "".join(f"\n{number}. {sentence}\n" for sentence, number in refusals.items())


def _row(entry: Published, refusals: dict[str, int]) -> str:
    shape, statistics = entry.architecture, get_normalisation(entry.normalisation)
    named = statistics.name.replace(",", ", ").replace("/", " / ")
    trained = entry.trained.um_per_px if entry.trained is not None else None
    remarks = [word for word, holds in (("gated", entry.gated), ("not tried", not entry.tried)) if holds]
    cells = (
        f"`{entry.name}`",
        f"[{entry.repository}]({entry.page})",
        METHODS[entry.method].title,
        shape.summary,
        f"{shape.stored_side}" if shape.stored_side else "any",
        named,
        f"{trained:g}" if trained else "",
        _listed(entry.overrides),
        _alone(entry, refusals),
        f"{entry.megabytes:.0f}",
        entry.licence,
        ", ".join(remarks),
    )
    return f"| {' | '.join(cells)} |\n"


def _listed(corrections: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}={value!r}`" for key, value in corrections.items())


def _alone(entry: Published, refusals: dict[str, int]) -> str:
    """Say what the weights of an encoder need where nothing lies beside them."""
    if entry.weights:
        return "all there is"
    try:
        needed = _corrections(entry)
    except CheckpointError as refusal:
        number = refusals.setdefault(str(refusal), len(refusals) + 1)
        return f"refused ({number})"
    return _listed(needed) or "nothing"


def _corrections(entry: Published) -> dict[str, Any]:
    """Return what has to be said of weights alone, so that they are read as those of the encoder."""
    of_timm = not entry.repository.startswith(_OF_TRANSFORMERS)
    names = (
        _names(_shallow(entry.architecture))
        if of_timm
        else ("embeddings.patch_embeddings.projection.weight",)
    )
    needed: dict[str, Any] = {}
    try:
        found = _recognised(names)
    except CheckpointError:
        found = _recognised(names, Overrides(method=entry.method))  # the method is what it asks for
        needed["method"] = entry.method
    if found.method.name != entry.method:
        needed["method"] = entry.method
        found = _recognised(names, Overrides(method=entry.method))
    if found.normalisation != get_normalisation(entry.normalisation).name:
        needed["normalisation"] = entry.normalisation
    for field, correction in _CORRECTIONS.items():
        wanted = getattr(entry.architecture, field, None)
        if getattr(found.architecture, field, None) != wanted:
            needed[correction] = wanted
    return needed


def _shallow(architecture: Architecture) -> Architecture:
    shape: Any = architecture
    return replace(shape, **({"depth": 1} if shape.kind == "vit" else {"depths": (1, 1, 1, 1)}))


@cache
def _names(shape: Any) -> tuple[Any, ...]:
    """Names and shapes of tensors as timm calls them."""
    import torch
    from timm.models.beit import Beit

    with torch.device("meta"):
        if isinstance(shape, ViTArchitecture) and shape.relative:
            network: torch.nn.Module = Beit(
                num_classes=0,
                depth=1,
                embed_dim=shape.dim,
                num_heads=shape.heads,
                use_abs_pos_emb=False,
                use_rel_pos_bias=True,
                init_values=0.1,
            )
        else:
            network = network_of(shape).build(shape)
        state = network.state_dict()
    return tuple((key.removeprefix("encoder."), tuple(value.shape)) for key, value in state.items())


def _recognised(names: tuple[Any, ...], overrides: Overrides | None = None) -> Recognised:
    import torch

    tensors = {
        key: torch.zeros(1).expand(shape)
        for key, shape in (entry if isinstance(entry, tuple) else (entry, (1, 3, 16, 16)) for entry in names)
    }
    file = pick(Opened(tensors), WEIGHTS[0])
    return identify(file, translate(file, WEIGHTS[0]), overrides or Overrides(), WEIGHTS[0])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
