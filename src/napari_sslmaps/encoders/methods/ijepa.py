"""I-JEPA: key names of its files."""

from dataclasses import replace

from napari_sslmaps.encoders.recognition import Fact, Translated, Unwrapped, separate

_BRANCHES = {
    "target_encoder": ("target", "the target encoder, which the paper evaluates"),
    "encoder": ("encoder", "the context encoder"),
}


def translate_ijepa(file: Unwrapped) -> Translated:
    """Translate a file of I-JEPA's own training, or one branch of it."""
    translated = separate(file, "I-JEPA", {"predictor.": "predictor", "context.": "the other branch"})
    branch = _BRANCHES.get(file.container.rpartition(".")[2])
    return translated if branch is None else replace(translated, facts={"branch": Fact(*branch)})
