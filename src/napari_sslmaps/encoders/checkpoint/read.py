"""A weight file → a network with every weight in place, and the report of how it was recognised."""

from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from napari_sslmaps.encoders.checkpoint.identify import Recognised, identify
from napari_sslmaps.encoders.checkpoint.network import build_network
from napari_sslmaps.encoders.checkpoint.open import open_weights
from napari_sslmaps.encoders.checkpoint.report import RecognitionReport, describe_pretext_heads
from napari_sslmaps.encoders.checkpoint.transformers import translate_transformers
from napari_sslmaps.encoders.checkpoint.transformers_names import preprocessor_facts
from napari_sslmaps.encoders.checkpoint.translate import translate
from napari_sslmaps.encoders.checkpoint.unwrap import networks, pick
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.recognition import PretextHeads, Translated, Unwrapped


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
        A weight file, or a folder of one; see `open_weights`.
    overrides
        Corrections by the user, who may know better than the file.

    Returns
    -------
    Checkpoint
        Network in evaluation mode, float32, on the CPU; every key of the file is in it or in the report.

    Raises
    ------
    WeightsUnavailableError, CheckpointError, InvalidOptionError
        If the file is missing, damaged, unsafe, not recognised, incomplete, or an override does not fit.
    """
    file, translated, recognised = _recognise(path, overrides or Overrides())
    network = build_network(recognised.architecture, translated, path.name, mapped=file.mapped)
    return Checkpoint(network, _report(path, translated, recognised), _licence(file, translated))


def _licence(file: Unwrapped, translated: Translated) -> str:
    """Return what the file or what lies beside it says of its licence; empty if nothing does."""
    fact = translated.facts.get("licence")
    return str(file.header.get("licence", "" if fact is None else fact.value))


def inspect_checkpoint(path: Path, overrides: Overrides | None = None) -> RecognitionReport:
    """Say what a file would be loaded as, without building the network; raises as `read_checkpoint`."""
    _, translated, recognised = _recognise(path, overrides or Overrides())
    return _report(path, translated, recognised)


def read_pretext_heads(path: Path, overrides: Overrides | None = None) -> PretextHeads:
    """Read what a file's pretext task needs beside the encoder; raises as `read_checkpoint`.

    What the encoder is, is not asked: that takes longer than reading.
    """
    return _translate(path, overrides or Overrides())[1].pretext_heads


def _recognise(path: Path, overrides: Overrides) -> tuple[Unwrapped, Translated, Recognised]:
    file, translated = _translate(path, overrides)
    return file, translated, identify(file, translated, overrides, path.name)


def _translate(path: Path, overrides: Overrides) -> tuple[Unwrapped, Translated]:
    opened = open_weights(path)
    if opened.config is not None and "model_type" in opened.config and not networks(opened.tensors):
        file = Unwrapped(opened.tensors, header=opened.header, mapped=opened.mapped)
        translated = translate_transformers(opened.config, opened.preprocessor, opened.tensors)
    else:
        file = pick(opened, path.name, overrides.branch)
        translated = translate(file, path.name)
        statistics = preprocessor_facts(opened.preprocessor)
        translated = replace(translated, facts=statistics | dict(translated.facts))
    return file, translated


def _report(path: Path, translated: Translated, recognised: Recognised) -> RecognitionReport:
    return RecognitionReport(
        path=str(path),
        layout=translated.layout,
        method=recognised.method.name,
        architecture=recognised.architecture,
        normalisation=recognised.normalisation,
        inferred=recognised.inferred,
        left_out=translated.left_out,
        ambiguous=recognised.warnings,
        companions=describe_pretext_heads(translated.pretext_heads),
    )
