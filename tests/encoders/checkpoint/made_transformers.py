"""Small random models of transformers, saved as folders."""

import json

import torch
from transformers import (
    BeitConfig,
    BeitModel,
    Data2VecVisionConfig,
    Data2VecVisionModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    IJepaConfig,
    IJepaModel,
    ViTConfig,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTModel,
)

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_SHAPE = {
    "hidden_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "patch_size": 8,
    "image_size": 32,
    "attn_implementation": "eager",
}
_WIDE = {"intermediate_size": 160}
_DECODER = {
    "decoder_hidden_size": 64,
    "decoder_num_hidden_layers": 2,
    "decoder_num_attention_heads": 4,
    "decoder_intermediate_size": 128,
}
KINDS = {
    "vit_mae": (ViTMAEForPreTraining, ViTMAEConfig, _WIDE | _DECODER),
    "ijepa": (IJepaModel, IJepaConfig, _WIDE),
    "dinov3_vit": (DINOv3ViTModel, DINOv3ViTConfig, _WIDE | {"num_register_tokens": 4}),
    "dinov2": (Dinov2Model, Dinov2Config, {"layer_norm_eps": 1e-3}),
    "dinov2_with_registers": (
        Dinov2WithRegistersModel,
        Dinov2WithRegistersConfig,
        {"num_register_tokens": 4},
    ),
    "vit": (ViTModel, ViTConfig, _WIDE),
}
_TABLES = _WIDE | {"use_relative_position_bias": True}
RELATIVE = {
    "beit": (BeitModel, BeitConfig, _TABLES),
    "data2vec-vision": (
        Data2VecVisionModel,
        Data2VecVisionConfig,
        _WIDE | {"use_relative_position_bias": True},
    ),
}


def random_model(kind, **options):
    """Build a model of a ``model_type``, no weight of which is trivially 0 or 1."""
    make, configure, fields = (KINDS | RELATIVE)[kind]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = make(configure(**_SHAPE | fields | options)).eval()
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def save_folder(model, folder, *, current=False, preprocessor=None, **options):
    """Save `model` as transformers does and return the folder.

    Parameters
    ----------
    current
        Whether keys are spelt as in the installed version instead of as in public files.
    preprocessor
        Contents of preprocessor_config.json.
    options
        Of ``save_pretrained``.
    """
    model.save_pretrained(folder, save_original_format=not current, **options)
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def edit_config(folder, **changes):
    """Change fields of the folder's config.json; None takes one away."""
    path = folder / "config.json"
    fields = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in fields.items() if value is not None}))
    return folder
