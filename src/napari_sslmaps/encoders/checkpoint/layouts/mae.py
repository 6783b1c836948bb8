"""MAE: timm's names, with or without the decoder (arXiv 2111.06377)."""

from collections.abc import Mapping
from dataclasses import replace

from napari_sslmaps.encoders.checkpoint.layouts.common import separate
from napari_sslmaps.encoders.checkpoint.translated import Companions, Fact, Translated
from napari_sslmaps.encoders.checkpoint.unwrap import Unwrapped

BESIDE: Mapping[str, str] = {
    "decoder_": "MAE decoder",
    "mask_token": "mask token",
    "head.": "classification head",
    "fc_norm.": "norm of the pooled token",
}
_SETTINGS = {"norm_pix_loss": "norm_pix", "mask_ratio": "mask_ratio"}


def translate_mae(file: Unwrapped) -> Translated:
    """Translate a file of MAE's own code: pretraining, with its options if they are in it, or fine-tuning."""
    translated = separate(file, "MAE", BESIDE)
    facts = mae_facts(file)
    settings = dict(translated.companions.settings)
    if "decoder_embed.weight" in translated.companions.state:
        settings |= {ours: file.args[theirs] for theirs, ours in _SETTINGS.items() if theirs in file.args}
    if "norm_pix" in settings and "norm_pix_loss" in file.args:
        facts["norm_pix"] = Fact(settings["norm_pix"], "norm_pix_loss among the options in the file")
    return replace(translated, companions=Companions(translated.companions.state, settings), facts=facts)


def mae_facts(file: Unwrapped) -> dict[str, Fact]:
    """Say whether the options in a file name MAE as what it is, or as what it was fine-tuned from."""
    model, start = str(file.args.get("model", "")), str(file.args.get("finetune", ""))
    if model.startswith("mae_"):
        return {"method": Fact("mae", f"the model {model!r} among the options in the file")}
    if "mae" in start.replace("\\", "/").rpartition("/")[2].lower():
        return {"method": Fact("mae", f"the options in the file: fine-tuned from {start!r}")}
    return {}
