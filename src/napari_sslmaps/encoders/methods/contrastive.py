"""Contrastive learning: facts of what MoCo, RetCCL and CONCH have in common; their task cannot be shown."""

from napari_sslmaps.encoders.methods.method import INVARIANCE, Method

CONTRASTIVE = Method(
    name="contrastive",
    title="Contrastive",
    objective="brings together what belongs together, views of an image or an image and its caption, and "
    "keeps the rest apart",
    citation="He et al., Momentum Contrast for Unsupervised Visual Representation Learning, arXiv 1911.05722",
    normalisation="imagenet",
    eps=1e-6,
    attention_note="CLS query; a CNN has no attention: activation is shown instead",
    learns_from=INVARIANCE,
    families=("vit", "unet"),
)
