"""Folders like those of published encoders of pathology: their own shapes, but one block deep."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import SwiGLUPacked
from timm.layers.pos_embed_rel import gen_relative_position_index
from transformers import BeitConfig, BeitForMaskedImageModeling

from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint
from napari_sslmaps.encoders.families.registry import network_of
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.published.fetch import download_encoder
from napari_sslmaps.encoders.published.local import folder_to_bring_to
from napari_sslmaps.encoders.published.medical import MEDICAL
from napari_sslmaps.encoders.registry import get_spec, model_card
from napari_sslmaps.encoders.spec import get_normalisation, spell_normalisation
from napari_sslmaps.errors import LicenceNotAcceptedError, WeightsUnavailableError

GATED_MLP = {"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU}
UNI2 = {
    "patch_size": 14,
    "embed_dim": 1536,
    "num_heads": 24,
    "mlp_ratio": 2.66667 * 2,
    "reg_tokens": 8,
    "no_embed_class": True,
    "init_values": 1e-5,
}
CARDS = {
    "uni": ("vit_large_patch16_224", {"init_values": 1e-5}, {}),
    "uni2-h": ("vit_giant_patch14_224", UNI2, GATED_MLP),
    "virchow": ("vit_huge_patch14_224", {"mlp_ratio": 5.3375, "init_values": 1e-5}, GATED_MLP),
    "virchow2": (
        "vit_huge_patch14_224",
        {"mlp_ratio": 5.3375, "init_values": 1e-5, "reg_tokens": 4},
        GATED_MLP,
    ),
    "h-optimus-0": ("vit_giant_patch14_reg4_dinov2", {"img_size": 224, "init_values": 1e-5}, {}),
    "h0-mini": ("vit_base_patch14_reg4_dinov2", {"img_size": 224, "mlp_ratio": 5.33334}, GATED_MLP),
    "prov-gigapath": ("vit_giant_patch14_dinov2", {"img_size": 224, "patch_size": 16}, {}),
    "kaiko-vit-l14": ("vit_large_patch14_reg4_dinov2", {"img_size": 518}, {}),
    "kaiko-vit-s16": ("vit_small_patch16_224", {}, {}),
    "kaiko-vit-s8": ("vit_small_patch8_224", {}, {}),
    "kaiko-vit-b16": ("vit_base_patch16_224", {}, {}),
    "kaiko-vit-b8": ("vit_base_patch8_224", {}, {}),
    "lunit-dino-s8": ("vit_small_patch8_224", {}, {}),
    "lunit-dino-s16": ("vit_small_patch16_224", {}, {}),
}
"""Architecture and model_args of config.json, and what the card asks to pass beside them."""


@pytest.mark.parametrize("name", CARDS)
def test_a_folder_of_its_layout_is_what_the_list_says(tmp_path, name):
    entry = PUBLISHED[name]
    architecture, arguments, passed = CARDS[name]
    with torch.device("meta"):
        network = timm.create_model(architecture, num_classes=0, depth=1, **{**arguments, **passed})
    state = {
        key: torch.zeros(value.shape, dtype=torch.float16) for key, value in network.state_dict().items()
    }
    save_file(state, tmp_path / "model.safetensors")
    statistics = get_normalisation(entry.normalisation)
    config = {
        "architecture": architecture,
        "model_args": {"depth": 1, **arguments},
        "pretrained_cfg": {"mean": statistics.mean, "std": statistics.std},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    report = inspect_checkpoint(tmp_path, Overrides.of(entry.overrides))
    assert report.architecture == replace(entry.architecture, depth=1, eps=report.architecture.eps)
    assert report.normalisation == entry.normalisation
    assert report.method == entry.method
    assert not any("heads" in sentence or "not used" in sentence for sentence in report.ambiguous)


def _conch() -> dict[str, torch.Tensor]:
    network = timm.create_model("vit_base_patch16_224", num_classes=0, depth=1, img_size=448)
    trunk = {f"visual.trunk.{key}": value for key, value in network.state_dict().items()}
    pools = {f"visual.attn_pool_{name}.to_q.weight": torch.zeros(4, 4) for name in ("contrast", "caption")}
    text = {"text.token_embedding.weight": torch.zeros(4, 4), "logit_scale": torch.zeros(())}
    block = {"text.transformer.resblocks.0.attn.in_proj_weight": torch.zeros(12, 4)}
    return {**trunk, **pools, **text, **block, "visual.proj_contrast": torch.zeros(4, 4)}


def _conch15() -> dict[str, torch.Tensor]:
    network = timm.create_model("vit_large_patch16_224", num_classes=0, depth=1, init_values=1.0)
    trunk = {f"trunk.{key}": value for key, value in network.state_dict().items()}
    return {**trunk, "attn_pool_contrast.query": torch.zeros(1, 4), "ln_contrast.weight": torch.zeros(4)}


def _retccl() -> dict[str, torch.Tensor]:
    network = timm.models.resnet.ResNet(timm.models.resnet.Bottleneck, (1, 1, 1, 1), num_classes=0)
    return network.state_dict()


def _meddinov3() -> dict[str, torch.Tensor]:
    width = 768
    block = {
        **{f"{norm}.{part}": (width,) for norm in ("norm1", "norm2") for part in ("weight", "bias")},
        **{f"ls{number}.gamma": (width,) for number in (1, 2)},
        "attn.qkv.weight": (3 * width, width),
        "attn.proj.weight": (width, width),
        "attn.proj.bias": (width,),
        "mlp.fc1.weight": (4 * width, width),
        "mlp.fc1.bias": (4 * width,),
        "mlp.fc2.weight": (width, 4 * width),
        "mlp.fc2.bias": (width,),
    }
    shapes = {
        "cls_token": (1, 1, width),
        "storage_tokens": (1, 4, width),
        "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        **{f"blocks.0.{key}": shape for key, shape in block.items()},
    }
    state = {f"backbone.{key}": torch.zeros(shape) for key, shape in shapes.items()}
    state["backbone.rope_embed.periods"] = torch.ones(16, dtype=torch.bfloat16)
    state["dino_head.mlp.0.weight"] = torch.zeros(4, width)
    return state


def _usfm() -> dict[str, torch.Tensor]:
    network = timm.models.beit.Beit(
        num_classes=0,
        depth=1,
        use_abs_pos_emb=False,
        use_shared_rel_pos_bias=True,
        init_values=0.1,
        global_pool="",
    )
    index = gen_relative_position_index((14, 14), class_token=True)
    return {
        **network.state_dict(),
        "mask_token": torch.zeros(1, 1, 768),
        "rel_pos_bias.relative_position_index": index,
    }


FILES = {
    "conch": (_conch, ()),
    "conch-v1.5": (_conch15, ()),
    "retccl": (_retccl, ()),
    "meddinov3-vit-b16": (_meddinov3, ("teacher",)),
    "usfm": (_usfm, ()),
}
"""Tensors as its authors' own code names them, and the keys above them; these have no config.json."""


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_its_layout_is_what_the_list_says(tmp_path, name):
    entry = PUBLISHED[name]
    make, above = FILES[name]
    state = make()
    if entry.weights.endswith("safetensors"):
        save_file(state, tmp_path / entry.weights)
    else:
        torch.save(state if not above else {above[0]: state}, tmp_path / entry.weights)
    report = inspect_checkpoint(tmp_path / entry.weights, Overrides.of(entry.overrides))
    shallow = {"layers": (1, 1, 1, 1)} if name == "retccl" else {"depth": 1, "eps": report.architecture.eps}
    expected = replace(entry.architecture, **shallow)
    if entry.method == "dino" and "offset" not in entry.overrides:
        expected = replace(expected, antialias=False, position_offset=0.1)
    assert report.architecture == expected
    assert (report.method, report.normalisation) == (entry.method, entry.normalisation)
    assert not any("not used" in sentence or "normalisation" in sentence for sentence in report.ambiguous)


@pytest.mark.parametrize("name", ["beit-vit-b16", "beit-vit-l16"])
def test_a_folder_of_beits_is_what_the_list_says(tmp_path, name):
    entry = PUBLISHED[name]
    shape = entry.architecture
    config = BeitConfig(
        hidden_size=shape.dim,
        num_hidden_layers=1,
        num_attention_heads=shape.heads,
        intermediate_size=shape.mlp_hidden,
        use_mask_token=True,
        use_shared_relative_position_bias=True,
        vocab_size=8,
    )
    BeitForMaskedImageModeling(config).save_pretrained(tmp_path, save_original_format=True)
    described = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(described))
    report = inspect_checkpoint(tmp_path)
    assert report.architecture == replace(shape, depth=1, antialias=report.architecture.antialias)
    assert (report.method, report.normalisation) == ("beit", entry.normalisation)
    assert not report.ambiguous


def test_what_is_not_on_the_hub_is_brought_by_hand(nobody_at_home):
    entry = PUBLISHED["usfm"]
    assert entry.page == "https://github.com/openmedlab/USFM"
    assert (
        "Fetch USFM_latest.pth from https://github.com/openmedlab/USFM yourself" in get_spec("usfm").trouble
    )
    with pytest.raises(LicenceNotAcceptedError):
        download_encoder("usfm")
    with pytest.raises(WeightsUnavailableError, match="keep theirs elsewhere"):
        download_encoder("usfm", accept_licence=True)
    folder = folder_to_bring_to(entry)
    folder.mkdir(parents=True)
    torch.save(_usfm(), folder / "USFM_latest.pth")
    assert get_spec("usfm").path == download_encoder("usfm") == folder
    assert inspect_checkpoint(folder).normalisation == "imagenet"


OF_TIMM = [name for name, entry in PUBLISHED.items() if entry.repository.startswith("timm/")]


@pytest.mark.parametrize("name", OF_TIMM)
def test_an_entry_of_timm_is_what_timm_says_of_it(tmp_path, name):
    entry = PUBLISHED[name]
    network = entry.repository.removeprefix("timm/")
    known = timm.get_pretrained_cfg(network)
    assert entry.normalisation == get_normalisation(spell_normalisation(known.mean, known.std)).name
    assert known.license.split("-")[0] in entry.licence.lower()
    shallow = {"depths": (1, 1, 1, 1)} if "convnext" in network else {"depth": 1}
    with torch.device("meta"):
        made = timm.create_model(network.partition(".")[0], num_classes=0, **shallow)
        weights = sum(
            value.numel()
            for value in network_of(entry.architecture).build(entry.architecture).state_dict().values()
        )
    save_file(
        {key: torch.zeros(value.shape, dtype=torch.float16) for key, value in made.state_dict().items()},
        tmp_path / "model.safetensors",
    )
    config = {"architecture": network, "model_args": shallow, "pretrained_cfg": known.to_dict()}
    (tmp_path / "config.json").write_text(json.dumps(config))
    report = inspect_checkpoint(tmp_path)
    assert report.architecture == replace(entry.architecture, **shallow, eps=report.architecture.eps)
    assert (report.method, report.normalisation) == (entry.method, entry.normalisation)
    assert 0.95 < entry.megabytes / (4e-6 * weights) < 1.15


@pytest.mark.parametrize("name", MEDICAL)
def test_an_entry_says_what_is_asked_of_it(name):
    entry, spec, card = MEDICAL[name], get_spec(name), model_card(name)
    assert spec.normalisation == get_normalisation(entry.normalisation).name
    assert spec.trained == entry.trained
    assert entry.citation in card
    assert "not tried here" in card
    with torch.device("meta"):
        network = network_of(entry.architecture).build(entry.architecture)
        weights = sum(value.numel() for value in network.state_dict().values())
    files = (
        3 if entry.has_pretext or name == "conch" else 1
    )  # an optimiser's state, or a text tower, beside it
    assert 0.95 < entry.megabytes / (4e-6 * weights) < 1.15 * files


def test_a_file_of_another_name_needs_no_description(nobody_at_home):
    entry = PUBLISHED["retfound-cfp"]
    assert "RETFound_mae_natureCFP.pth" in entry.weight_names
    folder = folder_to_bring_to(entry)
    folder.mkdir(parents=True)
    (folder / entry.weights).write_bytes(b"weights")
    assert get_spec("retfound-cfp").path == folder


def test_the_page_of_published_encoders_is_that_of_the_list():
    docs = Path(__file__).parents[2] / "docs"
    made = runpy.run_path(str(docs / "published_table.py"))["page"]()
    assert (docs / "published.md").read_text(encoding="utf-8") == made, "python docs/published_table.py"
