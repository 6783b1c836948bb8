"""Untrained twins of the embedded encoders: their weights are drawn anew each time, always the same."""

import hashlib
from dataclasses import replace
from typing import cast

import torch
from torch import nn

from napari_sslmaps.encoders.checkpoint import Checkpoint, RecognitionReport
from napari_sslmaps.encoders.checkpoint.report import Inference
from napari_sslmaps.encoders.initial import untrained_network
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.spec import (
    Architecture,
    EncoderSpec,
    UNetArchitecture,
    ViTArchitecture,
    get_normalisation,
)
from napari_sslmaps.errors import InvalidOptionError

SEED = 0


def draw_control(
    spec: EncoderSpec, overrides: Overrides | None = None, *, patch_gain: float | None = None
) -> Checkpoint:
    """Build a control, its weights drawn from a fixed seed by the code that pretraining starts with.

    Parameters
    ----------
    spec
        A spec of origin ``control``.
    overrides
        Another head count, normalisation or token stage.
    patch_gain
        Factor on the patch embedding that the twin's training started with; None for the method's own.

    Returns
    -------
    Checkpoint
        Network in evaluation mode, float32, on the CPU. Equal bit for bit from call to call with one version
        of torch on one kind of processor; the global random generator is left as it was.

    Raises
    ------
    InvalidOptionError
        If an override does not fit.
    """
    wanted = overrides or Overrides()
    if wanted.method not in {None, spec.method}:
        raise InvalidOptionError(f"Expected the method {spec.method} for {spec.name}; got {wanted.method!r}.")
    normalisation = get_normalisation(wanted.normalisation or spec.normalisation).name
    architecture = overridden(spec.architecture, wanted)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        network = untrained_network(spec.method, architecture, patch_gain=patch_gain)
    report = RecognitionReport(
        path=spec.name,
        layout="none; untrained weights, drawn",
        method=spec.method,
        architecture=architecture,
        normalisation=normalisation,
        inferred=(Inference("weights", f"seed {SEED}", "the weights its method starts from"),),
        left_out={},
        ambiguous=(),
    )
    return Checkpoint(network.eval().requires_grad_(requires_grad=False), report, spec.licence)


def hash_weights(network: nn.Module) -> str:
    """Return the SHA-256, as hexadecimal, of a network's tensors with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def overridden(architecture: Architecture, wanted: Overrides) -> Architecture:
    """Return an architecture with the head count or token stage that is wanted instead of its own.

    Raises
    ------
    InvalidOptionError
        If they do not fit.
    """
    if isinstance(architecture, UNetArchitecture):
        return replace(architecture, token_stage=wanted.token_stage or architecture.token_stage)
    shape = cast("ViTArchitecture", architecture)
    heads = wanted.num_heads or shape.heads
    if heads < 1 or shape.dim % heads:
        raise InvalidOptionError(
            f"Expected a number of heads that divides the width {shape.dim}; got {heads}."
        )
    return replace(shape, heads=heads)
