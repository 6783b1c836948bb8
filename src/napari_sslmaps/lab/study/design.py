"""The plan of a study: what is trained, on how much, and what is asked of it; fixed beforehand."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.files import read_text, user_path
from napari_sslmaps.lab.simulators.scenes import DOMAINS
from napari_sslmaps.lab.toml_tables import to_toml

METHODS = ("ijepa", "dinov3", "mae", "dira")
CONTRASTED = ("ijepa", "dinov3")


def _check_among(what: str, given: Any, known: tuple[str, ...]) -> None:
    if unknown := [name for name in given if name not in known]:
        raise InvalidOptionError(
            f"Expected {what} among {', '.join(known)}; got {', '.join(map(str, unknown))}."
        )


@dataclass(frozen=True, slots=True)
class Design:
    """Everything that decides the outcome of a study.

    Attributes
    ----------
    name
        Name of the study on its page.
    domains, methods
        Domains that are simulated, and methods that are trained; the contrast needs I-JEPA and DINOv3.
    seeds
        Trainings of each method in each domain: seeds 0, 1, ….
    minutes
        Processor minutes of all trainings together; every training gets the same share. On a GPU, wall-clock.
    steps
        Steps of each method; measured from `minutes` when a study begins, and kept from then on.
    localities, noises
        The two knobs' values at which encoders are probed. Training scenes have noise from the whole range.
    train_images, probe_images, test_images
        Scenes for pretraining, for fitting a probe, and for testing it, in each domain.
    dim, depth, heads
        Shape of the transformers; patch 8 on 64 pixels. The U-Net has `dim` channels where its tokens are.
    resamples
        Number of bootstrap draws.
    """

    name: str
    domains: tuple[str, ...] = DOMAINS
    methods: tuple[str, ...] = METHODS
    seeds: int = 3
    minutes: float = 28.0
    steps: Mapping[str, int] = field(default_factory=dict)
    localities: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    noises: tuple[float, ...] = (0.0, 0.25, 0.5)
    train_images: int = 6000
    probe_images: int = 800
    test_images: int = 800
    dim: int = 64
    depth: int = 2
    heads: int = 2
    resamples: int = 2000

    def __post_init__(self) -> None:
        _check_among("domains", self.domains, DOMAINS)
        _check_among("methods", self.methods, METHODS)
        _check_among("methods with steps", self.steps, METHODS)
        for name in ("localities", "noises"):
            values = getattr(self, name)
            if not values or list(values) != sorted(set(values)) or min(values) < 0 or max(values) > 1:
                raise InvalidOptionError(f"Expected {name} rising within [0, 1]; got {values}.")
        for name in (
            "seeds",
            "train_images",
            "probe_images",
            "test_images",
            "dim",
            "depth",
            "heads",
            "resamples",
        ):
            if getattr(self, name) < 1:
                raise InvalidOptionError(f"Expected {name} of at least 1; got {getattr(self, name)}.")
        if self.minutes <= 0:
            raise InvalidOptionError(f"Expected minutes above 0; got {self.minutes}.")

    @property
    def trainings(self) -> list[tuple[str, int, str]]:
        """(domain, seed, method) of each training, the two methods of the contrast first."""
        every = product(self.domains, range(self.seeds), self.methods)
        return sorted(every, key=lambda training: training[2] not in CONTRASTED)

    @property
    def seconds(self) -> float:
        """Processor seconds of one training."""
        return 60 * self.minutes / len(self.trainings)


_BUILT_IN: Mapping[str, Design] = {
    "quick": Design("quick", domains=("ultrasound", "histology")),
    "decisive": Design(
        "decisive",
        seeds=24,
        minutes=5760.0,
        train_images=50_000,
        probe_images=2000,
        test_images=4000,
        dim=96,
        depth=3,
        heads=3,
    ),
}


def find_design(wanted: str, minutes: float | None = None) -> Design:
    """Return a built-in design by name, or read one from a TOML file.

    Parameters
    ----------
    wanted
        Design: ``quick``, ``decisive``, or the path of a ``.toml`` file with `Design`'s fields.
    minutes
        Minutes of each training; those of the design if omitted.

    Raises
    ------
    InvalidOptionError
        If there is no such design or a field of it is wrong.
    """
    if wanted in _BUILT_IN:
        design = _BUILT_IN[wanted]
    elif wanted.endswith(".toml"):
        design = _read_toml(user_path(wanted))
    else:
        names = ", ".join(_BUILT_IN)
        raise InvalidOptionError(f"Expected a design among {names}, or a .toml file; got {wanted!r}.")
    return design if minutes is None else replace(design, minutes=minutes)


def design_to_dict(design: Design) -> dict[str, Any]:
    """Return a description ready for JSON and TOML; `design_from_dict` reads it back."""
    return {**asdict(design), "steps": dict(design.steps)}


def design_to_toml(design: Design) -> str:
    """Return the design as a file that `find_design` reads."""
    return to_toml(design_to_dict(design))


def design_from_dict(values: Mapping[str, Any], *, source: str = "the design") -> Design:
    """Rebuild a design, or raise `InvalidOptionError` naming the fields that are wrong."""
    known = {item.name for item in fields(Design)}
    if unknown := sorted(set(values) - known):
        raise InvalidOptionError(
            f"Expected fields among {', '.join(sorted(known))} in {source}; got {', '.join(unknown)}."
        )
    plain: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    try:
        return Design(**plain)
    except TypeError as error:
        raise InvalidOptionError(f"Expected values of the right type in {source}: {error}.") from error


def _read_toml(path: Path) -> Design:
    try:
        values = tomllib.loads(read_text(path))
    except OSError as error:
        raise InvalidOptionError(
            f"Expected a design in {path}; it cannot be read: {error.strerror}."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidOptionError(f"Expected TOML in {path}; {error}.") from error
    return design_from_dict({"name": path.stem, **values}, source=str(path))
