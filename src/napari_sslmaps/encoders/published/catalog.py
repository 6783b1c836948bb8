"""Data only: the encoders that methods' authors publish, and where."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.spec import Architecture

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Names of the weight file in a repository, the preferred one first; one of them is there."""
DESCRIPTIONS = ("config.json", "preprocessor_config.json")
"""Files beside the weights that say what they are."""


@dataclass(frozen=True, slots=True)
class Published:
    """An encoder that its authors publish.

    Parameters
    ----------
    name
        Name as `load_encoder` takes it.
    method, architecture
        What it is, as its authors say; once it is here, its files say it.
    repository
        Its name on the hub.
    megabytes
        About how much is downloaded, in MB (10⁶ bytes).
    licence
        In a few words.
    terms
        What the licence asks, in a sentence, and where to read it.
    gated
        Whether its authors ask for a form to be filled in first.
    has_pretext
        Whether the file carries the networks of its pretext task too.
    overrides
        What its files leave open, as keywords of `load_encoder`.
    """

    name: str
    method: str
    architecture: Architecture
    repository: str
    megabytes: float
    licence: str
    terms: str
    gated: bool = False
    has_pretext: bool = False
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def page(self) -> str:
        """Where it is shown to a reader."""
        return f"https://huggingface.co/{self.repository}"


_NON_COMMERCIAL = (
    "CC-BY-NC-4.0",
    "Free for use that is not commercial, with attribution: https://creativecommons.org/licenses/by-nc/4.0",
)
_MAE_TERMS = (
    _NON_COMMERCIAL[0],
    f"{_NON_COMMERCIAL[1]} (the authors' own release; the page of these files names Apache-2.0)",
)
_APACHE = ("Apache-2.0", "Free for any use, with its notice: https://www.apache.org/licenses/LICENSE-2.0")
_DINOV3 = (
    "DINOv3 License",
    "Its own, which restricts some uses: https://ai.meta.com/resources/models-and-libraries/dinov3-license",
)
_SMALL = ViTArchitecture(
    patch=16, dim=384, depth=12, heads=6, grid=(14, 14), mlp_hidden=1536, class_token=True
)
_BASE = replace(_SMALL, dim=768, heads=12, mlp_hidden=3072)
_LARGE = replace(_SMALL, dim=1024, depth=24, heads=16, mlp_hidden=4096)
_HUGE = replace(_SMALL, patch=14, dim=1280, depth=32, heads=16, grid=(16, 16), mlp_hidden=5120)
_GIANT = replace(_SMALL, dim=1408, depth=40, heads=16, mlp_hidden=6144, class_token=False)


def _mae(name: str, size: str, architecture: ViTArchitecture, megabytes: float) -> Published:
    repository = f"facebook/vit-mae-{size}"
    return Published(name, "mae", architecture, repository, megabytes, *_MAE_TERMS, has_pretext=True)


def _ijepa(name: str, variant: str, architecture: ViTArchitecture, megabytes: float) -> Published:
    without_class = replace(architecture, class_token=False)
    return Published(name, "ijepa", without_class, f"facebook/ijepa_{variant}", megabytes, *_NON_COMMERCIAL)


def _dinov2(name: str, size: str, architecture: ViTArchitecture, megabytes: float) -> Published:
    shape = replace(architecture, patch=14, grid=(37, 37), layer_scale=True)
    return Published(name, "dinov2", shape, f"facebook/dinov2-{size}", megabytes, *_APACHE)


def _dinov3(name: str, size: str, architecture: ViTArchitecture, megabytes: float) -> Published:
    shape = replace(architecture, grid=(16, 16), registers=4, rope=True, layer_scale=True, eps=1e-5)
    repository = f"facebook/dinov3-{size}-pretrain-lvd1689m"
    return Published(name, "dinov3", shape, repository, megabytes, *_DINOV3, gated=True)


PUBLISHED: Mapping[str, Published] = {
    entry.name: entry
    for entry in (
        _mae("mae-vit-b16", "base", _BASE, 448),
        _mae("mae-vit-l16", "large", _LARGE, 1320),
        _mae("mae-vit-h14", "huge", _HUGE, 2630),
        _ijepa("ijepa-vit-h14", "vith14_1k", _HUGE, 2520),
        _ijepa("ijepa-vit-g16", "vitg16_22k", _GIANT, 4050),
        # its files say "vit", as a supervised transformer's do
        Published(
            "dino-vit-b16",
            "dino",
            _BASE,
            "facebook/dino-vitb16",
            343,
            *_APACHE,
            overrides={"method": "dino"},
        ),
        _dinov2("dinov2-vit-s14", "small", _SMALL, 88),
        _dinov2("dinov2-vit-b14", "base", _BASE, 346),
        _dinov2("dinov2-vit-l14", "large", _LARGE, 1220),
        _dinov3("dinov3-vit-s16", "vits16", _SMALL, 86),
        _dinov3("dinov3-vit-s16plus", "vits16plus", replace(_SMALL, swiglu=True), 115),
        _dinov3("dinov3-vit-b16", "vitb16", _BASE, 343),
        _dinov3("dinov3-vit-l16", "vitl16", _LARGE, 1210),
    )
}
"""Published encoders by name."""
