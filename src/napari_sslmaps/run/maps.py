"""Embeddings → maps, as the options of a run ask for them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast, get_args

from napari_sslmaps.core.grid import Points
from napari_sslmaps.core.results import Embedding, TokenMap
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.errors import InvalidAnchorError, InvalidOptionError
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.maps.attention import (
    ActivationMap,
    AttentionMap,
    AttentionStack,
    Reduction,
    activation_map,
    attention_map,
)
from napari_sslmaps.maps.difference import DifferenceMap, difference_map
from napari_sslmaps.maps.groups import AnchorGroup, GroupMap, group_map
from napari_sslmaps.maps.pca import COMPONENTS, ComponentBasis, ComponentMap, Foreground, Rendering, pca_map
from napari_sslmaps.maps.pca_alignment import align_colours
from napari_sslmaps.maps.similarity import Combine, SimilarityMap, similarity_map
from napari_sslmaps.pipeline.attention import attend
from napari_sslmaps.records.run import RunOptions
from napari_sslmaps.run.outcome import EncoderOutcome
from napari_sslmaps.run.request import RunRequest

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder

ATTENTION_OF = ("output", "anchor", "rollout")
_NO_ANCHOR = "Expected an anchor whose token attends; got none. Give one, or ask for attention of the output."


def check_attention(options: RunOptions, *, depth: int, heads: int, anchors: Points, elsewhere: bool) -> None:
    """Refuse attention that no encoder can give.

    Parameters
    ----------
    options
        What is asked for.
    depth, heads
        Most blocks, and most heads of one, among the encoders; 0 refuses neither.
    anchors, elsewhere
        Where they are, and whether that is in another image.

    Raises
    ------
    InvalidOptionError
        If there is no such kind, or no transformer among the encoders has that block or head.
    InvalidAnchorError
        If it is the anchor's, and there is none.
    """
    if options.attention_of not in ATTENTION_OF:
        kinds = ", ".join(ATTENTION_OF)
        raise InvalidOptionError(f"Expected attention of {kinds}; got {options.attention_of!r}.")
    if options.reduction not in get_args(Reduction):
        raise InvalidOptionError(f"Expected the reduction 'mean' or 'max'; got {options.reduction!r}.")
    if options.attention_of == "anchor" and not anchors:
        raise InvalidAnchorError(_NO_ANCHOR)
    if options.attention_of == "anchor" and elsewhere:
        raise InvalidAnchorError(
            "Expected an anchor in this image, as attention does not reach into another one; the anchors lie "
            "in a reference. Ask for attention of the output."
        )
    if depth and options.block is not None and not (1 <= abs(options.block) <= depth):
        raise InvalidOptionError(
            f"Expected a block from 1 to {depth}, or from −1 to −{depth}; got {options.block}."
        )
    if heads and options.head is not None and not 0 <= options.head < heads:
        raise InvalidOptionError(f"Expected a head from 0 to {heads - 1}; got {options.head}.")


def stack_of(
    embedding: Embedding, encoder: "Encoder", options: RunOptions, anchors: Points
) -> AttentionStack | None:
    """Compute attention that an embedding does not hold; None where it holds it, or of a CNN.

    Parameters
    ----------
    embedding, encoder
        The encoder is run again, on the embedding's region.
    options
        Which block, and whose attention.
    anchors
        The last one asks, if it is an anchor's attention.

    Raises
    ------
    InvalidAnchorError
        If there is none to ask.
    """
    shape = encoder.spec.architecture
    if not isinstance(shape, ViTArchitecture) or is_kept(options):
        return None
    block = options.block
    if block is not None:
        block = max(-shape.depth, min(block, shape.depth))
    if options.attention_of == "anchor":
        if not anchors:
            raise InvalidAnchorError(_NO_ANCHOR)
        return attend(embedding, encoder, block=block, anchor=anchors[-1])
    return attend(embedding, encoder, block=block, rollout=options.attention_of == "rollout")


def is_kept(options: RunOptions) -> bool:
    """Whether every embedding holds the attention that is asked for: of the output, in the last block."""
    return options.block is None and options.attention_of == "output"


def attention_of(
    embedding: Embedding, stack: AttentionStack | None, options: RunOptions
) -> AttentionMap | ActivationMap | None:
    """Make the map of attention, of the nearest head there is, or of activation; None if there is neither."""
    if stack is None and embedding.activation is not None:
        return activation_map(embedding)
    if stack is None and (embedding.attention is None or not is_kept(options)):
        return None
    heads = embedding.attention if stack is None else stack.heads
    count = 0 if heads is None else len(heads)
    head = None if options.head is None else min(options.head, count - 1)
    return attention_map(stack or embedding, head, reduction=cast("Reduction", options.reduction))


def components_of(
    embeddings: Sequence[Embedding], options: RunOptions, bases: Sequence[ComponentBasis | None] = ()
) -> list[ComponentMap | None]:
    """Make PCA maps: by a basis, where one is given for an embedding, else fitted; aligned if asked.

    None stands for tokens with fewer than three channels.
    """
    known = bases or [None] * len(embeddings)
    found = [_components(*pair, options) for pair in zip(embeddings, known, strict=True)]
    if not options.aligned:
        return found
    aligned = iter(align_colours([item for item in found if item is not None]))
    return [None if item is None else next(aligned) for item in found]


def _components(
    embedding: Embedding, basis: ComponentBasis | None, options: RunOptions
) -> ComponentMap | None:
    if embedding.tokens.shape[-1] < COMPONENTS:
        return None
    rendering = cast("Rendering", options.rendering)
    if basis is not None:
        return pca_map(embedding, rendering=rendering, basis=basis)
    foreground = cast("Foreground", options.foreground or None)
    return pca_map(embedding, rendering=rendering, foreground=foreground)


def similarity_of(
    embedding: Embedding,
    options: RunOptions,
    anchors: Points,
    negative: Points,
    reference: Embedding | None = None,
) -> SimilarityMap | None:
    """Make the map of similarity to anchors; None without any."""
    if not anchors:
        return None
    return similarity_map(
        embedding,
        anchors,
        negative=negative,
        combine=cast("Combine", options.combine),
        centred=options.centred,
        reference=reference,
    )


def groups_of(
    embedding: Embedding,
    options: RunOptions,
    groups: Sequence[AnchorGroup],
    reference: Embedding | None = None,
) -> GroupMap | None:
    """Make the map of groups; None without any."""
    if not groups:
        return None
    return group_map(embedding, groups, centred=options.centred, reference=reference)


def outcome_of(
    choice: EncoderChoice,
    encoder: "Encoder",
    embedding: Embedding,
    request: RunRequest,
    *,
    stack: AttentionStack | None = None,
    reference: Embedding | None = None,
) -> EncoderOutcome:
    """Make the maps that one encoder gives by itself; `with_components` adds PCA.

    Parameters
    ----------
    choice, encoder, embedding
        Which, and its tokens; of a control, the encoder it belongs to.
    request
        Anchors, groups and options.
    stack
        From `stack_of`.
    reference
        Tokens of the image that the anchors lie in, if it is another one.
    """
    options, groups = request.options, request.groups
    sought = {group.name: group for group in groups if group.anchors}
    return EncoderOutcome(
        choice=choice,
        spec=encoder.spec,
        precision=encoder.precision,
        embedding=embedding,
        attention=attention_of(embedding, stack, options),
        components=None,
        similarity=similarity_of(embedding, options, request.anchors, request.negative, reference),
        stack=stack,
        groups=groups_of(embedding, options, groups, reference),
        group_similarity={
            name: cast(
                "SimilarityMap",
                similarity_of(embedding, options, tuple(group.anchors), tuple(group.negative), reference),
            )
            for name, group in sought.items()
        },
    )


def differences_of(outcomes: Sequence[EncoderOutcome], pair: Sequence[str]) -> dict[str, DifferenceMap]:
    """Subtract the maps of the second of two encoders from those of the first, by kind; none of no pair.

    Raises
    ------
    InvalidOptionError
        If they are not two of the encoders.
    """
    if not pair:
        return {}
    called = {outcome.choice.name: outcome for outcome in outcomes if not outcome.choice.control}
    called |= {outcome.name: outcome for outcome in outcomes}
    found = [called[name] for name in pair if name in called]
    if len(pair) != 2 or len(found) != 2 or found[0] is found[1]:
        names = ", ".join(outcome.name for outcome in outcomes)
        raise InvalidOptionError(
            f"Expected two of the encoders to subtract ({names}); got {', '.join(pair)}. Name them as they "
            "are called there."
        )
    one, other = found
    pairs: dict[str, tuple[TokenMap | None, TokenMap | None]] = {
        "attention": (one.attention, other.attention),
        "similarity": (one.similarity, other.similarity),
    }
    return {
        kind: difference_map(first, second)
        for kind, (first, second) in pairs.items()
        if first is not None and second is not None
    }


def with_components(
    outcomes: Sequence[EncoderOutcome], options: RunOptions, bases: Sequence[ComponentBasis]
) -> tuple[EncoderOutcome, ...]:
    """Return outcomes with their PCA maps, which are made together where they are aligned.

    Raises
    ------
    InvalidOptionError
        If a basis belongs to none of the encoders.
    """
    for basis in bases:
        if not any(_belongs(basis, outcome) for outcome in outcomes):
            names = ", ".join(outcome.name for outcome in outcomes)
            raise InvalidOptionError(
                f"Expected a PCA basis of one of the encoders ({names}); got one of {basis.encoder!r}, or of "
                "other weights. Components belong to one encoder: give its basis, or run that encoder, too."
            )
    chosen = [next((basis for basis in bases if _belongs(basis, outcome)), None) for outcome in outcomes]
    made = components_of([outcome.embedding for outcome in outcomes], options, chosen)
    return tuple(replace(outcome, components=one) for outcome, one in zip(outcomes, made, strict=True))


def _belongs(basis: ComponentBasis, outcome: EncoderOutcome) -> bool:
    """Whether a basis is of an encoder, whatever that is called by now; controls have bases of their own."""
    made = outcome.embedding.provenance
    if outcome.choice.control or not basis.weights_sha256:
        return basis.encoder == made.encoder
    return basis.weights_sha256 == made.weights_sha256
