"""A method and a family that the package does not have, registered for a test."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import pytest
import torch
from torch import Tensor, nn

from napari_sslmaps.encoders.families import registry as families
from napari_sslmaps.encoders.families.extractor import TileFeatures
from napari_sslmaps.encoders.families.family import Case, Family, Network, prefixes_of
from napari_sslmaps.encoders.methods import registry as methods
from napari_sslmaps.encoders.methods.method import INVARIANCE, Method
from napari_sslmaps.encoders.spec import Architecture, Block, InputConstraint, place_of
from napari_sslmaps.pretext.mae import reconstruction_view

MARK = "stem.weight"


@dataclass(frozen=True, slots=True)
class StripesArchitecture:
    """Shape of a network of two convolutions, tokens of the first or the second."""

    width: int
    token_stage: str = "second"  # noqa: S105  # a stage, no password

    kind = "stripes"
    attention_blocks = attention_heads = stored_side = 0
    channels = 3
    square_tiles = False
    token_places, token_norm = ("first", "second"), True

    @property
    def token_place(self) -> int:
        return self.token_places.index(self.token_stage)

    def at_block(self, block: Block, *, norm: bool = True) -> Self:
        del norm
        return replace(self, token_stage=self.token_places[place_of(block, self.token_places, "stripes")])

    @property
    def constraint(self) -> InputConstraint:
        return InputConstraint({"first": 4, "second": 8}[self.token_stage], 8)

    @property
    def summary(self) -> str:
        return f"stripes of {self.width}"

    @property
    def token_width(self) -> int:
        return self.width

    def work(self, rows: int, cols: int) -> float:
        return float(3 * rows * cols)

    def corrected(self, *, token_stage: str | None = None, **_: Any) -> Self:
        return replace(self, token_stage=token_stage or self.token_stage)


class Stripes(nn.Module):
    def __init__(self, architecture: StripesArchitecture) -> None:
        super().__init__()
        self.token_stage = architecture.token_stage
        self.stem = nn.Conv2d(3, architecture.width, 4, stride=4)
        self.deep = nn.Conv2d(architecture.width, architecture.width, 2, stride=2)

    def stages(self, pixels: Tensor, *names: str) -> list[Tensor]:
        first = self.stem(pixels)
        known = {"first": first, "second": self.deep(first.relu())}
        return [known[name] for name in names]


class StripesExtractor:
    attention_kind = None

    def __init__(self, network: Stripes) -> None:
        self.network = network

    def extract(self, pixels: Tensor) -> TileFeatures:
        return self._features(pixels, self.network.token_stage)[0]

    def extract_at(self, pixels: Tensor, depths: Sequence[StripesArchitecture]) -> list[TileFeatures]:
        return self._features(pixels, *(depth.token_stage for depth in depths))

    def _features(self, pixels: Tensor, *names: str) -> list[TileFeatures]:
        stages = self.network.stages(pixels, *names)
        return [TileFeatures(one.permute(0, 2, 3, 1), activation=one.relu().mean(dim=1)) for one in stages]


def start(network: nn.Module, architecture: Any, method: Method, gain: float | None) -> None:
    for weight in network.parameters():
        nn.init.normal_(weight, std=method.patch_gain if gain is None else gain)


def recognise(case: Case, method: Method, written: Architecture | None) -> Architecture:
    found = written or StripesArchitecture(len(case.translated.state[MARK]))
    return found.corrected(token_stage=case.overrides.token_stage)


def side(_architecture: StripesArchitecture) -> int:
    return 32


def prefixes(names: Iterable[str]) -> set[str]:
    return prefixes_of(names, MARK)


NETWORK = Network(Stripes, StripesExtractor, start, side)
STRIPES = Family(
    kind="stripes",
    title="a stripe network",
    architecture=StripesArchitecture,
    mark=MARK,
    prefixes=prefixes,
    corrections=("token_stage",),
    network="family_kit:NETWORK",
    recognition="family_kit:recognise",
    stages={"first": 4, "second": 8},
)
BYSTANDER = Method(
    name="bystander",
    title="Bystander",
    objective="looks on",
    citation="Nobody, arXiv 0000.00000",
    normalisation="unit",
    eps=1e-3,
    attention_note="whoever passes by",
    learns_from=INVARIANCE,
    families=("vit", "stripes"),
    pretext="family_kit:watch",
    edits="blocks",
    file_holds="nothing else",
)
watch = reconstruction_view


@pytest.fixture
def bystander(monkeypatch: pytest.MonkeyPatch) -> Method:
    """A method that is registered by one line, as METHODS has them."""
    monkeypatch.setitem(methods.METHODS, BYSTANDER.name, BYSTANDER)  # type: ignore[arg-type]  # a dict, read-only to others
    return BYSTANDER


@pytest.fixture
def stripes(monkeypatch: pytest.MonkeyPatch, bystander: Method) -> Family:
    """A family that is registered by one line, as FAMILIES has them."""
    monkeypatch.setitem(families.FAMILIES, STRIPES.kind, STRIPES)  # type: ignore[arg-type]  # as above
    return STRIPES


def stripes_weights(width: int = 8) -> dict[str, Tensor]:
    """Return random weights of a stripe network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return dict(Stripes(StripesArchitecture(width)).state_dict())
