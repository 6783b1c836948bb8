"""An encoder ready to run: a method's network with weights, preprocessing, device and precision."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from threading import get_ident
from typing import Literal, Self, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sslmaps.core.preprocess import normalise
from napari_sslmaps.encoders.checkpoint.report import RecognitionReport
from napari_sslmaps.encoders.families.extractor import AttentionExtractor, FeatureExtractor, TileFeatures
from napari_sslmaps.encoders.families.taps import AttentionTap
from napari_sslmaps.encoders.spec import Architecture, Block, EncoderSpec
from napari_sslmaps.encoders.transfers import Transfers
from napari_sslmaps.errors import InvalidOptionError, MapUnavailableError

Result = TypeVar("Result")
Precision = Literal["float32", "bfloat16", "float16"]
_WIDE = 384
"""Channels from which half precision is worth its rounding: below, tiles take too little time."""
_SAME = 0.999


@dataclass(frozen=True, eq=False, slots=True)
class Encoder:
    """A method's network with weights and preprocessing, on a device.

    Parameters
    ----------
    spec
        Entry of the encoder in the list.
    report
        Report on how its weight file was recognised.
    extractor
        The network, wrapped by its family.
    device
        Device that it runs on, for example ``cpu`` or ``cuda:0``.
    precision
        Precision: ``float32``, ``bfloat16`` or ``float16``; ``float32`` repeats bit for bit on one machine.
    """

    spec: EncoderSpec
    report: RecognitionReport
    extractor: FeatureExtractor
    device: str
    precision: Precision

    def encode(self, tiles: NDArray[np.float32]) -> TileFeatures:
        """Compute the features of a batch of tiles.

        Parameters
        ----------
        tiles
            (B, H, W, 3) float32 in [0, 1]; sides as `spec.constraint` asks.

        Returns
        -------
        TileFeatures
            Features as float32 tensors on the CPU.
        """
        return self.encode_at(tiles, [self.spec.architecture])[0]

    def encode_at(self, tiles: NDArray[np.float32], depths: Sequence[Architecture]) -> list[TileFeatures]:
        """Compute the features of several depths of a batch of tiles, in one pass.

        Parameters
        ----------
        tiles
            Tiles as `encode` takes them.
        depths
            Architectures of this network, which differ in where its tokens are taken.
        """
        return [
            TileFeatures(
                features.tokens.float().cpu(),
                _to_cpu(features.attention),
                _to_cpu(features.prefix_attention),
                _to_cpu(features.activation),
            )
            for features in self.features_at(torch.from_numpy(tiles).to(self.device), depths)
        ]

    def features_at(self, tiles: Tensor, depths: Sequence[Architecture]) -> list[TileFeatures]:
        """Compute the features of several depths of a batch that is on the device, and leave them there.

        Parameters
        ----------
        tiles
            (B, H, W, 3) float32 in [0, 1], on the encoder's device; sides as `spec.constraint` asks.
        depths
            Architectures as `encode_at` takes them; the encoder's own if none are given.
        """
        with self._computing():
            return self.extractor.extract_at(prepare(tiles, self.spec), depths or [self.spec.architecture])

    def transfers(self) -> Transfers | None:
        """Return what copies to and from the device beside the computing; None where nothing can."""
        return Transfers(self.device) if self.device.startswith("cuda") else None

    @property
    def token_block(self) -> str:
        """Name of the block or stage whose features the tokens are; empty for the encoder's own."""
        place, own = self.spec.architecture.token_place, self.report.architecture.token_place
        return "" if place == own else self.spec.architecture.token_places[place]

    def at_block(self, block: Block | None, *, norm: bool = True) -> Self:
        """Return the same encoder with tokens of another block or stage.

        Parameters
        ----------
        block
            Index of the block from 0, the first, or from −1, the last; of a network of stages also the name
            of one. The present one, if None.
        norm
            Whether tokens pass the encoder's final norm, where it has one.

        Raises
        ------
        InvalidOptionError
            If there is no such block.

        Examples
        --------
        >>> import napari_sslmaps as ssl
        >>> encoder = ssl.load_encoder("mae-histology", device="cpu", precision="float32")
        >>> encoder.at_block(1).spec.architecture.token_place
        1
        """
        spec = self.spec.at_block(block, norm=norm)
        return self if spec is self.spec else replace(self, spec=spec)

    @property
    def blocks(self) -> AttentionExtractor:
        """The transformer, whose blocks can be tapped.

        Raises
        ------
        MapUnavailableError
            If it is a CNN.
        """
        if not isinstance(self.extractor, AttentionExtractor):
            raise MapUnavailableError(
                f"Expected a transformer for attention; {self.spec.name} is a CNN, which has none. Use "
                "activation_map on its embedding."
            )
        return self.extractor

    def attend(
        self,
        tiles: NDArray[np.float32],
        blocks: Sequence[int],
        read: Callable[[Sequence[AttentionTap]], Result],
    ) -> Result:
        """Run a batch of tiles through a transformer for the attention of some of its blocks.

        Parameters
        ----------
        tiles
            Tiles as `encode` takes them.
        blocks
            Indices of the blocks, from 0.
        read
            Function that makes what is wanted of the blocks' taps, on the encoder's device and in its
            precision.

        Raises
        ------
        MapUnavailableError
            If it is a CNN.
        """
        extractor = self.blocks
        with self._computing():
            pixels = prepare(torch.from_numpy(tiles).to(self.device), self.spec)
            return read(extractor.tap(pixels, blocks))

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with torch.inference_mode(), exact_arithmetic(), _autocast(self.device, self.precision):
            yield


def prepare(pixels: Tensor, spec: EncoderSpec) -> Tensor:
    """Turn (B, H, W, 3) pixels in [0, 1] into what a network takes: (B, C, H, W), normalised.

    Where it takes one channel, that is the mean of the three, which in a grey image is each of them.
    """
    if spec.architecture.channels == 1:
        first = pixels[..., :1]
        pixels = first + (pixels - first).mean(dim=-1, keepdim=True)
    return normalise(pixels, *spec.statistics)


def _to_cpu(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.float().cpu()


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Keep float32 convolutions on CUDA exact and repeatable: no TF32, no autotuned algorithm."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


@contextmanager
def checked_at_each_layer(check: Callable[[], None]) -> Iterator[None]:
    """Call `check` before each layer of a network that this thread runs; it may raise to stop."""
    here = get_ident()

    def before(_module: torch.nn.Module, _inputs: object) -> None:
        if get_ident() == here:
            check()

    handle = torch.nn.modules.module.register_module_forward_pre_hook(before)
    try:
        yield
    finally:
        handle.remove()


def _autocast(device: str, precision: Precision) -> torch.autocast | nullcontext[None]:
    if precision == "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=getattr(torch, precision))


def resolve_device(device: str | torch.device) -> str:
    """Turn ``auto`` into the best device there is, and check any other name.

    Raises
    ------
    InvalidOptionError
        If the device is not here.
    """
    device = str(device) if isinstance(device, torch.device) else device
    if device == "auto":
        if torch.cuda.is_available():
            return "cuda:0"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    kind, _, index = device.partition(":") if isinstance(device, str) else ("", "", "")
    too_high = kind == "cuda" and index.isdigit() and int(index) >= torch.cuda.device_count()
    if not here.get(kind, False) or too_high or (index and not index.isdigit()):
        found = ", ".join(name for name, present in here.items() if present)
        raise InvalidOptionError(f"Expected a device that is here (auto, {found}); got {device!r}.")
    return device


def choose_precision(make: Callable[[Precision], Encoder], device: str, precision: str) -> Precision:
    """Resolve a precision: ``auto`` takes the half precision that the device is built for, if tokens allow.

    Nothing is timed: every process of one machine resolves it alike.

    Parameters
    ----------
    make
        Function that builds the encoder with a precision.
    device
        Device that it runs on.
    precision
        ``auto`` or one of `Precision`.
    """
    if precision in get_args(Precision):
        return precision  # type: ignore[return-value]  # narrowed by the test above
    if precision != "auto":
        raise InvalidOptionError(
            f"Expected a precision among auto, {', '.join(get_args(Precision))}; got {precision!r}."
        )
    half = half_of(device)
    exact = make("float32")
    if half is None or exact.spec.architecture.token_width < _WIDE:
        return "float32"
    cosine = torch.nn.functional.cosine_similarity(_probe(exact), _probe(make(half)), dim=-1).mean()
    return half if cosine > _SAME else "float32"


def half_of(device: str) -> Precision | None:
    """Return the half precision that a device multiplies faster by design; None where it has none.

    Of a processor this is bfloat16 where Linux lists ``amx_bf16`` or ``avx512_bf16``; of a CUDA GPU bfloat16
    from compute capability 8.0, float16 from 7.0. MPS keeps float32.
    """
    if device == "cpu":
        return "bfloat16" if _processor_flags() & {"amx_bf16", "avx512_bf16"} else None
    if device.startswith("cuda"):
        major, _ = torch.cuda.get_device_capability(device)
        return "bfloat16" if major >= 8 else "float16" if major == 7 else None
    return None


@cache
def _processor_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return frozenset()
    return next((frozenset(line.split()) for line in lines if line.startswith("flags")), frozenset())


def _probe(encoder: Encoder) -> Tensor:
    """Return the tokens of one tile of noise."""
    constraint = encoder.spec.constraint
    side = -(-16 * constraint.token_stride // constraint.size_multiple) * constraint.size_multiple
    tile = np.random.default_rng(0).random((1, side, side, 3), dtype=np.float32)
    return encoder.encode(tile).tokens
