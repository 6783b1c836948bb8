"""How the map in view was made, in a line that a person can read; its numbers are in the layer's metadata."""

from collections.abc import Mapping
from typing import Any

from napari_sslmaps.viewer.state.workspace import Caption

Mark = Mapping[str, Any]
_QUERIES = {
    "cls": "CLS token's attention",
    "mean-query": "all tokens' mean attention",
    "anchor": "attention of the anchor's token",
    "rollout": "rollout of the output's attention",
}
_RULES = {"percentiles 1–99 of all encoders": "shared", "percentiles 1–99": "by itself"}
_RENDERINGS = {"stretch": "stretched 2–98 %", "whitened": "whitened"}


def account(mark: Mark) -> Caption:
    """Say what a layer's mark in its metadata tells of its map.

    Parameters
    ----------
    mark
        Of a map or a difference, as `LayerBoard` writes it.
    """
    tells = {
        "similarity": _similarity,
        "attention": _attention,
        "pca": _components,
        "groups": _groups,
        "difference": _difference,
    }
    options = mark["options"]
    told = tells[mark["kind"]](options) if mark["kind"] in tells else ""
    if mark["title"] == "activation":
        told = "activation: channel mean of rectified features"
    contrast = mark.get("contrast")
    if contrast is not None:
        low, high = (f"{limit:.2g}".replace("-", "−") for limit in contrast["limits"])
        told = f"{told} · {low} to {high}, {_RULES.get(contrast['rule'], contrast['rule'])}"
    return Caption(told, str(options.get("caution", "")))


def _similarity(options: Mark) -> str:
    positive, negative = len(options["anchors"]), len(options["negative"])
    against = f" less to {negative} negative" if negative else ""
    combined = f", {options['combine']}" if positive > 1 and not negative else ""
    anchors = f"{positive} anchor{'' if positive == 1 else 's'}"
    return f"cosine to {anchors}{against}{_where(options)}{_centred(options)}{combined}"


def _attention(options: Mark) -> str:
    if "attention_kind" not in options:
        return ""
    block = "last block" if options["block"] is None else f"block {options['block']}"
    heads = options["reduction"]
    heads = f"{heads} over heads" if heads in {"mean", "max"} else _counted(heads)
    if options["attention_kind"] == "rollout":
        heads = "mean over heads"
    prefix = f", {options['prefix_attention']:.0%} on CLS and registers".replace("%", " %")
    return f"{_QUERIES[options['attention_kind']]}, {block}, {heads}{prefix}"


def _counted(head: str) -> str:
    """Return the number of a head as people count, from 1."""
    return f"head {int(head.removeprefix('head ')) + 1}"


def _components(options: Mark) -> str:
    basis = options.get("basis_of") or "of this region"
    aligned = options.get("aligned_to")
    turned = f", colours turned to {aligned}" if aligned else ""
    return f"components {basis}, {_RENDERINGS[options['rendering']]}{turned}"


def _groups(options: Mark) -> str:
    names = ", ".join(group["name"] for group in options["groups"] if group["anchors"])
    return f"which it is most like: {names}{_where(options)}{_centred(options)}"


def _difference(options: Mark) -> str:
    scale = "percentile ranks of " if options["scale"] == "ranks" else ""
    return f"{scale}{options['of']}: red where {options['first']} is higher, blue where {options['second']}"


def _where(options: Mark) -> str:
    return f" in {options['reference']}" if options.get("reference") else ""


def _centred(options: Mark) -> str:
    return ", centred" if options["centred"] else ""
