"""A method and what can be said of it: title, objective, licence, citation."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """Facts that hold for every encoder of a method.

    Parameters
    ----------
    title
        The method's name as its authors write it.
    objective
        What the encoder was trained to do, in a few words.
    licence
        Licence of the authors' published weights, shown beside a user's file.
    citation
        Where the method is described.
    normalisation
        Preset that its files expect unless told otherwise.
    eps
        LayerNorm epsilon of the authors' code; files do not hold it.
    attention_note
        How to read its attention map.
    """

    title: str
    objective: str
    licence: str
    citation: str
    normalisation: str
    eps: float
    attention_note: str
