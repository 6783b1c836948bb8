"""Networks that are known and not read, told by the names of their tensors.

Without them a file of Swin or SAM would be said to lack tensors, and its owner would look for a damage that
is not there.
"""

import re
from collections.abc import Iterable

from napari_sslmaps.errors import CheckpointError

_OTHERS: tuple[tuple[str, str], ...] = (
    (r"layers\.\d+\.blocks\.\d+\.attn\.(relative_position_bias_table|logit_scale)$", "a Swin transformer"),
    (r"layers\.\d+\.downsample\.reduction\.weight$", "a Swin transformer"),
    (r"blocks\.\d+\.attn\.(pool|norm)_[qkv]\.", "MViT, whose tokens become fewer from block to block"),
    (r"attn\.rel_pos_[hw]$", "the image encoder of SAM or MedSAM, which attends in windows"),
    (r"resblocks\.\d+\.attn\.in_proj_weight$", "CLIP in its own code's names, with its text tower"),
    (r"vision_model\.(embeddings|encoder\.layers)\.", "CLIP or SigLIP in transformers' names"),
    (
        r"(^|\.)(norm_pre|ln_pre)\.weight$",
        "CLIP's image tower, which norms its tokens before the first block",
    ),
    (r"blocks\.\d+\.(attns|ffns)\.\d+\.", "a transformer of parallel blocks"),
    (r"blocks\.\d+\.(in_proj|attn_out_proj|mlp_out_proj)\.", "a transformer of parallel blocks"),
    (r"attn\.relative_position_bias_table$", "BEiT, whose attention depends on relative positions"),
    (r"(^|\.)(rel_pos|shared_rel_pos)(_bias)?\.", "a transformer of relative positions"),
    (r"attn\.rel_pos\.", "a transformer of relative positions"),
    (r"blocks\.\d+\.attn\.lambda_[qk]\d$", "a transformer of differential attention"),
    (r"blocks\.\d+\.attn\.[qk]_norm\.", "a transformer that norms its queries and keys"),
    (
        r"blocks\.\d+\.(attn|mlp)\.(norm|ffn_ln|inner_attn_ln)\.",
        "EVA-02 or BEiT-3, which norm inside a block",
    ),
    (r"blocks\.\d+\.attn\.gating_param$", "ConViT"),
    (r"blocks\.\d+\.attn\.temperature$", "XCiT"),
    (r"blocks_token_only\.", "CaiT"),
    (r"blocks\.\d+\.proj\.weight$", "Hiera, whose tokens become fewer from block to block"),
    (r"(^|\.)embeds\.(proj|pos_embed)", "NaFlexViT"),
    (r"patch_embed\.backbone\.", "a hybrid transformer behind a ResNet"),
    (r"patch_embed\.(conv\d*|norm\d*|0|1)\.", "a transformer behind a stem of convolutions"),
    (r"features\.\d+\.\d+\.layer_scale$", "a ConvNeXt in torchvision's names, which was trained with labels"),
    (r"stages\.\d+\.blocks\.\d+\.mbconv|features\.\d+\.\d+\.block\.", "EfficientNet or MaxViT"),
    (r"(^|\.)(token_embedding|word_embeddings)\.weight$", "a text encoder"),
)


def refuse_others(keys: Iterable[str], name: str) -> None:
    """Refuse what is known to be another network than those read here.

    Parameters
    ----------
    keys
        Names of the tensors of one network.
    name
        What sentences call the file.

    Raises
    ------
    CheckpointError
        If they are such a network's; the sentence names it.
    """
    joined = "\n".join(keys)
    if re.search(r"(^|\.)_?flat_param$", joined, re.MULTILINE):
        raise CheckpointError(
            f"Expected named weights; {name} has those that FullyShardedDataParallel flattened, one "
            "process's part of them. Save the full state_dict, or load the .distcp folder of that training."
        )
    for pattern, what in _OTHERS:
        if re.search(pattern, joined, re.MULTILINE):
            raise CheckpointError(
                f"Expected a network of those read here; {name} holds {what}. That is another network, and "
                "cannot be loaded."
            )
