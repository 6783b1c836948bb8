"""Model cards, written by code from a saved file's own header, so that no figure is typed by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_sslmaps.encoders.catalog import METHOD_INFO
from napari_sslmaps.encoders.header import read_header
from napari_sslmaps.encoders.spec import architecture_from_dict

_KEPT = {
    "mae": "the encoder and its decoder (which predicts per-patch normalised pixels)",
    "ijepa": "the target encoder, which the paper evaluates, and the predictor",
    "dinov3": "the moving-average teacher, its mask token and its two heads",
    "dira": "the query U-Net, its projection head and the patch discriminator",
}
_RIGHTS = {
    "mae": "The authors' code and weights (CC-BY-NC-4.0) were not used.",
    "ijepa": "The authors' code and weights (CC-BY-NC-4.0) were not used.",
    "dinov3": "The authors' code and weights (DINOv3 License) were not used.",
    "dira": (
        "The authors' code (academic use only) was not used. Its authors state that a patent on the method "
        "is pending: whether you may use the method is for you to find out."
    ),
}


def write_card(weights: Path) -> Path:
    """Write ``<name>.md`` beside ``<name>.safetensors`` and return its path."""
    header = read_header(weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    card = weights.with_suffix(".md")
    card.write_text(render_card(header, digest, weights.stat().st_size), encoding="utf-8")
    return card


def render_card(header: Mapping[str, Any], digest: str, size: int) -> str:
    """Return the card as Markdown.

    Parameters
    ----------
    header
        What `read_header` gives.
    digest
        SHA-256 of the file, hexadecimal.
    size
        Bytes of the file.
    """
    method, origin = header["method"], header["provenance"]
    info = METHOD_INFO[method]
    training = (
        f"{origin['steps']} steps of {origin['batch']} = {origin['images']} crops, seed {origin['seed']}"
    )
    made = f"napari-sslmaps {origin['package_version']}, torch {origin['torch_version']}, {origin['date']}"
    losses = ", ".join(f"{name} {value}" for name, value in origin["final_losses"].items())
    notes = f"| note | {origin['notes']} |\n" if origin.get("notes") else ""
    return f"""# {header["name"]}

A demo-size {info.title} encoder: it {info.objective}.
Method: {info.citation}.

{verdict(header["scores"])}

| | |
|---|---|
| architecture | {architecture_from_dict(header["architecture"]).summary} |
| objective | {origin["objective"]} |
| data | {origin["data"]} |
| crop | {origin["crop"]} px |
| training | {training}, one run |
| compute | {origin["minutes"]} minutes on {origin["device"]} |
| last losses | {losses} |
| feature rank (RankMe) | {origin["feature_rank"]} |
{notes}| input | normalisation `{header["normalisation"]}` |
| in the file | {_KEPT[method]} |
| made with | {made} |
| file | {size / 1e6:.1f} MB, SHA-256 `{digest}` |

## Scores

Balanced accuracy over six tissue classes on simulated images that no training saw, tokens of 8 × 8 px at
native magnification: a ridge probe, and 15 nearest neighbours. The untrained control has the same
architecture and initialisation.

{score_table(header["scores"])}

## Limits

Demo size, short training, one seed, simulated images only. The scores are on simulated masks and say nothing
about real tissue. This is neither a replication of the paper nor evidence for ranking methods, and it has no
clinical meaning. Maps of untrained networks can look just as anatomical.

## Licence

Weights: {header["licence"]}. Trained from scratch by this package's own code, written from the paper.
{_RIGHTS[method]}
"""


def verdict(scores: Mapping[str, Any]) -> str:
    """Say in a sentence whether the encoder beat its controls."""
    if scores["passed"]:
        return "It beat its controls, untrained networks and colour statistics, on simulated tissue."
    trained, untrained, colour = scores["trained"], scores["random"], scores["colour"]
    gain = trained["probe"] - float(np.mean(untrained["probe"]))
    findings = [f"its probe differs from that of untrained networks by {gain:+.3f}"]
    if gain > 0:
        findings[0] += ", a clear gain" if _clear(scores) else ", less than the gain asked for"
    if trained["knn"] < float(np.mean(untrained["knn"])):
        findings.append("its nearest neighbours are worse than those of untrained networks")
    if trained["knn"] < colour["knn"]:
        findings.append("colour statistics alone have better nearest neighbours")
    return f"**It did not beat its control** in all that was asked: {'; '.join(findings)}."


def _clear(scores: Mapping[str, Any]) -> bool:
    probes = scores["random"]["probe"]
    margin = max(0.05, 3 * float(np.std(probes, ddof=1)))
    return bool(scores["trained"]["probe"] >= float(np.mean(probes)) + margin)


def score_table(scores: Mapping[str, Any]) -> str:
    """Markdown table of an encoder's scores with its controls."""
    seeds = len(scores["random"]["probe"])
    spread = {
        name: f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
        for name, values in scores["random"].items()
    }
    trained, colour = scores["trained"], scores["colour"]
    images = scores["images"]
    return "\n".join(
        [
            f"| {images['train']} train, {images['test']} test images | probe | neighbours |",
            "|---|---|---|",
            f"| this encoder | {trained['probe']:.3f} | {trained['knn']:.3f} |",
            f"| untrained, {seeds} seeds (mean ± SD) | {spread['probe']} | {spread['knn']} |",
            f"| colour mean and deviation | {colour['probe']:.3f} | {colour['knn']:.3f} |",
        ]
    )
