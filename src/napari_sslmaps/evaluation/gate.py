"""The gate of the embedded encoders: each is judged once on test images, beside its controls.

`judge` is the only function that looks at the test split. What it finds is on disk before it returns, weights
that have been judged are not judged again, and results of earlier weights stay on record: nobody can try
until a number pleases without everybody seeing it. Tuning is done by `napari_sslmaps.evaluation.probe.score`
or `review`, which see training and validation images only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.initial import untrained_network
from napari_sslmaps.encoders.registry import hash_file, load_encoder
from napari_sslmaps.encoders.spec import Architecture, Method
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation import images, probe, tally, verdict
from napari_sslmaps.evaluation.controls import BASELINES
from napari_sslmaps.evaluation.features import TappedNetwork
from napari_sslmaps.evaluation.images import SEEDS, ProbeData, ProbeSet, simulate_probe_set
from napari_sslmaps.evaluation.measure import Chosen, Measurement, Plain, Source, choose, measure
from napari_sslmaps.evaluation.report import compose
from napari_sslmaps.evaluation.results import Book
from napari_sslmaps.simulators import get_simulator

CONTROL_SEEDS = (0, 1, 2, 3, 4)
COUNTS: Mapping[str, int] = {"train": 60, "validation": 60, "test": 200}

PROTOCOL: Mapping[str, Any] = {
    "version": 1,
    "images": dict(COUNTS),
    "seeds": dict(SEEDS),
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
"""Everything that decides a score, beside the simulators; written with every result."""


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
        Where results are kept. Weights in it are not judged again.
    date
        Today, as ISO 8601.

    Returns
    -------
    Mapping
        The result as it was written.
    """
    hashes = [hash_file(run) for run in runs]
    if book.knows(name, hashes, PROTOCOL):
        return book[name]
    domain = domain_of(name)
    encoders = [load_encoder(run, device="cpu", precision="float32") for run in runs]
    spec = encoders[0].spec
    _check_alike(encoders)
    chosen = [review(TappedNetwork.of(encoder), domain) for encoder in encoders]
    kind = (spec.method, spec.architecture, spec.normalisation)
    result = compose(
        trained={
            digest: measure(choice, _test(domain)) for digest, choice in zip(hashes, chosen, strict=True)
        },
        untrained=[_measure_untrained(*kind, seed, domain) for seed in CONTROL_SEEDS],
        baselines={baseline: _measure_baseline(baseline, domain) for baseline in BASELINES},
        test=_test(domain),
    )
    facts = {
        "method": spec.method,
        "domain": domain,
        "sha256": hashes[0],
        "bytes": runs[0].stat().st_size,
        "date": date,
        "protocol": PROTOCOL,
    }
    book.write(name, {**facts, **result})
    return book[name]


def review(source: Source, domain: str) -> Chosen:
    """Choose everything for a source on validation images; the test split stays untouched.

    ``review(...).probes[tap].choice`` has the scores of a tap, ``.taps`` the probe of every tap.
    """
    return choose(source, _tuning(domain))


def untrained_source(method: Method, architecture: Architecture, normalisation: str, seed: int) -> Source:
    """Build the untrained control of an encoder from one of the seeds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = untrained_network(method, architecture).eval()
    return TappedNetwork(network, normalisation)


@cache
def _measure_untrained(
    method: Method, architecture: Architecture, normalisation: str, seed: int, domain: str
) -> Measurement:
    source = untrained_source(method, architecture, normalisation, seed)
    return measure(review(source, domain), _test(domain))


@cache
def _measure_baseline(name: str, domain: str) -> Measurement:
    return measure(review(Plain(BASELINES[name]), domain), _test(domain))


def _tuning(domain: str) -> ProbeData:
    return ProbeData.simulate(domain, train=COUNTS["train"], validation=COUNTS["validation"])


def _test(domain: str) -> ProbeSet:
    return simulate_probe_set(domain, SEEDS["test"], COUNTS["test"])


def _check_alike(encoders: Sequence[Encoder]) -> None:
    """Refuse runs that are not repetitions of the first one."""
    first, *others = [
        (encoder.spec.method, encoder.spec.architecture, encoder.spec.normalisation) for encoder in encoders
    ]
    for other in others:
        if other != first:
            raise InvalidOptionError(
                f"Expected runs of one recipe; got {first[0]} ({first[1].summary}) and {other[0]} "
                f"({other[1].summary}). Judge them under names of their own."
            )
