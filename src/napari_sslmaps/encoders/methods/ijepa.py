"""I-JEPA: its facts, and key names of its files."""

from dataclasses import replace

from napari_sslmaps.encoders.methods.method import HEADS_OF_WIDE, PREDICTION, KeyLayout, Method, ModelType
from napari_sslmaps.encoders.recognition import Fact, Translated, Unwrapped, separate

_BESIDE = {"predictor.": "predictor", "context.": "the other branch"}
_BRANCHES = {
    "target_encoder": ("target", "the target encoder, which the paper evaluates"),
    "encoder": ("encoder", "the context encoder"),
}


def _is_ijepa(file: Unwrapped) -> bool:
    """Whether a context or target encoder, which have no CLS token, lay under that name."""
    keys = file.tensors
    is_branch = bool(set(_BRANCHES) & set(file.container.split(".")))
    return is_branch and "patch_embed.proj.weight" in keys and "cls_token" not in keys


def translate_ijepa(file: Unwrapped) -> Translated:
    """Translate a file of I-JEPA's own training, or one branch of it."""
    translated = separate(file, "I-JEPA", _BESIDE)
    branch = _BRANCHES.get(file.container.rpartition(".")[2])
    facts = {} if branch is None else {"branch": Fact(*branch)}
    if "predictor" in translated.left_out.values():
        facts["method"] = Fact("ijepa", "a predictor beside it")
    return replace(translated, facts=facts)


IJEPA = Method(
    name="ijepa",
    title="I-JEPA",
    objective="predicts the latent tokens of masked blocks",
    citation="Assran et al., Self-Supervised Learning from Images with a Joint-Embedding Predictive "
    "Architecture, arXiv 2301.08243",
    normalisation="imagenet",
    eps=1e-6,
    attention_note="mean over patch queries; there is no CLS token",
    learns_from=PREDICTION,
    heads_by_width=HEADS_OF_WIDE,
    antialias=False,
    fixed_positions=True,
    patch_gain=4.0,
    beside=_BESIDE,
    pretext_parts={"predictor.": "predictor", "context.": "the other branch"},
    layouts=(KeyLayout(_is_ijepa, translate_ijepa),),
    model_types={"ijepa": ModelType()},
    converted_branch="encoder",
    file_holds="the target encoder, which the paper evaluates, and the predictor",
    rights="The authors' code and weights (CC-BY-NC-4.0) were not used.",
    pretext="napari_sslmaps.pretext.ijepa:prediction_view",
    edits="blocks",
)
