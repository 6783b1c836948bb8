"""Choice, among everything in a file, of the one network that is wanted, and of what lies beside it."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from torch import Tensor

from napari_sslmaps.encoders.checkpoint.open import Opened, open_weights
from napari_sslmaps.encoders.checkpoint.spellings import respell
from napari_sslmaps.encoders.families.registry import FAMILIES
from napari_sslmaps.encoders.overrides import Branch
from napari_sslmaps.encoders.recognition import Unwrapped
from napari_sslmaps.errors import CheckpointError, InvalidOptionError

_AVERAGES = (
    *("target_encoder", "teacher", "teacher_backbone", "model_ema", "ema_model", "ema", "state_dict_ema"),
    *("momentum_encoder", "momentum_backbone", "backbone_momentum"),
)
_EVALUATED = 7
_USUAL = (*_AVERAGES[:_EVALUATED], "encoder_q", "base_encoder", "backbone")
"""MoCo's papers, solo-learn and lightly evaluate what was trained, the others an average."""
_TRAINED = (
    *("encoder", "student", "student_backbone", "encoder_q", "base_encoder", "online_model"),
    *("state_dict", "model", "backbone"),
)
_AVERAGE_WORDS = frozenset({"teacher", "ema", "target", "average", "averaged", "swa", "shadow"})
_MOMENTUM_WORDS = frozenset({"momentum", "moving", "key", "k"})
_TRAINED_WORDS = frozenset({"student", "online", "query", "q"})
"""Parts of the words that other codes put before the keys of what they average and of what they train."""
_COUNTERS = {"n_averaged", "num_updates", "initted", "step", "decay"}
OTHER = "the other branch"
_LISTED = 12


def unwrap(path: Path, branch: Branch | None = None) -> Unwrapped:
    """Open a weight file or folder and `pick` the encoder's tensors."""
    return pick(open_weights(path), path.name, branch)


def pick(opened: Opened, name: str, branch: Branch | None = None) -> Unwrapped:
    """Find the encoder's tensors among everything in a file.

    Parameters
    ----------
    opened
        Content of the file.
    name
        Name of the file in sentences.
    branch
        Network to take from a file with several: the ``target`` encoder or teacher (the default), which
        I-JEPA's and DINO's papers evaluate, or the ``encoder`` that gradients trained.

    Raises
    ------
    CheckpointError
        If there are no tensors, or several networks of which none is told to be wanted.
    InvalidOptionError
        If the branch that was asked for is not there.
    """
    opened = respell(opened)
    names = tuple(opened.tensors)
    if not names:
        raise CheckpointError(_nothing_found(opened, name))
    found = networks(names)
    if not found:
        return Unwrapped(opened.tensors, header=opened.header, args=opened.args, mapped=opened.mapped)
    prefix = _choose(found, name, branch)
    scope = prefix.removesuffix("backbone.")
    inside: dict[str, Tensor] = {}
    outside: dict[str, tuple[str, Tensor]] = {}
    left_out = dict.fromkeys(opened.training, "state of the training")
    jointly_predicted = any(key.startswith("predictor.") for key in names)
    for key in names:
        if key.rpartition(".")[2] in _COUNTERS:
            left_out[key] = "counter of an average"
            continue
        owner = max((other for other in found if key.startswith(other)), key=len, default=None)
        if owner == prefix:
            inside[key.removeprefix(prefix)] = opened.tensors[key]
        elif owner is not None and not jointly_predicted:
            left_out[key] = OTHER
        elif owner is not None:
            outside[f"context.{key.removeprefix(owner)}"] = key, opened.tensors[key]
        elif key.startswith((scope, "predictor.")):
            outside[key.removeprefix(scope)] = key, opened.tensors[key]
        else:
            left_out[key] = "beside the encoder"
    return Unwrapped(
        tensors=inside,
        container=prefix.rstrip("."),
        header=opened.header,
        args=opened.args,
        left_out=left_out,
        outside=outside,
        mapped=opened.mapped,
        config=opened.config,
        spelling=opened.spelling,
    )


def networks(names: Iterable[str]) -> tuple[str, ...]:
    """Return what stands before the keys of each network, of any family, among dotted names."""
    known = set(names)
    return tuple(sorted(set().union(*(family.prefixes(known) for family in FAMILIES.values()))))


def _choose(found: tuple[str, ...], name: str, branch: Branch | None) -> str:
    """Choose among several networks by the words before their keys; one alone is what is wanted."""
    if len(found) < 2:
        if branch == "encoder":
            raise InvalidOptionError(
                f"Expected two networks in {name} to choose branch='encoder' from; it has one. "
                "Leave the branch out."
            )
        return found[0]
    if "" in found and branch is None:
        return ""
    parts = [prefix.split(".") for prefix in found]
    places = range(min(map(len, parts)))
    shared = next((place for place in places if len({part[place] for part in parts}) > 1), 0)
    for fits in _marks(branch):
        fitting = [prefix for prefix in found if fits(".".join(prefix.split(".")[shared:]))]
        if fitting and len(fitting) < len(found):  # a word that all have tells nothing
            return min(fitting, key=len)
    listed = ", ".join(prefix or "(no prefix)" for prefix in found)
    raise CheckpointError(
        f"Expected one network in {name}, or two of which one is a teacher, target encoder or average; it "
        f"has {listed}. Save the one you want in a file of its own."
    )


_Fits = Callable[[str], bool]


def _marks(branch: Branch | None) -> tuple[_Fits, ...]:
    """Return what tells the network that is wanted by the words before its keys, the surest first."""
    averages, moving = tuple(map(_named, _AVERAGES)), tuple(map(_named, _USUAL))
    if branch == "encoder":
        return (*map(_named, _TRAINED), _among(_TRAINED_WORDS), lambda prefix: not _is_average(prefix))
    if branch == "target":
        return (*averages, _is_average)
    trained = _among(_TRAINED_WORDS), lambda prefix: not _is_average(prefix)
    return (*moving[:_EVALUATED], _among(_AVERAGE_WORDS), *moving[_EVALUATED:], *trained)


def _named(word: str) -> _Fits:
    return lambda prefix: word in prefix.split(".")


def _among(words: frozenset[str]) -> _Fits:
    return lambda prefix: bool(words & set(re.split(r"[._]", prefix.lower())))


def _is_average(prefix: str) -> bool:
    return _among(_AVERAGE_WORDS | _MOMENTUM_WORDS)(prefix)


def _nothing_found(opened: Opened, name: str) -> str:
    keys = ", ".join(opened.training[:_LISTED]) or "none"
    return f"Expected named tensors in {name}; found none. Its keys: {keys}."
