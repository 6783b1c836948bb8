"""MAE: its facts, key names of its files, and whether its decoder predicts normalised pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_sslmaps.encoders.methods.method import HEADS_OF_WIDE, RECONSTRUCTION, KeyLayout, Method, ModelType
from napari_sslmaps.encoders.recognition import CHANNELS, Fact, PretextHeads, Translated, Unwrapped, separate

if TYPE_CHECKING:
    from torch import Tensor

_BESIDE: Mapping[str, str] = {
    "decoder_": "MAE decoder",
    "mask_token": "mask token",
    "head.": "classification head",
    "fc_norm.": "norm of the pooled token",
}
_SETTINGS = {"norm_pix_loss": "norm_pix", "mask_ratio": "mask_ratio"}


def _is_mae(file: Unwrapped) -> bool:
    """Whether a decoder is there, or a transformer as MAE's code saves it: under "model", without a head."""
    keys = file.tensors
    if "decoder_embed.weight" in keys:
        return "patch_embed.proj.weight" in keys
    return (
        set(file.container.split(".")) == {"model"}
        and {"patch_embed.proj.weight", "pos_embed", "cls_token", "norm.weight"} <= set(keys)
        and not {"head.weight", "blocks.0.ls1.gamma", "blocks.0.attn.q_bias"} & set(keys)
    )


def translate_mae(file: Unwrapped) -> Translated:
    """Translate a file of MAE's own code: pretraining, with its options if they are in it, or fine-tuning."""
    translated = separate(file, "MAE", _BESIDE)
    facts = mae_facts(file)
    decoder, settings = translated.pretext_heads.state, dict(translated.pretext_heads.settings)
    if "decoder_embed.weight" in decoder:
        settings |= {ours: file.args[theirs] for theirs, ours in _SETTINGS.items() if theirs in file.args}
        fact = _norm_pix(file, decoder)
        if fact is not None and "norm_pix" not in file.header.get("companions", {}):
            facts["norm_pix"] = fact
            settings["norm_pix"] = fact.value
    return replace(translated, pretext_heads=PretextHeads(decoder, settings), facts=facts)


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


def predicts_normalised_pixels(decoder: Mapping[str, Tensor]) -> bool | None:
    """Tell from MAE's decoder whether its targets were pixels or pixels normalised patch by patch.

    A normalised patch has mean 0, so nothing of the last layer goes into brightness, the sum of a patch's
    outputs; of plain pixels brightness is the first principal component. What is looked at is the energy of
    the summed rows over the energy of all rows: 1 for rows drawn at random, 0.7 and 0.9 in the decoders of
    this package, whose targets are normalised, 23 after 400 steps with plain ones. Rows drawn at random are
    told apart by the rows of neighbouring pixels, which training makes alike: their mean cosine is 0.2 to 0.4
    in those three, and 0 at random.

    Parameters
    ----------
    decoder
        Tensors of the decoder with ``decoder_pred.weight``, (3 p², w), rows by pixel row, column and channel;
        (p², w) of grey pixels.

    Returns
    -------
    bool or None
        Whether they were normalised; None if the file has no such layer, if it was not trained, or if it is
        unclear.
    """
    from torch.nn import functional

    weight = decoder.get("decoder_pred.weight")
    count = 0 if weight is None else len(weight)
    side = next((side for each in CHANNELS if each * (side := math.isqrt(count // each)) ** 2 == count), 0)
    if weight is None or weight.ndim != 2 or side < 2:
        return None
    rows = weight.float()
    image = rows.reshape(side, side, -1)
    if float(functional.cosine_similarity(image[1:], image[:-1], dim=-1).mean()) < _SMOOTH:
        return None
    ratio = float(rows.sum(dim=0).square().sum() / rows.square().sum())
    if ratio > _BRIGHTNESS:
        return False
    return True if ratio < _NO_BRIGHTNESS else None


_BRIGHTNESS, _NO_BRIGHTNESS, _SMOOTH = 4.0, 2.0, 0.1

MAE = Method(
    name="mae",
    title="MAE",
    objective="reconstructs the pixels of masked patches",
    citation="He et al., Masked Autoencoders Are Scalable Vision Learners, arXiv 2111.06377",
    normalisation="imagenet",
    eps=1e-6,
    attention_note="CLS query; weak, since CLS has no loss term of its own",
    learns_from=RECONSTRUCTION,
    heads_by_width=HEADS_OF_WIDE,
    antialias=False,
    fixed_positions=True,
    patch_gain=4.0,
    beside=_BESIDE,
    pretext_parts={"decoder_": "decoder", "mask_token": "mask token"},
    layouts=(KeyLayout(_is_mae, translate_mae),),
    model_types={"vit_mae": ModelType()},
    file_holds="the encoder and its decoder (which predicts per-patch normalised pixels)",
    rights="The authors' code and weights (CC-BY-NC-4.0) were not used.",
    pretext="napari_sslmaps.pretext.mae:reconstruction_view",
    edits="paint",
)
