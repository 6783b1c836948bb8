"""The encoders there are, by name, and the way from a name or a path to one that runs."""

import hashlib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sslmaps.encoders.cards import card_of
from napari_sslmaps.encoders.catalog import ALIASES, CONTROLS, METHOD_INFO, NAMES, domain_of
from napari_sslmaps.encoders.header import read_header, starting_gain
from napari_sslmaps.encoders.llvm import load_triton_apart
from napari_sslmaps.encoders.overrides import Branch, Overrides
from napari_sslmaps.encoders.spec import EncoderSpec, Method, architecture_from_dict
from napari_sslmaps.errors import EncoderNotFoundError, WeightsUnavailableError

if TYPE_CHECKING:
    from napari_sslmaps.encoders.checkpoint import Checkpoint
    from napari_sslmaps.encoders.encoder import Encoder
    from napari_sslmaps.encoders.protocol import FeatureExtractor


def list_encoders() -> list[EncoderSpec]:
    """List every encoder that has a name, without importing torch.

    Returns
    -------
    list of EncoderSpec
        Embedded encoders, set by set; untrained controls; aliases. `sha256` is filled in when an encoder is
        loaded.
    """
    return [get_spec(name) for name in NAMES]


def get_spec(name: str) -> EncoderSpec:
    """Return what is known of an encoder, without importing torch.

    Raises
    ------
    EncoderNotFoundError
        If there is none of that name.
    WeightsUnavailableError
        If the installation has lost its weight file.
    """
    if name not in NAMES:
        raise EncoderNotFoundError(
            f"Expected the name of an encoder ({', '.join(NAMES)}) or the path of a weight file; "
            f"got {name!r}."
        )
    alias_of = ALIASES.get(name, "")
    is_control = name in CONTROLS
    path = weights_path(CONTROLS.get(name, name))
    header = read_header(path)
    return EncoderSpec(
        name=name,
        method=header["method"],
        architecture=architecture_from_dict(header["architecture"]),
        normalisation=header["normalisation"],
        path=None if is_control else path,
        sha256="",
        licence=header["licence"],
        origin="control" if is_control else "embedded",
        domain=domain_of(name),
        alias_of=alias_of,
    )


def weights_path(name: str) -> Path:
    """Return an embedded encoder's weight file, or raise `WeightsUnavailableError` if it is lost."""
    path = _weights_folder() / f"{ALIASES.get(name, name)}.safetensors"
    if not path.is_file():
        raise WeightsUnavailableError(
            f"The weight file of {name} is missing from the installation ({path}). "
            "Install napari-sslmaps again."
        )
    return path


def model_card(name: str) -> str:
    """Return the model card, in Markdown, of an encoder that has a name; of an alias, the original's."""
    return card_of(get_spec(name))


def load_encoder(  # noqa: PLR0913  # each keyword is part of the public contract
    name_or_path: str | Path,
    *,
    device: str = "auto",
    precision: str = "auto",
    method: Method | None = None,
    num_heads: int | None = None,
    normalisation: str | None = None,
    token_stage: str | None = None,
    eps: float | None = None,
    branch: Branch | None = None,
) -> "Encoder":
    """Load an encoder by name, or from a weight file.

    Parameters
    ----------
    name_or_path
        A name of `list_encoders`, or the path of a file in timm's names, the official MAE, I-JEPA or DINOv3
        layout, or of a segmentation-models-pytorch U-Net with a ResNet encoder.
    device
        ``auto`` (CUDA, then MPS, then CPU) or a torch device.
    precision
        ``auto`` takes half precision where a short measurement finds it faster and the tokens the same;
        ``float32`` repeats bit for bit on one machine.
    method, num_heads, normalisation, token_stage, eps, branch
        Override what the file tells or leaves open; see `Overrides`.

    Returns
    -------
    Encoder
        On its device, with `spec`, `device`, `precision` and the recognition `report`.

    Raises
    ------
    EncoderNotFoundError
        If there is no such name or file.
    CheckpointError, WeightsUnavailableError
        If a file is damaged, unsafe, incomplete or not recognised.
    InvalidOptionError
        If an option does not fit.
    """
    load_triton_apart()
    from napari_sslmaps.encoders import encoder as running
    from napari_sslmaps.encoders.unet import UNet, UNetExtractor
    from napari_sslmaps.encoders.vit import ViTExtractor

    found = _find(name_or_path)
    resolved = running.resolve_device(device)
    wanted = Overrides(method, num_heads, normalisation, token_stage, eps, branch)
    spec, checkpoint = _open(found, wanted)
    network = checkpoint.network.to(resolved)
    extractor: FeatureExtractor = (
        UNetExtractor(network) if isinstance(network, UNet) else ViTExtractor(network)
    )
    loaded = running.Encoder(spec, checkpoint.report, extractor, resolved, "float32")
    chosen = running.choose_precision(
        lambda candidate: replace(loaded, precision=candidate), resolved, precision
    )
    return replace(loaded, precision=chosen)


def hash_encoder(name: str) -> str:
    """Return the `sha256` that an encoder of `list_encoders` has once it is loaded."""
    spec = get_spec(name)
    if spec.path is not None:
        return hash_file(spec.path)
    load_triton_apart()

    return _open(spec, Overrides())[0].sha256


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find(name_or_path: str | Path) -> EncoderSpec | Path:
    """Return what is listed under a name, or a file; names win over files of the same name."""
    if isinstance(name_or_path, str) and name_or_path in NAMES:
        return get_spec(name_or_path)
    path = Path(name_or_path).expanduser()
    if path.exists():
        return path
    if isinstance(name_or_path, Path) or path.suffix or len(path.parts) > 1:
        raise WeightsUnavailableError(
            f"Expected a weight file or one of {', '.join(NAMES)}; there is no file at {path}."
        )
    return get_spec(name_or_path)


def _open(found: EncoderSpec | Path, overrides: Overrides) -> tuple[EncoderSpec, "Checkpoint"]:
    """Read or draw the weights, and say what they turned out to be."""
    from napari_sslmaps.encoders.checkpoint import read_checkpoint
    from napari_sslmaps.encoders.control import draw_control, hash_weights

    path = found if isinstance(found, Path) else found.path
    if path is not None:
        checkpoint = read_checkpoint(path, overrides)
        sha256 = hash_file(path)
    elif isinstance(found, EncoderSpec):
        twin = read_header(weights_path(CONTROLS[found.name]))
        checkpoint = draw_control(found, overrides, patch_gain=starting_gain(twin))
        sha256 = hash_weights(checkpoint.network)
    report = checkpoint.report
    facts: dict[str, Any] = {
        "method": report.method,
        "architecture": report.architecture,
        "normalisation": report.normalisation,
        "sha256": sha256,
        "overrides": overrides.given,
        "licence": checkpoint.licence or METHOD_INFO[report.method].licence,
    }
    if isinstance(found, EncoderSpec):
        return replace(found, **facts), checkpoint
    return EncoderSpec(name=found.stem, path=found, origin="file", **facts), checkpoint


def _weights_folder() -> Path:
    return Path(str(files("napari_sslmaps.encoders").joinpath("weights")))
