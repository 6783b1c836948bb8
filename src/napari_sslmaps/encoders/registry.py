"""The encoders there are, by name, and the way from a name or a path to one that runs."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from napari_sslmaps.encoders.cards import card_of
from napari_sslmaps.encoders.catalog import (
    CONTROLS,
    NAMES,
    embedded_spec,
    recorded_sha256,
    weights_path,
)
from napari_sslmaps.encoders.families.registry import network_of
from napari_sslmaps.encoders.header import permitted, read_header, starting_gain
from napari_sslmaps.encoders.llvm import load_triton_apart
from napari_sslmaps.encoders.overrides import Branch, Overrides
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.published.hub import cached_folder, published_as, repository_of
from napari_sslmaps.encoders.published.local import published_spec, published_specs
from napari_sslmaps.encoders.spec import Architecture, EncoderSpec, RelativeRule, RopeCoords
from napari_sslmaps.encoders.user_encoders import (
    changed_since_added,
    default_name,
    doubts_of,
    find_remembered,
    remembered,
)
from napari_sslmaps.errors import EncoderNotFoundError, InvalidOptionError, WeightsUnavailableError
from napari_sslmaps.files import hash_path, user_path

if TYPE_CHECKING:
    import torch

    from napari_sslmaps.encoders.checkpoint.read import Checkpoint
    from napari_sslmaps.encoders.encoder import Encoder


def list_encoders(*, published: bool = False) -> list[EncoderSpec]:
    """List every encoder that has a name, without importing torch.

    Parameters
    ----------
    published
        Whether to list those that are not downloaded, too.

    Returns
    -------
    list of EncoderSpec
        Embedded encoders, set by set; untrained controls; aliases; the user's remembered files; published
        ones that are on this machine. `trouble` says which cannot be loaded as they are, and why. `sha256` is
        filled in when an encoder is loaded; that of a remembered one is known before.

    Examples
    --------
    >>> import napari_sslmaps as ssl
    >>> [spec.name for spec in ssl.list_encoders() if spec.domain == "histology" and not spec.alias_of]
    ['mae-histology', 'ijepa-histology', 'dinov3-histology', 'dira-histology']
    """
    named = [get_spec(name) for name in NAMES]
    from_authors = [spec for spec in published_specs() if published or spec.path is not None]
    return [*named, *remembered(), *from_authors]


def get_spec(name: str) -> EncoderSpec:
    """Return what is known of an encoder, without importing torch.

    Raises
    ------
    EncoderNotFoundError
        If there is none of that name.
    WeightsUnavailableError
        If the installation has lost its weight file.
    """
    found = _find_named(name)
    if found is None:
        own = "".join(f", {spec.name}" for spec in remembered())
        raise EncoderNotFoundError(
            f"Expected the name of an encoder ({', '.join(NAMES)}{own}) or the path of a weight file; "
            f"got {name!r}. Published ones: napari-sslmaps encoders list --published."
        )
    return found


def _find_named(name: str) -> EncoderSpec | None:
    if name in NAMES:
        return embedded_spec(name)
    own = find_remembered(name)
    return own if own is not None or name not in PUBLISHED else published_spec(name)


def model_card(name: str) -> str:
    """Return the model card, in Markdown, of an encoder that has a name; of an alias, the original's."""
    return card_of(get_spec(name), doubts=doubts_of(name))


def load_encoder(  # noqa: PLR0913  # each keyword is part of the public contract
    name_or_path: str | Path,
    *,
    device: "str | torch.device" = "auto",
    precision: str = "auto",
    method: str | None = None,
    num_heads: int | None = None,
    normalisation: str | None = None,
    token_stage: str | None = None,
    eps: float | None = None,
    branch: Branch | None = None,
    antialias: bool | None = None,
    offset: float | None = None,
    grid: tuple[int, int] | None = None,
    rope_coords: RopeCoords | None = None,
    relative_rule: RelativeRule | None = None,
) -> "Encoder":
    """Load an encoder by name, or from a weight file or folder.

    Parameters
    ----------
    name_or_path
        A name of `list_encoders`, or the path of a file or folder: of the methods' own code, of timm,
        transformers or segmentation-models-pytorch; or ``hf:OWNER/NAME`` or ``timm:NAME``, a repository of
        the hub that is in its cache on this machine.
    device
        ``auto`` (CUDA, then MPS, then CPU) or a torch device.
    precision
        ``auto`` takes half precision on devices built for it, of networks of 384 channels and more whose
        tokens stay the same; nothing is timed, so each process of a machine takes the same. ``float32``
        repeats bit for bit on one machine.
    method, num_heads, normalisation, token_stage, eps, branch
        Corrections of what the file says or leaves open; see `Overrides`. They win over those that a
        remembered encoder was added with.
    antialias, offset, grid, rope_coords, relative_rule
        Corrections that concern positions; see `Overrides`.

    Returns
    -------
    Encoder
        Encoder on its device, with `spec`, `device`, `precision` and the recognition `report`.

    Raises
    ------
    EncoderNotFoundError
        If there is no such name or file.
    CheckpointError, WeightsUnavailableError
        If a file is damaged, unsafe, incomplete or not recognised; if a remembered one has moved or changed,
        or a published one is not downloaded.
    InvalidOptionError
        If an option does not fit.

    Examples
    --------
    >>> import napari_sslmaps as ssl
    >>> encoder = ssl.load_encoder("mae-histology", device="cpu", precision="float32")
    >>> encoder.spec.method, encoder.spec.constraint.token_stride, str(encoder.device)
    ('mae', 8, 'cpu')
    """
    load_triton_apart()
    from napari_sslmaps.encoders import encoder as running

    found = _find(name_or_path)
    resolved = running.resolve_device(device)
    placed = None if grid is None else (grid[0], grid[1])
    wanted = Overrides(
        *(method, num_heads, normalisation, token_stage, eps, branch, antialias, offset, placed),
        rope_coords=rope_coords,
        relative_rule=relative_rule,
    )
    spec, checkpoint = _open(found, wanted)
    network = checkpoint.network.to(resolved)
    extractor = network_of(spec.architecture).extractor(network)
    loaded = running.Encoder(spec, checkpoint.report, extractor, resolved, "float32")
    chosen = running.choose_precision(
        lambda candidate: replace(loaded, precision=candidate), resolved, precision
    )
    return replace(loaded, precision=chosen)


def loaded(encoder: "Encoder | str | Path", *, precision: str = "auto") -> "Encoder":
    """Return an encoder as it is, or load the one that is named.

    Raises
    ------
    InvalidOptionError
        If it is neither.
    """
    if isinstance(encoder, (str, Path)):
        return load_encoder(encoder, precision=precision)
    if not hasattr(encoder, "at_block"):
        raise InvalidOptionError(
            f"Expected an encoder from load_encoder, or its name or path; got {encoder!r}."
        )
    return encoder


def architecture_of(name_or_path: str | Path, given: Mapping[str, Any] | None = None) -> Architecture:
    """Return the architecture that an encoder has once it is loaded, without building its network.

    Parameters
    ----------
    name_or_path
        Name or path, as `load_encoder` takes it. A file is opened if it has no name, or is corrected.
    given
        Keywords of `load_encoder` that correct what the file says.

    Raises
    ------
    SSLMapsError
        If it cannot be loaded, as far as the file's keys and shapes tell; the errors are those of
        `load_encoder`.
    """
    found = _find(name_or_path)
    path, overrides = _resolved(found, Overrides.of(given or {}))
    if isinstance(found, EncoderSpec) and not given:
        return found.architecture
    load_triton_apart()
    if path is None:
        own = cast("EncoderSpec", found).architecture
        return own.corrected(num_heads=overrides.num_heads, token_stage=overrides.token_stage)
    from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint

    return inspect_checkpoint(path, overrides).architecture


def attention_size(architectures: Iterable[Architecture]) -> tuple[int, int]:
    """Return the most blocks, and the most heads of one, among the transformers; zeros if there is none."""
    shapes = list(architectures)
    depth = max((shape.attention_blocks for shape in shapes), default=0)
    return depth, max((shape.attention_heads for shape in shapes), default=0)


def hash_encoder(name: str) -> str:
    """Return the `sha256` that an encoder of `list_encoders` has once it is loaded.

    Raises
    ------
    EncoderNotFoundError, WeightsUnavailableError
        If there is none of that name, or its files are not here.
    """
    spec = get_spec(name)
    if spec.path is not None and spec.path.exists():
        return hash_path(spec.path)
    if spec.origin != "control":
        raise WeightsUnavailableError(spec.trouble)
    load_triton_apart()

    return _open(spec, Overrides())[0].sha256


def _find(name_or_path: str | Path) -> EncoderSpec | Path:
    """Return what is listed under a name, or a file; names win over files of the same name."""
    if isinstance(name_or_path, str) and (named := _find_named(name_or_path)) is not None:
        return named
    if not isinstance(name_or_path, (str, Path)):
        raise InvalidOptionError(f"Expected an encoder by its name or path; got {name_or_path!r}.")
    path = user_path(name_or_path)
    with permitted(path):
        if path.exists():
            return path
    if (repository := repository_of(str(name_or_path))) is not None:
        known = published_as(repository)
        return cached_folder(repository) if known is None else get_spec(known)
    if isinstance(name_or_path, Path) or path.suffix or len(path.parts) > 1:
        raise WeightsUnavailableError(
            f"Expected a weight file or one of {', '.join(NAMES)}; there is no file at {path}."
        )
    return get_spec(name_or_path)


def _resolved(found: EncoderSpec | Path, given: Overrides) -> tuple[Path | None, Overrides]:
    """Return the weights, None of a control, and what is known better than they say, given ones first."""
    if isinstance(found, Path):
        return found, given
    if found.trouble:
        raise WeightsUnavailableError(found.trouble)
    return found.path, Overrides.of({**found.overrides, **given.keywords})


def _check_recorded(name: str, path: Path, sha256: str) -> None:
    """Refuse embedded weights that are not those of the card."""
    recorded = recorded_sha256(name)
    if recorded not in ("", sha256):
        raise WeightsUnavailableError(
            f"Expected the weights of {name} as they were published (sha256 {recorded[:12]}…); {path} has "
            f"changed (sha256 {sha256[:12]}…). Install napari-sslmaps again."
        )


def _open(found: EncoderSpec | Path, given: Overrides) -> tuple[EncoderSpec, "Checkpoint"]:
    """Read or draw the weights, and say what they turned out to be."""
    from napari_sslmaps.encoders.checkpoint.open import check_weights_there
    from napari_sslmaps.encoders.checkpoint.read import read_checkpoint
    from napari_sslmaps.encoders.untrained import draw_control, hash_weights

    known = found if isinstance(found, EncoderSpec) else None
    path, overrides = _resolved(found, given)
    if path is not None:
        check_weights_there(path)  # before a folder of images is hashed
        sha256 = hash_path(path)
        if known is not None and known.sha256 not in ("", sha256):
            raise WeightsUnavailableError(changed_since_added(known.name, path, known.sha256))
        if known is not None and known.origin == "embedded":
            _check_recorded(known.name, path, sha256)
        checkpoint = read_checkpoint(path, overrides)
    elif known is not None:
        twin = read_header(weights_path(CONTROLS[known.name]))
        checkpoint = draw_control(known, overrides, patch_gain=starting_gain(twin))
        sha256 = hash_weights(checkpoint.network)
    report = checkpoint.report
    facts: dict[str, Any] = {
        "method": report.method,
        "architecture": report.architecture,
        "normalisation": report.normalisation,
        "sha256": sha256,
        "overrides": overrides.keywords,
    }
    if isinstance(found, EncoderSpec):
        return replace(found, **facts, licence=checkpoint.licence or found.licence), checkpoint
    licence = checkpoint.licence or "unknown"
    spec = EncoderSpec(name=default_name(found), path=found, origin="file", licence=licence, **facts)
    return spec, checkpoint
