"""Model cards, rendered from a weight file's header and its published result: no figure is typed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_sslmaps.encoders.cards import CardFacts
from napari_sslmaps.encoders.families.registry import architecture_from_dict
from napari_sslmaps.encoders.header import read_header
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.files import written_whole
from napari_sslmaps.lab.gate.provenance import NEEDED, read_provenance, read_recipe, saw_real_images
from napari_sslmaps.lab.gate.real_tables import (
    anchor_table,
    earlier_weights,
    how_images_were_read,
    judging_images,
    probe_table,
    real_verdict,
    sets_beaten,
    sets_judged,
    training_images,
)
from napari_sslmaps.lab.gate.tables import score_table, tap_table
from napari_sslmaps.lab.gate.verdict import verdict

_SPELT_OUT = {*NEEDED, "images", "minutes", "device", "final_losses", "feature_rank", "notes", "recipe"}
_MADE_WITH = {"package_version", "torch_version", "date"}


def write_card(weights: Path, result: Mapping[str, Any], real: Mapping[str, Any] | None = None) -> Path:
    """Write ``<name>.md`` beside ``<name>.safetensors`` and return its path; see `render_card`."""
    card = weights.with_suffix(".md")
    text = render_card(weights.stem, read_header(weights), result, real)
    with written_whole(card) as growing:
        growing.write_text(text, encoding="utf-8")
    return card


def render_card(
    name: str, header: Mapping[str, Any], result: Mapping[str, Any], real: Mapping[str, Any] | None = None
) -> str:
    """Return the card as Markdown; the verdict is its first paragraph.

    Parameters
    ----------
    name
        Name of the encoder.
    header
        Header of its weight file, as `read_header` returns it. Fields of its provenance that are not known
        here are listed as they are.
    result
        The encoder's entry in a `Book`, on simulated images.
    real
        Entry of the encoder in `real_book`, whose verdict then comes first.

    Raises
    ------
    RecordError
        If the header does not say how the encoder was trained.
    """
    origin = read_provenance(name, header)
    method, info = header["method"], METHODS[header["method"]]
    domain, tolerance = result["domain"], result["tolerance"]
    recipe, begun = _recipe_name(origin, method, domain), _begun(origin)
    trained = "Trained" if begun else "Trained from scratch"
    rows = "\n".join(f"| {key} | {value} |" for key, value in _facts(header, origin, result).items())
    verdicts = verdict(result) if real is None else f"{real_verdict(real)}\n\n{_plainly(verdict(result))}"
    return f"""# {name}

{verdicts}

A small {info.title} encoder for {domain}: it {info.objective}.
Method: {info.citation}.

| | |
|---|---|
{rows}
{_training_part(origin, domain)}{_real_part(real)}
## Scores on simulated images

Balanced accuracy over {len(result["test"]["classes"])} classes on {result["test"]["images"]} simulated
test images that no training saw and no choice was made by, tokens of 8 × 8 px at native magnification; in
brackets the 95 % interval over images. The untrained controls have the same architecture, initialisation,
normalisation and freedom of choice: penalty and metric of the neighbours are chosen on validation images for
each.

{score_table(result)}

Anchor AUC, the area under the ROC curve for finding an anchor's class by cosine similarity, is no part of
the verdict: colour and nearness do well at it. The network's other places to read tokens from, ridge probe on
validation images:

{tap_table(result)}

{_record(result)}

## Limits

Small network, short training{_seeds(result)}{_limits(origin, real)}
This is neither a replication of the paper nor evidence for ranking methods, and it has no clinical meaning.
Maps of untrained networks can look just as anatomical.

## Reproduce

`napari-sslmaps pretrain` with the recipe `{recipe}` trains it again{begun}.
Expect the probe within ± {tolerance["probe"]:.3f}: {_BASIS[tolerance["basis"]]}.
`scripts/publish_encoders.py` makes the scores and this card.
{_recipe_lines(origin)}
## Licence

Weights: {header["licence"]}. {trained} by this package's own code, written from the paper.
{info.rights}
{_facts_as_data(result, real).written()}"""


def _facts_as_data(result: Mapping[str, Any], real: Mapping[str, Any] | None) -> CardFacts:
    beats_simulated = not result["failed"]
    return (
        CardFacts(beats_simulated)
        if real is None
        else CardFacts(beats_simulated, sets_judged(real), sets_beaten(real))
    )


def _plainly(paragraph: str) -> str:
    return paragraph.replace("**", "")


def _training_part(origin: Mapping[str, Any], domain: str) -> str:
    if not saw_real_images(origin):
        return ""
    return f"""
## Training images

Fields of real images of these public sets, and of simulated ones where *data* says so. The images are not in
this package; licences are those found with the copies that were used.

{training_images(domain)}
"""


def _real_part(real: Mapping[str, Any] | None) -> str:
    if real is None:
        return ""
    return f"""
## Scores on real images

How well similarity to an anchor finds the anchor's class: mean area under the ROC curve, over all tokens and
over those near the anchor, at middle distance and far; {how_images_were_read(real)}.
Everybody is asked alike. In brackets the 95 % interval of the paired difference over images; untrained is the
mean of five seeds.

{anchor_table(real)}

Probes are linear, on images that they were not fitted to; balanced accuracy.

{probe_table(real)}
{earlier_weights(real)}
Images:

{judging_images(real["domain"])}
"""


def _limits(origin: Mapping[str, Any], real: Mapping[str, Any] | None) -> str:
    trained = "" if saw_real_images(origin) else ", simulated images only"
    if real is None:
        return f"{trained}. The scores are on simulated masks and\nsay nothing about real tissue or patients."
    return f"{trained}. The real sets are few and small,\nand settings were chosen on them."


_BASIS = {
    "training seeds": "the largest difference between training seeds",
    "control seeds": "three standard deviations of untrained networks; the training was not repeated",
}


def _begun(origin: Mapping[str, Any]) -> str:
    """Say, where training did not begin from nothing, that its recipe alone is not enough."""
    return ", begun from the weights that the note above names (`--init`)" if origin.get("notes") else ""


def _facts(
    header: Mapping[str, Any], origin: Mapping[str, Any], result: Mapping[str, Any]
) -> dict[str, object]:
    images = origin.get("images", origin["steps"] * origin["batch"])
    runs = len(result["trained"]["runs"])
    training = f"{origin['steps']} steps of {origin['batch']} = {images} crops, seed {origin['seed']}"
    facts: dict[str, object] = {
        "architecture": architecture_from_dict(header["architecture"]).summary,
        "objective": origin["objective"],
        "data": origin["data"],
        "training": f"{training}, {'one run' if runs == 1 else f'one of {runs} runs'}",
        "compute": _compute(origin),
        "last losses": _plain(origin.get("final_losses")),
        "feature rank (RankMe)": origin.get("feature_rank"),
        "note": origin.get("notes", "").partition(" Left out of the file:")[0],  # names of tensors are long
        "input": f"normalisation `{header['normalisation']}`",
        "in the file": METHODS[header["method"]].file_holds,
        "made with": _made_with(origin),
    }
    for field, value in origin.items():
        if field not in _SPELT_OUT | _MADE_WITH:
            facts[field.replace("_", " ")] = _plain(value)
    facts["file"] = f"{result['bytes'] / 1e6:.1f} MB, SHA-256 `{result['sha256']}`"
    return {key: value for key, value in facts.items() if value not in {None, ""}}


def _compute(origin: Mapping[str, Any]) -> str:
    minutes = origin.get("minutes")
    spent = "" if minutes is None else f"{minutes} minutes on "
    return f"{spent}{origin.get('device', 'an unnamed device')}"


def _made_with(origin: Mapping[str, Any]) -> str:
    versions = [
        f"{package} {origin[field]}"
        for package, field in (("napari-sslmaps", "package_version"), ("torch", "torch_version"))
        if field in origin
    ]
    return ", ".join([*versions, *([origin["date"]] if "date" in origin else [])])


def _plain(value: object) -> str | None:
    """Text of a JSON value; nested ones as ``name value, name value``."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(str(_plain(part)) for part in value)
    return str(value)


def _recipe_name(origin: Mapping[str, Any], method: str, domain: str) -> str:
    return str(read_recipe(origin).get("name") or f"{method}-{domain}")


def _recipe_lines(origin: Mapping[str, Any]) -> str:
    """Write the whole recipe, a line per table; empty without one."""
    recipe = read_recipe(origin)
    plain = {
        key: value
        for key, value in recipe.items()
        if key != "name" and value != "" and not isinstance(value, Mapping)
    }
    tables = {"recipe": plain, **{k: v for k, v in recipe.items() if isinstance(v, Mapping)}}
    lines = [f"- {title}: {_plain(table)}" for title, table in tables.items() if table]
    return "\n" + "\n".join(lines) + "\n" if lines else ""


def _seeds(result: Mapping[str, Any]) -> str:
    runs = len(result["trained"]["runs"])
    return ", one training seed" if runs == 1 else f", {runs} training seeds"


def _record(result: Mapping[str, Any]) -> str:
    earlier = result["earlier"]
    if not earlier:
        return f"The test images were consulted once for this encoder, on {result['date']}."
    dates = ", ".join(f"{old['date']} (probe {old['probe']:.3f})" for old in earlier)
    return (
        f"The test images were consulted on {result['date']} for these weights, and before that for others "
        f"of this name: {dates}."
    )
