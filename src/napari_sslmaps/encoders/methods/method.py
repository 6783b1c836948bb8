"""A method: what is said of it, how its files name things, and what its task lets a user change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from napari_sslmaps.encoders.recognition import Translated, Unwrapped

Edits = Literal["paint", "blocks", "crops", "distort", ""]
RECONSTRUCTION, PREDICTION, INVARIANCE = "pixel reconstruction", "latent prediction", "view invariance"
"""Objectives that the advisor tells apart."""
HEADS_OF_WIDE: Mapping[int, int] = {1152: 16, 1280: 16, 1408: 16, 1664: 16}
"""Heads of so400m, ViT-H, ViT-g and ViT-G by token width, in most codes; those of DINOv3 are 64 wide."""


@dataclass(frozen=True, slots=True)
class KeyLayout:
    """Key names of files that a method's own code writes.

    Parameters
    ----------
    fits
        Whether a file has these names; layouts of methods are asked in the order of `METHODS`.
    translate
        Function that brings its tensors under our names.
    """

    fits: Callable[[Unwrapped], bool]
    translate: Callable[[Unwrapped], Translated]


@dataclass(frozen=True, slots=True)
class ModelType:
    """Folders that transformers saves of a method, told by ``model_type`` in their ``config.json``.

    Parameters
    ----------
    heads, eps
        Defaults of transformers where the config is silent.
    antialias
        Whether transformers resamples added positions for another grid with a low-pass filter.
    rope
        Whether positions are rotary.
    mask_token
        Whether the mask token, (1, 1, D) there, is one that the method's task needs, as (1, D).
    """

    heads: int = 12
    eps: float = 1e-12
    antialias: bool = False
    rope: bool = False
    mask_token: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim of a method's paper, where scores here can be held against it.

    Parameters
    ----------
    paper
        Short reference of the paper.
    text
        The claim, after "claims".
    scores
        Keys of the two scores that show it on a user's images.
    """

    paper: str
    text: str
    scores: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Method:
    """Facts that hold for every encoder of a method.

    Parameters
    ----------
    name
        Key in files, options and records.
    title
        The method's name as its authors write it.
    objective
        Task that the encoder was trained on, in a few words.
    citation
        Reference of the paper or code that describes it.
    normalisation
        Preset that its files expect unless told otherwise.
    eps
        LayerNorm epsilon of the authors' code; files do not hold it.
    attention_note
        Sentence on how to read its attention map.
    learns_from
        The kind of objective, as the advisor compares them.
    families
        Kinds of networks that it trains; the first is the usual one.
    claim
        Claim of its paper beyond that.
    tags
        Words in the tags of timm's weights that say it, beside its name.
    named_statistics
        Other presets that some of its files expect, by a word in the names that their authors gave them.
    heads_by_width
        Heads of its published transformers by token width, where heads are not 64 wide.
    antialias, position_offset
        Resampling of added positions by its own code; as in `ViTArchitecture`.
    fixed_positions
        Whether its transformers start with Xavier weights and fixed sine-cosine positions.
    patch_gain
        Factor on the patch embedding that they start with.
    beside
        Beginnings of keys in its files that are no part of the encoder, with what they are.
    pretext_parts
        Beginnings of keys, under our names, of what its task needs beside the encoder, in words.
    layouts
        Key names of its own code.
    own_names
        Whether files of its own code never have timm's names, so that files with these are timm's.
    model_types
        Types of its folders of transformers, by ``model_type``.
    converted_branch
        Network that timm and transformers carry, where it trains two: a value of `Overrides.branch`.
    pretext
        Path of its task as a function, ``module:name``, called with input, encoder and options; empty if it
        has none.
    unshown
        Reason why its task cannot be shown, to follow a colon; empty if it has one that can.
    edits
        Things that a user can change of that task by hand.
    file_holds
        Other contents of the weight file of an encoder of this package; empty if none is trained here.
    rights
        Conditions that its authors set for its use, and what of theirs was not used here.
    """

    name: str
    title: str
    objective: str
    citation: str
    normalisation: str
    eps: float
    attention_note: str
    learns_from: str
    families: tuple[str, ...] = ("vit",)
    claim: Claim | None = None
    tags: tuple[str, ...] = ()
    named_statistics: Mapping[str, str] = field(default_factory=dict)
    heads_by_width: Mapping[int, int] = field(default_factory=dict)
    antialias: bool = True
    position_offset: float = 0.0
    fixed_positions: bool = False
    patch_gain: float = 1.0
    beside: Mapping[str, str] = field(default_factory=dict)
    pretext_parts: Mapping[str, str] = field(default_factory=dict)
    layouts: tuple[KeyLayout, ...] = ()
    own_names: bool = False
    model_types: Mapping[str, ModelType] = field(default_factory=dict)
    converted_branch: str = ""
    pretext: str = ""
    unshown: str = ""
    edits: Edits = ""
    file_holds: str = ""
    rights: str = ""
