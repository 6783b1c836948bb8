"""What every layout is translated to: encoder and companions under our key names, and what is said of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Fact:
    """A value that the file itself, or what lies beside it, says.

    Parameters
    ----------
    value
        Of the type that the field has elsewhere.
    how
        Where it says so, for example ``num_attention_heads in config.json``.
    """

    value: Any
    how: str


@dataclass(frozen=True, slots=True)
class Companions:
    """What a pretext task needs beside the encoder.

    Keys of `state` are those of this package's own files:

    - MAE: ``mask_token`` (1, 1, w), ``decoder_embed``, ``decoder_pos_embed`` (1, 1 + N, w),
      ``decoder_blocks.N`` (timm's Block), ``decoder_norm``, ``decoder_pred``;
    - I-JEPA: ``predictor.`` + ``predictor_embed``, ``mask_token``, ``predictor_pos_embed`` (1, N, w),
      ``predictor_blocks.N``, ``predictor_norm``, ``predictor_proj``; ``context.`` + the other branch's
      encoder in timm's names, where the file has it;
    - DINOv3: ``mask_token`` (1, D), ``dino_head.``, ``ibot_head.``;
    - DiRA: ``discriminator.``, ``projection.``; the U-Net's decoder belongs to the network.

    Parameters
    ----------
    state
        Tensors, perhaps memory-mapped, of the file's precision.
    settings
        What weights do not tell: ``decoder_heads``, ``predictor_heads``, ``norm_pix``, ``mask_ratio``, …;
        a key that is missing is unknown.
    """

    state: Mapping[str, Tensor] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Translated:
    """An encoder's tensors under our key names.

    Parameters
    ----------
    layout
        Whose key names the file had.
    state
        What the network's ``load_state_dict`` takes.
    buffers
        Values of buffers that timm does not keep in its state.
    left_out
        Key in the file, and reason, of what is not part of the encoder; companions among them.
    companions
        What its pretext task needs.
    facts
        What the file says beyond shapes, by field: ``method``, ``heads``, ``eps``, ``normalisation``, ….
    """

    layout: str
    state: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    companions: Companions = field(default_factory=Companions)
    facts: Mapping[str, Fact] = field(default_factory=dict)
