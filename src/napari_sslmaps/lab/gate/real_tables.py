"""Findings on real images, as sentences and Markdown tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from napari_sslmaps.encoders.cards import CardFacts
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.evaluation.anchor_scores import STRATA
from napari_sslmaps.lab.gate.image_sets import ImageSet, image_sets, sets_for
from napari_sslmaps.lab.gate.tables import markdown_table, overview_table
from napari_sslmaps.lab.gate.verdict import signed

Results = Mapping[str, Mapping[str, Any]]
_RIVALS = ("untrained", "colour", "pixels", "position")


def real_verdict(result: Mapping[str, Any]) -> str:
    """Say in a paragraph of Markdown on how many real sets an encoder beat its controls, and on which."""
    masks = dict(_in_order(result, "masks"))
    facts = CardFacts(False, sets_judged(result), sets_beaten(result))
    below = [name for name, found in masks.items() if found["below_untrained"]]
    gains = ", ".join(f"{name} {_above_twin(found)}" for name, found in masks.items())
    worse = f" It is below untrained networks on {', '.join(below)}." if below else ""
    return f"**{facts.label}**. {facts.explained} Above untrained networks, by set: {gains}.{worse}"


def sets_judged(result: Mapping[str, Any]) -> dict[str, str]:
    """Return what is on the images of each real set with masks, and on how many, by its name."""
    found = result["masks"]
    return {
        known.name: f"{known.title}, {found[known.name]['images']} images"
        for known in sets_for(result["domain"], "masks")
    }


def sets_beaten(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the real sets on which an encoder beat its controls."""
    return tuple(name for name, found in _in_order(result, "masks") if found["beats"])


def _in_order(result: Mapping[str, Any], use: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return the sets of one use in the order in which they are listed, whatever that of the file."""
    return ((known.name, result[use][known.name]) for known in sets_for(result["domain"], use))


def _above_twin(found: Mapping[str, Any]) -> str:
    return signed(found["gains"]["untrained"])


def earlier_weights(result: Mapping[str, Any]) -> str:
    """Say what earlier weights of the same name reached; empty if there were none."""
    lines = [
        f"Weights judged on {old['date']} reached "
        + ", ".join(f"{value:.3f} on {name}" for name, value in old["masks"].items())
        + "."
        for old in result.get("earlier", [])
    ]
    return "\n" + "\n".join(lines) + "\n" if lines else ""


def how_images_were_read(result: Mapping[str, Any]) -> str:
    """Say at which resolution and scale everybody read the images."""
    working = result["working"]
    return (
        f"images read at {working['short_side']} px across, tokens averaged over a Gaussian of "
        f"{working['short_side'] * working['share']:.0f} px there, {result['anchors']} anchors an image"
    )


def anchor_table(result: Mapping[str, Any]) -> str:
    """Areas of one encoder and its controls on each real set, over all tokens and by distance."""
    rows = []
    for name, found in _in_order(result, "masks"):
        for entrant in ("encoder", *_RIVALS, "nearness"):
            areas = found["areas"][entrant]
            title = {"encoder": "**this encoder**", "nearness": "nearness alone"}.get(entrant, entrant)
            gain = signed(found["gains"][entrant]) if entrant in found["gains"] else ""
            rows.append(
                [f"{name}, {found['images']} images" if entrant == "encoder" else "", title]
                + [f"{areas[stratum]:.3f}" for stratum in STRATA]
                + [gain]
            )
    return markdown_table(["set", "", *STRATA, "this encoder above it"], rows)


def probe_table(result: Mapping[str, Any]) -> str:
    """Probes and components of one encoder beside its controls."""
    rows = [
        [name, "token probe, by image", *_probe(found["probe"])] for name, found in _in_order(result, "masks")
    ]
    rows += [
        [name, "best of three components (AUROC)", *_components(found["components"])]
        for name, found in _in_order(result, "masks")
    ]
    rows += [
        [name, f"image probe, {found['classes']} classes", *_probe(found["probe"])]
        for name, found in _in_order(result, "labels")
    ]
    head = ["set", "", "this encoder", "untrained", "colour", "pixels", "position", "above untrained"]
    return markdown_table(head, rows)


def both_overviews(simulated: Results, real: Results) -> str:
    """Every encoder on real images, as far as it was judged there, and on simulated ones."""
    parts = [real_overview(real)] if real else []
    return "\n\n".join([*parts, "### Simulated images", overview_table(simulated)])


def real_overview(results: Results) -> str:
    """Every encoder on every real set of its domain: a table for each domain."""
    return "\n\n".join(
        f"### {domain.capitalize()}\n\n{_how(results, domain)}\n\n{_domain_table(results, domain)}"
        for domain in dict.fromkeys(found["domain"] for found in results.values())
    )


def training_images(domain: str) -> str:
    """List the real images that an encoder of a domain learned from, with licences and citations."""
    return "\n".join(_source_line(known) for known in sets_for(domain, "train"))


def judging_images(domain: str) -> str:
    """List the real images that encoders of a domain are judged on."""
    chosen = (known for known in image_sets() if known.domain == domain and known.use != "train")
    return "\n".join(_source_line(known) for known in chosen)


def _source_line(known: ImageSet) -> str:
    return f"- {known.title}: {known.citation}. {known.licence}."


def _how(results: Results, domain: str) -> str:
    text = how_images_were_read(next(found for found in results.values() if found["domain"] == domain))
    return f"{text[0].upper()}{text[1:]}."


def _domain_table(results: Results, domain: str) -> str:
    order = list(METHODS)
    names = [name for name, found in results.items() if found["domain"] == domain]
    names.sort(key=lambda name: order.index(results[name]["method"]))
    sets = sets_for(domain, "masks")
    rows = [[f"`{name}`", *_cells(results[name], sets), _count(results[name])] for name in names]
    any_result = results[names[0]]
    for rival in ("colour", "pixels", "position", "nearness"):
        values = [f"{any_result['masks'][known.name]['areas'][rival]['all']:.3f}" for known in sets]
        rows.append([f"{rival} alone", *values, ""])
    return markdown_table(["encoder / its untrained twins", *(known.title for known in sets), "beat"], rows)


def _cells(result: Mapping[str, Any], sets: Sequence[ImageSet]) -> Iterator[str]:
    for known in sets:
        found = result["masks"][known.name]
        areas = found["areas"]
        mark = "**" if found["beats"] else ""
        yield (
            f"{mark}{areas['encoder']['all']:.3f}{mark} / {areas['untrained']['all']:.3f} "
            f"({_above_twin(found)})"
        )


def _count(result: Mapping[str, Any]) -> str:
    return f"{sum(found['beats'] for found in result['masks'].values())} of {len(result['masks'])}"


def _probe(probe: Mapping[str, Any]) -> list[str]:
    plain = [f"{probe[kind]:.3f}" if kind in probe else "–" for kind in _RIVALS]
    return [f"{probe['encoder']['value']:.3f}", *plain, signed(probe["gain"])]


def _components(components: Mapping[str, float]) -> list[str]:
    return [*(f"{components[kind]:.3f}" for kind in ("encoder", *_RIVALS)), ""]
