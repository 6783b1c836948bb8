"""The gate of the embedded encoders: each is judged once on test images, beside its controls.

`judge` is the only function that looks at the test split. What it finds is on disk before it returns, weights
that have been judged are not judged again, and results of earlier weights stay on record: nobody can try
until a number pleases without everybody seeing it. Tuning is done by `probe.score` or `review`, which see
training and validation images only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.header import read_header, starting_gain
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.spec import Architecture
from napari_sslmaps.encoders.untrained import untrained_network
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation import uncertainty as tally
from napari_sslmaps.files import hash_path
from napari_sslmaps.lab.gate import images, probe, verdict
from napari_sslmaps.lab.gate.controls import BASELINES
from napari_sslmaps.lab.gate.features import TappedNetwork
from napari_sslmaps.lab.gate.images import SEEDS, ProbeData, ProbeSet, simulate_probe_set
from napari_sslmaps.lab.gate.measure import Chosen, Measurement, Plain, Source, choose, measure
from napari_sslmaps.lab.gate.provenance import check_images, read_provenance
from napari_sslmaps.lab.gate.report import compose
from napari_sslmaps.lab.gate.results import Book
from napari_sslmaps.lab.simulators import get_simulator

CONTROL_SEEDS = (0, 1, 2, 3, 4)
COUNTS: Mapping[str, int] = {"train": 60, "validation": 60, "test": 200}
_FINGERS = 4


def protocol(domain: str) -> dict[str, Any]:
    """Return everything that decides a score; written with every result.

    The simulator is told by the brightness of its first validation images: it cannot change unnoticed.
    """
    first = simulate_probe_set(domain, SEEDS["validation"], _FINGERS).images
    return {
        "version": 1,
        "images": dict(COUNTS),
        "seeds": dict(SEEDS),
        "brightness": [round(float(image.mean()), 3) for image in first],
        "side": images.SIDE,
        "field": images.FIELD,
        "token": images.PATCH,
        "purity": images.PURITY,
        "neighbours": probe.NEIGHBOURS,
        "references_per_class": probe.REFERENCE_PER_CLASS,
        "penalties": list(probe.PENALTIES),
        "metrics": list(probe.METRICS),
        "resamples": tally.RESAMPLES,
        "control_seeds": list(CONTROL_SEEDS),
        "margin": verdict.MARGIN,
        "deviations": verdict.DEVIATIONS,
    }


def domain_of(name: str) -> str:
    """Return the domain in an encoder's name, such as histology in ``mae-histology``."""
    return get_simulator(name.rpartition("-")[2]).name


def use_one_thread() -> None:
    """Let sums be added in the same order on every machine, whatever cores it has."""
    torch.set_num_threads(1)


def judge(name: str, runs: Sequence[Path], book: Book, *, date: str) -> Mapping[str, Any]:
    """Judge an encoder on the test images and write the result into the book.

    Parameters
    ----------
    name
        Name under which it is embedded; ends in the domain.
    runs
        Weight files of the same recipe: the one to embed, then those of other training seeds, if any.
    book
        Book in which results are kept. Weights in it are not judged again.
    date
        Date of today, as ISO 8601.

    Returns
    -------
    Mapping
        The result as it was written.
    """
    hashes = [hash_path(run) for run in runs]
    domain = domain_of(name)
    if book.knows(name, hashes, protocol(domain)):
        return book[name]
    encoders = [load_encoder(run, device="cpu", precision="float32") for run in runs]
    twins = check_twins(name, runs, encoders)
    chosen = [review(TappedNetwork.of(encoder), domain) for encoder in encoders]
    result = compose(
        trained={
            digest: measure(choice, _test(domain)) for digest, choice in zip(hashes, chosen, strict=True)
        },
        untrained=[_measure_untrained(twins, seed, domain) for seed in CONTROL_SEEDS],
        baselines={baseline: _measure_baseline(baseline, domain) for baseline in BASELINES},
        test=_test(domain),
    )
    facts = {
        "method": twins.method,
        "domain": domain,
        "sha256": hashes[0],
        "bytes": runs[0].stat().st_size,
        "date": date,
        "protocol": protocol(domain),
    }
    book.write(name, {**facts, **result})
    return book[name]


def review(source: Source, domain: str) -> Chosen:
    """Choose everything for a source on validation images; the test split stays untouched.

    ``review(...).probes[tap].choice`` has the scores of a tap, ``.taps`` the probe of every tap.
    """
    return choose(source, _tuning(domain))


def preview(name: str, run: Path) -> dict[str, Any]:
    """Return what an encoder and its controls reach on the validation images, and what would be needed.

    For tuning: nothing is written, and the test split stays untouched. The scores are those that settings
    were chosen by, for controls as for the encoder.
    """
    domain = domain_of(name)
    encoder = load_encoder(run, device="cpu", precision="float32")
    twins = check_twins(name, [run], [encoder])
    trained = review(TappedNetwork.of(encoder), domain)
    untrained = [_shipped(review(twins.draw(seed), domain)) for seed in CONTROL_SEEDS]
    colour = _shipped(review(Plain(BASELINES["colour"]), domain))
    reached = _shipped(trained)
    needed = verdict.Needed.from_controls(
        [choice.probe for choice in untrained], [choice.knn for choice in untrained], colour.knn
    )
    return {
        "reached": {"probe": reached.probe, "knn": reached.knn},
        "needed": {"probe": needed.probe, "knn": needed.knn},
        "failed": needed.failed_by(probe=reached.probe, knn=reached.knn),
        "taps": dict(trained.taps),
    }


def _shipped(chosen: Chosen) -> probe.TunedSetting:
    return chosen.probes[chosen.source.shipped].choice


@dataclass(frozen=True, slots=True)
class Twins:
    """Facts that an encoder and its untrained controls have in common.

    Parameters
    ----------
    method, architecture, normalisation
        Method, architecture and normalisation, as in the encoder's spec.
    patch_gain
        Factor on the initial patch embedding; None for the method's own.
    """

    method: str
    architecture: Architecture
    normalisation: str
    patch_gain: float | None = None

    @classmethod
    def of(cls, encoder: Encoder) -> Twins:
        """Read them from an encoder and the header of its file."""
        spec = encoder.spec
        header = {} if spec.path is None else read_header(spec.path)
        gain = starting_gain(header)
        return cls(spec.method, spec.architecture, spec.normalisation, gain)

    def draw(self, seed: int) -> TappedNetwork:
        """Build the untrained control of a seed; torch's global generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = untrained_network(self.method, self.architecture, patch_gain=self.patch_gain)
        return TappedNetwork(network.eval(), self.normalisation)


@cache
def _measure_untrained(twins: Twins, seed: int, domain: str) -> Measurement:
    return measure(review(twins.draw(seed), domain), _test(domain))


@cache
def _measure_baseline(name: str, domain: str) -> Measurement:
    return measure(review(Plain(BASELINES[name]), domain), _test(domain))


def _tuning(domain: str) -> ProbeData:
    return ProbeData.simulate(domain, train=COUNTS["train"], validation=COUNTS["validation"])


def _test(domain: str) -> ProbeSet:
    return simulate_probe_set(domain, SEEDS["test"], COUNTS["test"])


def check_twins(name: str, runs: Sequence[Path], encoders: Sequence[Encoder]) -> Twins:
    """Return what the runs have in common; refuse them if that is too little, or if they saw these images."""
    for run in runs:
        header = read_header(run)
        check_images(name, domain_of(name), read_provenance(name, header))
    first, *others = [Twins.of(encoder) for encoder in encoders]
    for other in others:
        if other != first:
            raise InvalidOptionError(
                f"Expected runs of one recipe; got {first.method} ({first.architecture.summary}) and "
                f"{other.method} ({other.architecture.summary}). Judge them under names of their own."
            )
    return first
