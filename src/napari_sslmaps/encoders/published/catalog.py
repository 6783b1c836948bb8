"""Data only: the encoders that methods' authors publish, and those of others."""

from collections.abc import Mapping
from dataclasses import replace

from napari_sslmaps.encoders.families.convnext import ConvNeXtArchitecture
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.published.entry import APACHE, NON_COMMERCIAL, Published
from napari_sslmaps.encoders.published.medical import MEDICAL

_MAE_TERMS = (
    NON_COMMERCIAL[0],
    f"{NON_COMMERCIAL[1]} (the authors' own release; the page of these files names Apache-2.0)",
)
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
_WIDEST = replace(_SMALL, dim=1536, depth=40, heads=24, mlp_hidden=4096, swiglu=True)
_GIANT = replace(_SMALL, dim=1408, depth=40, heads=16, mlp_hidden=6144, class_token=False)


def _mae(name: str, size: str, architecture: ViTArchitecture, megabytes: float) -> Published:
    repository = f"facebook/vit-mae-{size}"
    return Published(name, "mae", architecture, repository, megabytes, *_MAE_TERMS, has_pretext=True)


def _ijepa(name: str, variant: str, architecture: ViTArchitecture, megabytes: float) -> Published:
    without_class = replace(architecture, class_token=False)
    return Published(name, "ijepa", without_class, f"facebook/ijepa_{variant}", megabytes, *NON_COMMERCIAL)


def _dinov2(name: str, size: str, architecture: ViTArchitecture, megabytes: float) -> Published:
    shape = replace(architecture, patch=14, grid=(37, 37), layer_scale=True)
    return Published(name, "dinov2", shape, f"facebook/dinov2-{size}", megabytes, *APACHE)


def _dinov3(name: str, size: str, architecture: ViTArchitecture, megabytes: float) -> Published:
    shape = replace(architecture, grid=(16, 16), registers=4, rope=True, layer_scale=True, eps=1e-5)
    repository = f"facebook/dinov3-{size}-pretrain-lvd1689m"
    return Published(name, "dinov3", shape, repository, megabytes, *_DINOV3, gated=True)


def _beit(name: str, repository: str, architecture: ViTArchitecture, megabytes: float) -> Published:
    shape = replace(architecture, added=False, layer_scale=True)
    of_timm = repository.startswith("timm/")
    own = (
        replace(shape, relative="geometric-linear", final_norm=False)
        if of_timm
        else replace(shape, relative="bilinear", eps=1e-12)
    )
    statistics = "imagenet" if of_timm else "0.5,0.5,0.5/0.5,0.5,0.5"
    return Published(name, "beit", own, repository, megabytes, *APACHE, normalisation=statistics, tried=False)


def _dino(name: str, network: str, architecture: ViTArchitecture, megabytes: float) -> Published:
    return Published(name, "dino", architecture, f"timm/{network}.dino", megabytes, *APACHE, tried=False)


def _dinov2_reg(name: str, size: str, architecture: ViTArchitecture, megabytes: float) -> Published:
    shape = replace(architecture, patch=14, grid=(37, 37), layer_scale=True, registers=4)
    repository = f"timm/vit_{size}_patch14_reg4_dinov2.lvd142m"
    return Published(name, "dinov2", shape, repository, megabytes, *APACHE, tried=False)


def _dinov3_convnext(name: str, depths: tuple[int, ...], width: int, megabytes: float) -> Published:
    shape = ConvNeXtArchitecture(depths, tuple(width * 2**stage for stage in range(4)))
    size = name.rpartition("-")[2]
    return Published(
        name, "dinov3", shape, f"timm/convnext_{size}.dinov3_lvd1689m", megabytes, *_DINOV3, tried=False
    )


def _dinov3_timm(
    name: str, network: str, architecture: ViTArchitecture, megabytes: float, normalisation: str = "imagenet"
) -> Published:
    shape = replace(architecture, grid=(16, 16), registers=4, rope=True, layer_scale=True, eps=1e-5)
    repository = f"timm/vit_{network}"
    return Published(
        name, "dinov3", shape, repository, megabytes, *_DINOV3, normalisation=normalisation, tried=False
    )


_AUTHORS: Mapping[str, Published] = {
    entry.name: entry
    for entry in (
        _mae("mae-vit-b16", "base", _BASE, 448),
        _mae("mae-vit-l16", "large", _LARGE, 1320),
        _mae("mae-vit-h14", "huge", _HUGE, 2630),
        _ijepa("ijepa-vit-h14", "vith14_1k", _HUGE, 2520),
        _ijepa("ijepa-vit-g16", "vitg16_22k", _GIANT, 4050),
        _beit("beit-vit-b16", "microsoft/beit-base-patch16-224-pt22k", _BASE, 368),
        _beit("beit-vit-l16", "microsoft/beit-large-patch16-224-pt22k", _LARGE, 1250),
        _beit("beitv2-vit-b16", "timm/beitv2_base_patch16_224.in1k_ft_in1k", _BASE, 346),
        _beit("beitv2-vit-l16", "timm/beitv2_large_patch16_224.in1k_ft_in1k", _LARGE, 1218),
        # its files say "vit", as a supervised transformer's do
        Published(
            "dino-vit-b16",
            "dino",
            _BASE,
            "facebook/dino-vitb16",
            343,
            *APACHE,
            overrides={"method": "dino"},
        ),
        _dino("dino-vit-s16", "vit_small_patch16_224", _SMALL, 87),
        _dino("dino-vit-s8", "vit_small_patch8_224", replace(_SMALL, patch=8, grid=(28, 28)), 87),
        _dino("dino-vit-b8", "vit_base_patch8_224", replace(_BASE, patch=8, grid=(28, 28)), 343),
        Published(
            "msn-vit-s16",
            "dino",
            _SMALL,
            "facebook/vit-msn-small",
            87,
            *NON_COMMERCIAL,
            overrides={"method": "dino"},
            tried=False,
            citation="Assran et al., Masked Siamese Networks for Label-Efficient Learning, arXiv 2204.07141",
        ),
        _dinov2("dinov2-vit-s14", "small", _SMALL, 88),
        _dinov2("dinov2-vit-b14", "base", _BASE, 346),
        _dinov2("dinov2-vit-l14", "large", _LARGE, 1220),
        _dinov2("dinov2-vit-g14", "giant", _WIDEST, 4540),
        _dinov2_reg("dinov2-vit-s14-reg", "small", _SMALL, 88),
        _dinov2_reg("dinov2-vit-b14-reg", "base", _BASE, 346),
        _dinov2_reg("dinov2-vit-l14-reg", "large", _LARGE, 1220),
        _dinov2_reg("dinov2-vit-g14-reg", "giant", _WIDEST, 4540),
        _dinov3("dinov3-vit-s16", "vits16", _SMALL, 86),
        _dinov3("dinov3-vit-s16plus", "vits16plus", replace(_SMALL, swiglu=True), 115),
        _dinov3("dinov3-vit-b16", "vitb16", _BASE, 343),
        _dinov3("dinov3-vit-l16", "vitl16", _LARGE, 1210),
        _dinov3_timm(
            "dinov3-vit-h16plus",
            "huge_plus_patch16_dinov3.lvd1689m",
            replace(_HUGE, patch=16, heads=20, mlp_hidden=5120, swiglu=True, qkv_bias=False),
            3360,
        ),
        _dinov3_timm(
            "dinov3-vit-l16-satellite",
            "large_patch16_dinov3.sat493m",
            replace(_LARGE, qkv_bias=False),
            1210,
            "satellite",
        ),
        _dinov3_convnext("dinov3-convnext-tiny", (3, 3, 9, 3), 96, 111),
        _dinov3_convnext("dinov3-convnext-small", (3, 3, 27, 3), 96, 198),
        _dinov3_convnext("dinov3-convnext-base", (3, 3, 27, 3), 128, 350),
        _dinov3_convnext("dinov3-convnext-large", (3, 3, 27, 3), 192, 785),
    )
}
PUBLISHED: Mapping[str, Published] = {**_AUTHORS, **MEDICAL}
"""Published encoders by name."""
