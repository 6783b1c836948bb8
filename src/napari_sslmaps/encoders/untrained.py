"""Untrained weights: what pretraining begins with, the drawn controls, and the twin of any encoder."""

import hashlib
from dataclasses import replace

import torch
from torch import nn

from napari_sslmaps.encoders.catalog import CONTROLS, weights_path
from napari_sslmaps.encoders.checkpoint.read import Checkpoint
from napari_sslmaps.encoders.checkpoint.report import RecognitionReport
from napari_sslmaps.encoders.controls import twin_name
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.families.registry import FAMILIES, network_of
from napari_sslmaps.encoders.header import read_header, starting_gain
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.recognition import Inference
from napari_sslmaps.encoders.spec import Architecture, EncoderSpec, get_normalisation
from napari_sslmaps.errors import InvalidOptionError


def untrained_network(
    method: str, architecture: Architecture, *, patch_gain: float | None = None
) -> nn.Module:
    """Build a network with the weights its method starts from.

    MAE and I-JEPA: Xavier-uniform linear layers and fixed sine-cosine positions (arXiv 2111.06377). DINO,
    DINOv2, DINOv3: timm's truncated normal, and layer scales, where there are any, of 0.1, as CaiT has for
    shallow networks (arXiv 2103.17239). DiRA: timm's ResNet and PyTorch's convolutions.

    Parameters
    ----------
    method
        Method whose start is drawn; a key of `METHODS`.
    architecture
        Shape of the network.
    patch_gain
        Factor on the patch embedding's weights; without it 4 where positions are added, MAE and I-JEPA, so
        that content outweighs them from the start (I-JEPA's targets are told by their places alone
        otherwise, and MAE's neighbours come from the same place of other images); 1 for the others.

    Returns
    -------
    Module
        Network of the architecture's family, in training mode, drawn from torch's global generator.

    Raises
    ------
    InvalidOptionError
        If method and architecture do not go together.
    """
    training = METHODS[method]
    if architecture.kind not in training.families:
        wanted = " or ".join(FAMILIES[kind].title for kind in training.families)
        raise InvalidOptionError(f"Expected {wanted} for {method}; got {architecture.summary}.")
    family = network_of(architecture)
    network = family.build(architecture)
    family.start(network, architecture, training, patch_gain)
    return network


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
        Corrections: another head count, normalisation or token stage.
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
    architecture = spec.architecture.corrected(num_heads=wanted.num_heads, token_stage=wanted.token_stage)
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


def untrained_twin(encoder: Encoder) -> Encoder:
    """Return an encoder of the same architecture with the weights its method's training starts from.

    Of an embedded encoder it is the control that the catalog lists; of any other, the user's own or a
    published one, it is drawn the same way, from the same seed.

    Parameters
    ----------
    encoder
        Loaded encoder; its twin gets the same preprocessing, device and precision.

    Returns
    -------
    Encoder
        Encoder whose `spec` has origin ``control``, a name that ends in ``-untrained`` and the hash of the
        drawn weights.

    Raises
    ------
    InvalidOptionError
        If the encoder is itself untrained.
    """
    spec = encoder.spec
    if spec.origin == "control":
        raise InvalidOptionError(f"Expected a trained encoder; {spec.name} is itself an untrained control.")
    name = twin_name(spec.name)
    plain = replace(spec, origin="control", path=None, domain="", alias_of="", overrides={}, trouble="")
    bare = replace(plain, name=name, architecture=encoder.report.architecture)
    checkpoint = draw_control(bare, patch_gain=_recorded_gain(name))
    drawn = replace(bare, sha256=hash_weights(checkpoint.network))
    network = checkpoint.network.to(encoder.device)
    extractor = network_of(drawn.architecture).extractor(network)
    twin = Encoder(drawn, checkpoint.report, extractor, encoder.device, encoder.precision)
    return twin.at_block(encoder.token_block or None, norm=spec.architecture.token_norm)


def _recorded_gain(name: str) -> float | None:
    """Return what a listed twin's training multiplied the patch embedding by; None for the method's own."""
    trained = CONTROLS.get(name)
    return None if trained is None else starting_gain(read_header(weights_path(trained)))
