"""Networks that are known and not read, told by the names of their tensors.

Without them a file of Swin or SAM would be said to lack tensors, and its owner would look for a damage that
is not there.
"""

import re
from collections.abc import Iterable

from napari_sslmaps.errors import CheckpointError

_OTHERS: tuple[tuple[str, str], ...] = (
    (r"features\.\d+\.\d+\.attn\.relative_position_bias_table$", "a Swin transformer in torchvision's names"),
    (
        r"encoder\.layers\.encoder_layer_\d+\.",
        "a vision transformer of torchvision's behind a stem of convolutions, or a part of one",
    ),
    (r"patch_embed\.projection\.weight$", "another transformer in the names of MMPretrain or MMSegmentation"),
    (
        r"patch_embedding\.(patch_embeddings|position_embeddings)",
        "MONAI's vision transformer of volumes, or a part of one",
    ),
    (r"(^|\.)to_patch_embedding\.\d+\.", "a transformer of vit-pytorch, whose patches are normed"),
    (r"(^|\.)model\.\d+\.((conv|residual)\.unit\d|submodule)\.", "MONAI's U-Net"),
    (r"encoder\.stages\.\d+\.\d+\.(convs|blocks)\.\d+\.", "nnU-Net's network"),
    (r"layers\.\d+\.mixer\.", "Vision Mamba"),
    (r"stage\d\.\d+\.(branches|fuse_layers)\.", "HRNet"),
    (r"blocks\.\d+\.xca\.", "EdgeNeXt"),
    (r"features\.denseblock\d|encoder\.features\.denseblock", "a DenseNet"),
    (r"(^|\.)s\d\.b\d+\.conv\d\.", "a RegNet"),
    (r"stages\.\d+\.blocks\.\d+\.conv3\.", "a ResNet that norms before its convolutions (BiT)"),
    (r"^(encoder\.)?conv1\.[0-6]\.weight$", "a ResNet with three convolutions as its stem"),
    (r"layer\d\.\d+\.se(_module)?\.fc\d\.", "an SE-ResNet"),
    (r"block\d\.\d+\.attn\.(q|kv|sr)\.", "SegFormer's MiT"),
    (r"^decoder\.(aspp|fpa|\d+\.convs)\.", "DeepLab or PAN, whose encoder has dilated convolutions"),
    (
        r"layers\.\d+\.blocks\.\d+\.attn\.(relative_position_bias_table|logit_scale)$",
        "a Swin transformer, as CTransPath is",
    ),
    (r"layers\.\d+\.downsample\.reduction\.weight$", "a Swin transformer, as CTransPath is"),
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
    (r"(^|\.)(rel_pos|shared_rel_pos)\.", "a transformer of relative positions, which are not BEiT's"),
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
    (r"(^|\.)(features\.0\.0|conv_stem)\.weight$", "a MobileNet, or another of its kind"),
    (r"(^|\.)(token_embedding|word_embeddings)\.weight$", "a text encoder"),
)


_PARTS: tuple[tuple[str, str, str], ...] = (
    (
        r"(^|\.)_?flat_param$",
        "those that FullyShardedDataParallel flattened, one process's part of them",
        "Save the full state_dict, or load the .distcp folder of that training.",
    ),
    (
        r"\.lora_[AB]\.",
        "LoRA adapters, apart from the weights that they change",
        "Merge them into the network (merge_and_unload) and save its state_dict.",
    ),
)
"""Names of what is no whole network, what it is, and what to do."""
_BEHIND = {"dino_head", "ibot_head", "head", "linear_head", "classifier", "fc", "predictor", "discriminator"}


def refuse_others(keys: Iterable[str], name: str) -> None:
    """Refuse what is known to be another network than those read here.

    Parameters
    ----------
    keys
        Names of the tensors of one network.
    name
        Name of the file in sentences.

    Raises
    ------
    CheckpointError
        If they are such a network's; the sentence names it.
    """
    names = tuple(keys)
    joined = "\n".join(names)
    if names and (set(names) <= {"weight", "bias"} or all(_BEHIND & set(key.split(".")) for key in names)):
        raise CheckpointError(
            f"Expected an encoder; {name} has a head, or another part of a training, alone. Load the file of "
            "its encoder."
        )
    for pattern, what, then in _PARTS:
        if re.search(pattern, joined, re.MULTILINE):
            raise CheckpointError(f"Expected an encoder's own weights; {name} has {what}. {then}")
    for pattern, what in _OTHERS:
        if re.search(pattern, joined, re.MULTILINE):
            raise CheckpointError(
                f"Expected a network of those read here; {name} holds {what}. That is another network, and "
                "cannot be loaded."
            )
