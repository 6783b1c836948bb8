"""Data only: encoders of pathology and radiology that others than a method's authors publish.

Layouts like theirs are read, with drawn weights, in the tests; the files themselves are gated or large and
were not tried, which each entry says. Facts are as their authors publish them; not all were checked against
the model cards. Sizes of CONCH's and MedDINOv3's files are counted from their networks.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from napari_sslmaps.core.resolution import Resolution
from napari_sslmaps.encoders.families.unet import UNetArchitecture
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.published.entry import APACHE, NON_COMMERCIAL, Published, Terms

_SMALL = ViTArchitecture(
    patch=16,
    dim=384,
    depth=12,
    heads=6,
    grid=(14, 14),
    mlp_hidden=1536,
    class_token=True,
    layer_scale=True,
)
_BASE = replace(_SMALL, dim=768, heads=12, mlp_hidden=3072)
_LARGE = replace(_SMALL, dim=1024, depth=24, heads=16, mlp_hidden=4096)
_HUGE = replace(_SMALL, patch=14, dim=1280, depth=32, heads=16, grid=(16, 16), mlp_hidden=3416, swiglu=True)
_GIANT = replace(_SMALL, patch=14, dim=1536, depth=40, heads=24, grid=(16, 16), mlp_hidden=4096, swiglu=True)
_NO_DERIVATIVES = Terms(
    "CC-BY-NC-ND-4.0",
    "Free for use that is not commercial, unchanged, with attribution: "
    "https://creativecommons.org/licenses/by-nc-nd/4.0",
)
_GPL_ACADEMIC = Terms(
    "GPL-3.0, academic",
    "Free for academic use that is not commercial, as its authors say beside the licence: "
    "https://github.com/Xiyue-Wang/RetCCL",
)
_MIT = Terms("MIT", "Free for any use, with its notice: https://opensource.org/license/mit")
_OWKIN = Terms("Owkin non-commercial", "Free for research that is not commercial; read it on the page")
_LUNIT = Terms("Lunit non-commercial", "Free for research that is not commercial; read it on the page")
_ITS_PAGE = Terms("see its page", "What its authors say on its page; read it there")
_RESEARCH = Terms("MSRLA", "Microsoft's research licence, not for clinical use; read it on the page")
_H_OPTIMUS = "0.707223,0.578729,0.703617/0.211883,0.230117,0.177517"
_LUNIT_STATISTICS = "0.70323,0.536065,0.660966/0.217165,0.260816,0.207235"
_HALVES = "0.5,0.5,0.5/0.5,0.5,0.5"
_HIBOU = "0.7068,0.5755,0.722/0.195,0.2316,0.1816"
_OPENAI = "0.481455,0.457828,0.408211/0.26863,0.261303,0.275777"
_CT = "0.532554,0.532554,0.532554/0.0890083,0.0890083,0.0890083"
"""Mean 65.1 and deviation 178.0 Hounsfield units, of a window from -1000 to 1000."""
_20X = Resolution(um_per_px=0.5)


def _slides(
    name: str,
    repository: str,
    architecture: ViTArchitecture,
    megabytes: float,
    terms: Terms,
    citation: str,
    **further: Any,
) -> Published:
    """Describe an encoder of slides, trained at 0.5 µm/px alone or among others; gated unless told."""
    method = further.pop("method", "dinov2")
    usual: dict[str, Any] = {"gated": True, "trained": _20X, "citation": citation, "tried": False}
    usual["overrides"] = {"method": method}
    return Published(name, method, architecture, repository, megabytes, *terms, **{**usual, **further})


_CHEN = (
    "Chen et al., Towards a general-purpose foundation model for computational pathology, "
    "Nature Medicine 2024"
)
_PHIKON = (
    "Filiot et al., Scaling self-supervised learning for histopathology with masked image modeling, 2023"
)
_KANG = "Kang et al., Benchmarking self-supervised learning on diverse pathology datasets, arXiv 2212.04690"
_ABEN = "Aben et al., Towards large-scale training of pathology foundation models, arXiv 2404.15217"
_NECHAEV = (
    "Nechaev et al., Hibou: A family of foundational vision transformers for pathology, arXiv 2406.05074"
)
_SAILLARD = "Saillard et al., H-optimus-0, 2024, https://github.com/bioptimus/releases"

MEDICAL: Mapping[str, Published] = {
    entry.name: entry
    for entry in (
        _slides("uni", "MahmoodLab/UNI", _LARGE, 1213, _NO_DERIVATIVES, _CHEN),
        _slides(
            "uni2-h",
            "MahmoodLab/UNI2-h",
            replace(_GIANT, depth=24, registers=8),
            2726,
            _NO_DERIVATIVES,
            _CHEN,
        ),
        _slides(
            "virchow",
            "paige-ai/Virchow",
            _HUGE,
            2530,
            APACHE,
            "Vorontsov et al., A foundation model for clinical-grade computational pathology and rare "
            "cancers detection, Nature Medicine 2024",
        ),
        _slides(
            "virchow2",
            "paige-ai/Virchow2",
            replace(_HUGE, registers=4, prefix_positions=5),
            2530,
            _NO_DERIVATIVES,
            "Zimmermann et al., Virchow2, arXiv 2408.00738; trained at 0.25 to 2 µm/px",
        ),
        _slides(
            "h-optimus-0",
            "bioptimus/H-optimus-0",
            replace(_GIANT, registers=4),
            4540,
            APACHE,
            _SAILLARD,
            normalisation=_H_OPTIMUS,
        ),
        _slides(
            "h-optimus-1",
            "bioptimus/H-optimus-1",
            replace(_GIANT, registers=4),
            4540,
            _NO_DERIVATIVES,
            "Bioptimus, H-optimus-1, 2025, https://huggingface.co/bioptimus/H-optimus-1",
            normalisation=_H_OPTIMUS,
        ),
        _slides(
            "h0-mini",
            "bioptimus/H0-mini",
            replace(_BASE, patch=14, grid=(16, 16), registers=4, swiglu=True, mlp_hidden=2048),
            344,
            _NO_DERIVATIVES,
            "Filiot et al., Distilling foundation models for robust and efficient models in digital "
            "pathology, arXiv 2501.16239",
            normalisation=_H_OPTIMUS,
        ),
        _slides(
            "prov-gigapath",
            "prov-gigapath/prov-gigapath",
            replace(_GIANT, patch=16, grid=(14, 14)),
            4540,
            APACHE,
            "Xu et al., A whole-slide foundation model for digital pathology from real-world data, "
            "Nature 2024",
        ),
        _slides(
            "phikon",
            "owkin/phikon",
            replace(_BASE, layer_scale=False),
            343,
            _OWKIN,
            _PHIKON,
            method="dino",
            gated=False,
        ),
        _slides(
            "phikon-v2",
            "owkin/phikon-v2",
            _LARGE,
            1213,
            _OWKIN,
            "Filiot et al., Phikon-v2, arXiv 2409.09173",
            gated=False,
        ),
        _slides(
            "hibou-b",
            "histai/hibou-b",
            replace(_BASE, patch=14, grid=(16, 16), registers=4),
            343,
            APACHE,
            _NECHAEV,
            normalisation=_HIBOU,
        ),
        _slides(
            "hibou-l",
            "histai/hibou-L",
            replace(_LARGE, patch=14, grid=(16, 16), registers=4),
            1213,
            APACHE,
            _NECHAEV,
            normalisation=_HIBOU,
        ),
        _slides(
            "gpfm",
            "majiabo/GPFM",
            replace(_LARGE, patch=14, grid=(16, 16)),
            1213,
            _ITS_PAGE,
            "Ma et al., Towards a generalizable pathology foundation model via unified knowledge "
            "distillation, arXiv 2407.18449",
            gated=False,
            weights="GPFM.pth",
        ),
        _slides(
            "openmidnight",
            "SophontAI/OpenMidnight",
            replace(_GIANT, registers=4),
            4540,
            _ITS_PAGE,
            "Sophont, OpenMidnight, 2025, https://huggingface.co/SophontAI/OpenMidnight",
            weights="teacher_checkpoint_load.pt",
        ),
        _slides(
            "midnight-12k",
            "kaiko-ai/midnight",
            replace(_GIANT, grid=(16, 16)),
            4540,
            _MIT,
            "Karasikov et al., Training state-of-the-art pathology foundation models with orders of "
            "magnitude less data, arXiv 2504.05186; trained at 0.25 to 2 µm/px",
            gated=False,
            normalisation=_HALVES,
        ),
        _slides(
            "kaiko-vit-l14",
            "1aurent/vit_large_patch14_reg4_224.kaiko_ai_towards_large_pathology_fms",
            replace(_LARGE, patch=14, grid=(37, 37), registers=4),
            1217,
            _MIT,
            _ABEN,
            gated=False,
            normalisation=_HALVES,
        ),
        *(
            _slides(
                f"kaiko-vit-{size[0]}{patch}",
                f"1aurent/vit_{size}_patch{patch}_224.kaiko_ai_towards_large_pathology_fms",
                replace(shape, patch=patch, grid=(224 // patch, 224 // patch), layer_scale=False),
                megabytes,
                _MIT,
                _ABEN,
                method="dino",
                gated=False,
                normalisation=_HALVES,
            )
            for size, shape, megabytes in (("small", _SMALL, 87), ("base", _BASE, 343))
            for patch in (16, 8)
        ),
        _slides(
            "lunit-dino-s8",
            "1aurent/vit_small_patch8_224.lunit_dino",
            replace(_SMALL, patch=8, grid=(28, 28), layer_scale=False),
            87,
            _LUNIT,
            _KANG,
            method="dino",
            gated=False,
            normalisation=_LUNIT_STATISTICS,
        ),
        _slides(
            "lunit-dino-s16",
            "1aurent/vit_small_patch16_224.lunit_dino",
            replace(_SMALL, layer_scale=False),
            87,
            _LUNIT,
            _KANG,
            method="dino",
            gated=False,
            normalisation=_LUNIT_STATISTICS,
        ),
        # of CONCH's two towers that of images is read; it was fitted to captions after iBOT's training
        _slides(
            "conch",
            "MahmoodLab/CONCH",
            replace(_BASE, grid=(28, 28), layer_scale=False, antialias=True),
            800,
            _NO_DERIVATIVES,
            "Lu et al., A visual-language foundation model for computational pathology, Nature Medicine 2024",
            method="contrastive",
            normalisation=_OPENAI,
            weights="pytorch_model.bin",
            overrides={"method": "contrastive", "normalisation": _OPENAI, "antialias": True, "offset": 0.0},
        ),
        _slides(
            "conch-v1.5",
            "MahmoodLab/conchv1_5",
            _LARGE,
            1225,
            _NO_DERIVATIVES,
            "Ding et al., Multimodal whole slide foundation model for pathology (TITAN), arXiv 2411.19666",
            method="contrastive",
            weights="pytorch_model_vision.bin",
            overrides={"method": "contrastive", "normalisation": "imagenet"},
        ),
        Published(
            "retccl",
            "contrastive",
            UNetArchitecture("bottleneck", (3, 4, 6, 3), (64, 128, 256, 512), ()),
            "jamesdolezal/RetCCL",
            94,
            *_GPL_ACADEMIC,
            trained=Resolution(um_per_px=1.0),
            citation="Wang et al., RetCCL: Clustering-guided contrastive learning for whole-slide image "
            "retrieval, Medical Image Analysis 2023",
            tried=False,
            weights="retccl.safetensors",
            overrides={"method": "contrastive", "normalisation": "imagenet"},
        ),
        Published(
            "meddinov3-vit-b16",
            "dinov3",
            replace(_BASE, grid=(16, 16), registers=4, rope=True, qkv_bias=False, rope_bfloat16=True),
            "ricklisz123/MedDINOv3-ViTB-16-CT-3M",
            530,
            *APACHE,
            has_pretext=True,
            normalisation=_CT,
            citation="Li et al., MedDINOv3: How to adapt vision foundation models for medical image "
            "segmentation?, arXiv 2509.02379; CT from -1000 to 1000 Hounsfield units",
            tried=False,
            weights="model.pth",
            overrides={"method": "dinov3", "normalisation": _CT, "eps": 1e-6},
        ),
        Published(
            "rad-dino",
            "dinov2",
            replace(_BASE, patch=14, grid=(37, 37)),
            "microsoft/rad-dino",
            346,
            *_RESEARCH,
            normalisation="0.5307,0.5307,0.5307/0.2583,0.2583,0.2583",
            citation="Pérez-García et al., Exploring scalable medical image encoders beyond text "
            "supervision, Nature Machine Intelligence 2025",
            tried=False,
        ),
        Published(
            "retfound-cfp",
            "mae",
            replace(_LARGE, layer_scale=False),
            "YukunZhou/RETFound_mae_natureCFP",
            3960,
            *NON_COMMERCIAL,
            gated=True,
            has_pretext=True,
            citation="Zhou et al., A foundation model for generalizable disease detection from retinal "
            "images, Nature 2023",
            tried=False,
            weights="RETFound_mae_natureCFP.pth",
            overrides={"method": "mae"},
        ),
        Published(
            "usfm",
            "beit",
            replace(_BASE, added=False, relative="geometric-cubic"),
            "openmedlab/USFM",
            343,
            *NON_COMMERCIAL,
            citation="Jiao et al., USFM: A universal ultrasound foundation model generalized to tasks and "
            "organs towards label efficient image analysis, Medical Image Analysis 2024, 103202",
            tried=False,
            weights="USFM_latest.pth",
            elsewhere="https://github.com/openmedlab/USFM",
        ),
    )
}
"""Encoders of pathology, radiology and ultrasound by name."""
