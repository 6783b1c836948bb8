"""MAE: timm's names, with or without the decoder (arXiv 2111.06377)."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from napari_sslmaps.encoders.checkpoint.evidence import predicts_normalised_pixels
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
    decoder, settings = translated.companions.state, dict(translated.companions.settings)
    if "decoder_embed.weight" in decoder:
        settings |= {ours: file.args[theirs] for theirs, ours in _SETTINGS.items() if theirs in file.args}
        fact = _norm_pix(file, decoder)
        if fact is not None and "norm_pix" not in file.header.get("companions", {}):
            facts["norm_pix"] = fact
            settings["norm_pix"] = fact.value
    return replace(translated, companions=Companions(decoder, settings), facts=facts)


def _norm_pix(file: Unwrapped, decoder: Mapping[str, Tensor]) -> Fact | None:
    """Say whether targets were normalised: in words, or by what the decoder's last layer has learnt."""
    if "norm_pix_loss" in file.args:
        return Fact(bool(file.args["norm_pix_loss"]), "norm_pix_loss among the options in the file")
    normalised = predicts_normalised_pixels(decoder)
    if normalised is None:
        return None
    return Fact(
        normalised,
        "the decoder's last layer " + ("leaves" if normalised else "does not leave") + " brightness out",
    )


def mae_facts(file: Unwrapped) -> dict[str, Fact]:
    """Say whether the options in a file name MAE as what it is, or as what it was fine-tuned from."""
    model, start = str(file.args.get("model", "")), str(file.args.get("finetune", ""))
    if model.startswith("mae_"):
        return {"method": Fact("mae", f"the model {model!r} among the options in the file")}
    if "mae" in start.replace("\\", "/").rpartition("/")[2].lower():
        return {"method": Fact("mae", f"the options in the file: fine-tuned from {start!r}")}
    return {}
