"""A weight file → a network with every weight in place, and the report of how it was recognised."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from napari_sslmaps.encoders.checkpoint.identify import Identity, identify
from napari_sslmaps.encoders.checkpoint.layouts import translate
from napari_sslmaps.encoders.checkpoint.report import RecognitionReport
from napari_sslmaps.encoders.checkpoint.translated import Companions, Translated
from napari_sslmaps.encoders.checkpoint.unwrap import Unwrapped, unwrap
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.spec import UNetArchitecture
from napari_sslmaps.encoders.unet import build_unet
from napari_sslmaps.encoders.vit import build_vit
from napari_sslmaps.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded network, its report, and this package's own metadata if the file has it."""

    network: nn.Module
    report: RecognitionReport
    licence: str


def read_checkpoint(path: Path, overrides: Overrides | None = None) -> Checkpoint:
    """Build the network a file holds and load its weights.

    Parameters
    ----------
    path
        A safetensors or PyTorch file.
    overrides
        What the user knows better than the file.

    Returns
    -------
    Checkpoint
        Network in evaluation mode, float32, on the CPU; every key of the file is in it or in the report.

    Raises
    ------
    WeightsUnavailableError, CheckpointError, InvalidOptionError
        If the file is missing, damaged, unsafe, not recognised, incomplete, or an override does not fit.
    """
    file, translated, identity = _recognise(path, overrides or Overrides())
    architecture = identity.architecture
    network: nn.Module = (
        build_unet(architecture) if isinstance(architecture, UNetArchitecture) else build_vit(architecture)
    )
    _load(network, translated, path.name)
    return Checkpoint(
        network.eval().requires_grad_(requires_grad=False),
        _report(path, translated, identity),
        str(file.header.get("licence", "")),
    )


def inspect_checkpoint(path: Path, overrides: Overrides | None = None) -> RecognitionReport:
    """Say what a file would be loaded as, without building the network; raises as `read_checkpoint`."""
    _, translated, identity = _recognise(path, overrides or Overrides())
    return _report(path, translated, identity)


def read_companions(path: Path, overrides: Overrides | None = None) -> Companions:
    """Read what a file's pretext task needs beside the encoder; raises as `read_checkpoint`."""
    return _recognise(path, overrides or Overrides())[1].companions


def _recognise(path: Path, overrides: Overrides) -> tuple[Unwrapped, Translated, Identity]:
    file = unwrap(path, overrides.branch or "target")
    translated = translate(file, path.name)
    return file, translated, identify(file, translated, overrides, path.name)


def _report(path: Path, translated: Translated, identity: Identity) -> RecognitionReport:
    return RecognitionReport(
        path=str(path),
        layout=translated.layout,
        method=identity.method,
        architecture=identity.architecture,
        normalisation=identity.normalisation,
        inferred=identity.inferred,
        left_out=translated.left_out,
        ambiguous=identity.ambiguous,
    )


def _load(network: nn.Module, translated: Translated, name: str) -> None:
    state = _with_counters(network, translated.state)
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    faults = [f"missing {key}" for key in expected.keys() - found.keys()]
    faults += [f"not known {key}" for key in found.keys() - expected.keys()]
    faults += [
        f"{key} of shape {found[key]} instead of {expected[key]}"
        for key in expected.keys() & found.keys()
        if expected[key] != found[key]
    ]
    if faults:
        listed = "; ".join(sorted(faults)[:12])
        raise CheckpointError(
            f"The weights in {name} do not fit the network they describe, in {len(faults)} "
            f"keys: {listed}{'; …' if len(faults) > 12 else ''}."
        )
    network.load_state_dict(state)
    for key, value in translated.buffers.items():
        buffer = network.get_buffer(key)
        if buffer.shape != value.shape:
            raise CheckpointError(
                f"{name} has {key} of shape {tuple(value.shape)}; the network needs {tuple(buffer.shape)}."
            )
        buffer.copy_(value)


def _with_counters(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take BatchNorm's step counters from the new network where the file leaves them out."""
    counters = {
        key: value for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")
    }
    return counters | dict(state)
