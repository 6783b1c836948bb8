"""A transformer's architecture from its weights: shapes, and the two values that no shape tells.

No shape tells the number of heads. But training makes the rows of W_q (and of W_k) that belong to one head
more alike, up to sign, than rows of different heads: they span the little space in which that head compares
tokens. So the squared cosines of all pairs of rows, summed over blocks, correlate with "both rows in the same
head", and the most for the true width of a head. On the transformers of this package the correlation is 0.15
to 0.49 there and lower at every other width; for untrained weights it is below 0.03 at all widths. Nothing
else makes neighbouring rows alike: within a head, and from head to head, their order is arbitrary.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from napari_sslmaps.encoders.families.family import Case
from napari_sslmaps.encoders.families.relative_positions import OF_CLASS, offsets
from napari_sslmaps.encoders.families.vit import MARK, ViTArchitecture, check_heads
from napari_sslmaps.encoders.methods.method import Method
from napari_sslmaps.encoders.recognition import CHANNELS, Fact, Translated, check_stated, count_of, shape_of
from napari_sslmaps.encoders.spec import Architecture, RopeCoords, check_eps
from napari_sslmaps.errors import CheckpointError, InvalidOptionError

_HEAD_WIDTH = 64
_ALIKE = "rows of W_q and W_k within one head are alike"


def recognise_vit(case: Case, method: Method, written: Architecture | None) -> Architecture:
    """Return a transformer's architecture: shapes, and what was given, told or inferred beyond them.

    Parameters
    ----------
    case, method
        The file, and which method it is of.
    written
        Architecture that the file itself states; None if it states none.

    Raises
    ------
    CheckpointError
        If the file tells no number of heads and suggests none, or is none of a transformer for images.
    InvalidOptionError
        If the number of heads does not divide the width.
    """
    given = case.overrides
    if written is not None:
        described = written.corrected(
            num_heads=given.num_heads,
            eps=given.eps,
            antialias=given.antialias,
            offset=given.offset,
            rope_coords=given.rope_coords,
            relative_rule=given.relative_rule,
        )
        if given.rope_coords is not None and not getattr(described, "rope", False):
            case.doubts.append(_NOT_ROTARY)
        _check_written(described, case)
        if described.attention_heads != written.attention_heads:
            case.doubts.append(
                f"You gave {described.attention_heads} heads; the file itself says "
                f"{written.attention_heads}. Another number gives other maps."
            )
        case.note("architecture", described.summary, "written in the file")
        return described
    architecture = vit_shape(case, method, _heads(case, method), _eps(case, method))
    case.note("architecture", architecture.summary, "shapes of the tensors")
    return architecture


_FIELDS_OF_SHAPES = (
    *("patch", "dim", "depth", "mlp_hidden", "class_token", "registers"),
    *("rope", "layer_scale", "qkv_bias", "swiglu", "channels", "added"),
)


def _check_written(written: Any, case: Case) -> None:
    """Compare what a file says of itself with its tensors, before anything is built as large as it says."""
    check_eps(written.eps)
    check_heads(written.heads, vit_width(case.translated.state)[0])
    seen = _blocks(case, written.heads, written.eps)
    pairs = {name: (getattr(written, name), getattr(seen, name)) for name in _FIELDS_OF_SHAPES}
    if seen.relative:
        rows = shape_of(case.translated.state, TABLE)[0]
        pairs["offsets"] = math.prod(offsets(written.grid)) + OF_CLASS, rows
    pairs["relative positions"] = bool(written.relative), bool(seen.relative)
    if not seen.rope and seen.added:
        count, claimed = shape_of(case.translated.state, "pos_embed")[1], math.prod(written.grid)
        fits = claimed <= count <= claimed + seen.class_token + seen.registers
        pairs["positions"] = claimed, claimed if fits else count
    check_stated(pairs, case.name)


def _eps(case: Case, method: Method) -> float:
    fact = case.translated.facts.get("eps")
    if case.overrides.eps is not None:
        case.note("eps", f"{case.overrides.eps:g}", "given")
        return case.overrides.eps
    if fact is not None:
        case.note("eps", f"{fact.value:g}", fact.how)
        return float(fact.value)
    case.note("eps", f"{method.eps:g}", f"what {method.title}'s own code uses")
    case.doubts.append(f"LayerNorm's epsilon is not in the file; {method.eps:g} is assumed.")
    return method.eps


def _heads(case: Case, method: Method) -> int:
    """Heads as given, told, or spoken for by the weights; as usual for the width where those say nothing."""
    state = case.translated.state
    dim, _ = vit_width(state)
    given, stated = case.overrides.num_heads, _stated_heads(case, dim)
    if given is not None:
        heads = check_heads(given, dim)
        case.note("heads", heads, "given")
        _doubt_given(case, heads, stated)
        return heads
    if stated is not None:
        case.note("heads", stated[0], stated[1])
        if "heads" in case.translated.facts and dim <= _WIDEST:
            _doubt_stated(case, dim, stated[0])
        return check_heads(stated[0], dim)
    others = case.translated.facts.get("usual_heads", Fact(method.heads_by_width, "")).value
    usual = others.get(dim, dim // _HEAD_WIDTH if dim % _HEAD_WIDTH == 0 else 0)
    return _weighed_heads(case, dim, usual)


def _weighed_heads(case: Case, dim: int, usual: int) -> int:
    """Choose between the usual number, 0 if there is none, and the one that the weights speak for."""
    evidence = weigh_heads(case.translated.state, dim, count_of(case.translated.state, BLOCKS))
    if evidence.heads is not None and (not usual or evidence.contradicts(usual)):
        case.note("heads", evidence.heads, f"the weights themselves: {_ALIKE}")
        case.doubts.append(
            f"The number of heads is not in the file; its weights speak for {evidence.heads}"
            + (f", though {usual} is usual for this width" if usual else "")
            + ". Set num_heads otherwise."
        )
        return evidence.heads
    if not usual:
        raise CheckpointError(
            f"The file does not tell its number of heads, and a width of {dim} suggests none. "
            "Pass num_heads=."
        )
    agreed = evidence.heads == usual
    how = "the usual number for this width"
    case.note("heads", usual, f"{how}, and the weights agree: {_ALIKE}" if agreed else how)
    if not agreed:
        rather = f", though its weights rather speak for {evidence.heads}" if evidence.heads else ""
        case.doubts.append(
            f"The number of heads is not in the file; {usual} is assumed{rather}. Set num_heads otherwise."
        )
    return usual


def _stated_heads(case: Case, dim: int) -> tuple[int, str] | None:
    """Heads that the file says in words, or by the number of its rotary periods."""
    fact = case.translated.facts.get("heads")
    if fact is not None:
        return int(fact.value), fact.how
    if TABLE in case.translated.state:
        return _table_shape(case)[1], "columns of its tables of relative positions"
    periods = case.translated.buffers.get("rope.periods")
    if periods is not None:
        return dim // (4 * len(periods)), "width over four times the number of rotary periods"
    return None


_WIDEST = 2048
"""Width up to which weights are asked whether they contradict what is told; beyond, it takes too long."""


def _doubt_stated(case: Case, dim: int, stated: int) -> None:
    state = case.translated.state
    evidence = weigh_heads(state, dim, count_of(state, BLOCKS))
    if evidence.contradicts(stated):
        case.doubts.append(
            f"The file says {stated} heads, but its weights clearly speak for {evidence.heads}: {_ALIKE}. "
            "Set num_heads, or look whether config.json is of another network."
        )


def _doubt_given(case: Case, heads: int, stated: tuple[int, str] | None) -> None:
    if stated is not None and stated[0] == heads:
        return
    state = case.translated.state
    evidence = weigh_heads(state, vit_width(state)[0], count_of(state, BLOCKS))
    if stated is not None and evidence.heads != heads:
        case.doubts.append(f"You gave {heads} heads; the file says {stated[0]} ({stated[1]}).")
    elif evidence.contradicts(heads):
        case.doubts.append(
            f"You gave {heads} heads; the weights themselves speak for {evidence.heads}: rows of W_q and W_k "
            "are alike within heads of that width. Another number loads, and gives other tokens and maps."
        )


BLOCKS = "blocks."
TABLE = "blocks.0.attn.relative_position_bias_table"
WIDTHS = (16, 128)
"""Narrowest and widest head that is looked for."""
_CLEAR, _OTHERWISE = 0.08, 0.75
_BLOCKS = 12


@dataclass(frozen=True, slots=True)
class HeadEvidence:
    """Evidence that weights hold for the number of heads.

    Parameters
    ----------
    heads
        The number they speak for; None if they say nothing, as untrained ones do.
    correlations
        Correlation, in [-1, 1], of squared cosines between rows with their belonging to one head; by number
        of heads.
    """

    heads: int | None
    correlations: Mapping[int, float]

    def contradicts(self, heads: int) -> bool:
        """Whether the weights clearly speak for another number."""
        if self.heads is None or self.heads == heads:
            return False
        return self.correlations.get(heads, 0.0) < _OTHERWISE * self.correlations[self.heads]


def weigh_heads(state: Mapping[str, Tensor], dim: int, depth: int) -> HeadEvidence:
    """Look for the number of heads that the rows of W_q and W_k speak for.

    Parameters
    ----------
    state
        Tensors with ``blocks.N.attn.qkv.weight``, (3 D, D); a block that lacks it says nothing.
    dim, depth
        Token width D, and number of blocks; at most twelve of them, evenly spread, are looked at.
    """
    widths = [width for width in range(WIDTHS[0], min(WIDTHS[1], dim // 2) + 1) if dim % width == 0]
    alike = _squared_cosines(state, dim, depth)
    spread = float(alike[~torch.eye(dim, dtype=torch.bool)].std())
    if not widths or not math.isfinite(spread) or spread == 0:
        return HeadEvidence(None, {})
    correlations = {dim // width: _correlation(alike, width, spread) for width in widths}
    best = max(correlations, key=lambda heads: correlations[heads])
    clear = correlations[best] >= max(_CLEAR, 5 / dim)
    return HeadEvidence(best if clear else None, correlations)


def _squared_cosines(state: Mapping[str, Tensor], dim: int, depth: int) -> Tensor:
    """Sum, over blocks and over q and k, of the squared cosine of each pair of rows, (D, D)."""
    summed = torch.zeros(dim, dim)
    for index in sorted(
        {index * depth // _BLOCKS for index in range(_BLOCKS)} if depth > _BLOCKS else range(depth)
    ):
        weight = state.get(f"blocks.{index}.attn.qkv.weight")
        if weight is None or weight.shape != (3 * dim, dim):
            continue  # a damaged file; filling the network says what is missing
        for rows in (weight[:dim], weight[dim : 2 * dim]):
            unit = functional.normalize(rows.float(), dim=1)
            summed += (unit @ unit.T) ** 2
    return summed.fill_diagonal_(0.0)


def _correlation(alike: Tensor, width: int, spread: float) -> float:
    """Correlate pairs of different rows with belonging to one head of `width` rows (point-biserial)."""
    dim = len(alike)
    count = dim * (dim - 1)
    heads = dim // width
    within = alike.reshape(heads, width, heads, width).diagonal(dim1=0, dim2=2)
    share = (width - 1) / (dim - 1)
    mean, mean_within = float(alike.sum()) / count, float(within.sum()) / (share * count)
    return (mean_within - mean) / spread * math.sqrt(share / (1 - share))


def vit_shape(case: Case, method: Method, heads: int, eps: float) -> ViTArchitecture:
    """Read the shape of a transformer off its tensors.

    Parameters
    ----------
    case
        Case with the tensors under our key names, and what is told of positions beside them.
    method, heads, eps
        Facts that shapes do not tell; the method says how positions are resampled, unless the file is timm's.

    Raises
    ------
    CheckpointError
        If a tensor that tells it is missing or no transformer's.
    """
    if TABLE in case.translated.state and "relative" not in case.translated.facts:
        raise CheckpointError(
            f"Expected tables of relative positions in the names of BEiT's own code, timm or transformers; "
            f"those of {case.name} are in {case.translated.layout}'s, which are not read."
        )
    shape = _blocks(case, heads, eps)
    if shape.rope and not any(usual.rope for usual in method.model_types.values()):
        raise InvalidOptionError(
            f"Expected added positions in {case.name}, as {method.title} has them; it has none, so they are "
            "rotary ones. Of these, only DINOv3's are computed here."
        )
    if case.overrides.relative_rule is not None and not shape.relative:
        case.doubts.append("You gave how tables of relative positions are resized; the network has none.")
    if shape.rope:
        return _with_rotation(case, shape)
    placed = _with_positions(case, method, shape) if shape.added else shape
    return _with_tables(case, placed) if shape.relative else placed


def _blocks(case: Case, heads: int, eps: float) -> ViTArchitecture:
    """Read all but positions."""
    translated = case.translated
    state, facts = translated.state, translated.facts
    dim, patch = vit_width(state)
    relative = TABLE in state
    added = "pos_embed" in state
    rope = not added and not relative
    gated = "blocks.0.mlp.fc1_g.weight" in state
    first = shape_of(state, f"blocks.0.mlp.{'fc1_g' if gated else 'fc1'}.weight")[0]
    hidden = shape_of(state, "blocks.0.mlp.fc2.weight")[-1]
    return ViTArchitecture(
        patch=patch,
        dim=dim,
        depth=count_of(state, BLOCKS),
        heads=heads,
        grid=(16, 16),
        mlp_hidden=hidden,
        class_token="cls_token" in state,
        registers=shape_of(state, "reg_token")[1] if "reg_token" in state else 0,
        channels=shape_of(state, MARK)[1],
        rope=rope,
        layer_scale=any(key in state for key in ("blocks.0.gamma_1", "blocks.0.ls1.gamma")),
        qkv_bias=any(key in state for key in ("blocks.0.attn.qkv.bias", "blocks.0.attn.q_bias")),
        swiglu=gated or first == 2 * hidden,
        eps=eps,
        final_norm="norm.weight" in state
        or ("final_norm" not in facts and not any(key.startswith("fc_norm.") for key in translated.left_out)),
        gate=facts["gate"].value if "gate" in facts else "silu",
        added=added or rope,
        relative=facts["relative"].value if relative else "",
    )


_DIVIDED: Mapping[RopeCoords, str] = {
    "separate": "each side normalised by itself",
    "max": "both sides normalised by the longer",
    "min": "both sides normalised by the shorter",
}
_NOT_ROTARY = (
    "You gave how rotary positions are normalised; the network adds its positions, and it was not used."
)


def _with_rotation(case: Case, shape: ViTArchitecture) -> ViTArchitecture:
    """Add how rotary positions are computed: a training's file tells the precision, and no more."""
    periods = case.translated.buffers.get("rope.periods")
    half = periods is not None and periods.dtype == torch.bfloat16
    whole = case.translated.state[MARK].dtype == torch.bfloat16
    coords = case.overrides.rope_coords
    default = (
        "DINOv3's default; files tell neither normalize_coords (rope_coords=), nor rescale, jitter and shift "
        "of training"
    )
    case.note(
        "positions", f"rotary, {_DIVIDED[coords or 'separate']}", default if coords is None else "given"
    )
    if half:
        said = (
            "all weights are bfloat16, so float32 is assumed" if whole else "as its code then computes them"
        )
        case.note("rotation", "float32" if whole else "bfloat16", f"the periods are bfloat16; {said}")
    if case.overrides.keywords.keys() & {"antialias", "offset", "grid"}:
        case.doubts.append("You gave how positions are resampled; rotary ones are not, and it was not used.")
    return replace(shape, rope_bfloat16=half and not whole, rope_coords=coords or "separate")


def _with_tables(case: Case, shape: ViTArchitecture) -> ViTArchitecture:
    """Add the grid of tables of relative positions; say how they are resized."""
    count, heads = _table_shape(case)
    if not shape.class_token or shape.registers or heads != shape.heads:
        raise InvalidOptionError(
            f"Expected {heads} heads, CLS and no registers in {case.name}, as its tables of relative "
            f"positions are for; there are {shape.heads} heads and {shape.registers} registers"
            f"{'' if shape.class_token else ', and no CLS'}. Leave the number of heads to the file."
        )
    grid = shape.grid if shape.added else _grid_of_table(case, count - OF_CLASS)
    if math.prod(offsets(grid)) != count - OF_CLASS:
        raise CheckpointError(
            f"Expected tables of relative positions of {grid[0]} × {grid[1]} tokens in {case.name}, as its "
            f"added positions are; they have {count} rows."
        )
    given, fact = case.overrides.relative_rule, case.translated.facts["relative"]
    rule = given or fact.value
    how = fact.how if given is None else "given"
    case.note("relative positions", f"{grid[0]} × {grid[1]}, for others {_RESIZED[rule]}", how)
    if not shape.added:
        idle = case.overrides.keywords.keys() & {"antialias", "offset", "rope_coords"}
        case.doubts.extend(
            f"You gave {name}, which means nothing to relative positions; it was not used."
            for name in sorted(idle)
        )
    return replace(shape, grid=grid, relative=rule)


_RESIZED: Mapping[str, str] = {
    "geometric-cubic": "by a cubic spline through offsets that lie ever farther apart",
    "geometric-linear": "by straight lines between offsets that lie ever farther apart",
    "bilinear": "as a picture, bilinear",
}


def _table_shape(case: Case) -> tuple[int, int]:
    """Return the rows and columns of a table of relative positions: offsets and those of CLS, by heads."""
    found = shape_of(case.translated.state, TABLE)
    if len(found) != 2 or found[0] <= OF_CLASS or not found[1]:
        raise CheckpointError(
            f"Expected tables of relative positions in {case.name}, (offsets + {OF_CLASS}, heads); got "
            f"{tuple(found)}. The file is damaged or of another network."
        )
    return found[0], found[1]


def _grid_of_table(case: Case, count: int) -> tuple[int, int]:
    """Rows and columns of the grid that a table of so many offsets is of: a square, unless told otherwise."""
    stated = case.translated.facts.get("grid")
    side = math.isqrt(count)
    square = ((side + 1) // 2,) * 2
    for grid in (case.overrides.grid, None if stated is None else stated.value, square):
        if grid and math.prod(offsets(grid)) == count:
            return grid[0], grid[1]
        if grid and grid == case.overrides.grid:
            break
    raise InvalidOptionError(
        f"Expected the grid of tokens that {count} offsets are between; pass grid=(rows, columns) of the "
        "images it was trained on, whose product of 2 rows - 1 and 2 columns - 1 is that number."
    )


def _with_positions(case: Case, method: Method, shape: ViTArchitecture) -> ViTArchitecture:
    """Add the grid of added positions, which prefix tokens have one, and how they are resampled."""
    given = case.overrides
    if given.rope_coords is not None:
        case.doubts.append(_NOT_ROTARY)
    grid, placed = _grid(case, shape)
    antialias, offset, how = _resampling(case.translated, method, shape.registers)
    if given.antialias is not None or given.offset is not None:
        how = "given"
    antialias = antialias if given.antialias is None else given.antialias
    offset = offset if given.offset is None else given.offset
    value = (
        f"{grid[0]} × {grid[1]}, for others {'with' if antialias else 'without'} a filter, offset {offset:g}"
    )
    case.note("positions", value, how)
    usual = replace(shape, grid=grid, antialias=antialias, position_offset=offset)
    return usual if usual.placed_prefix == placed else replace(usual, prefix_positions=placed)


def _resampling(translated: Translated, method: Method, registers: int) -> tuple[bool, float, str]:
    """Return filter and offset, and who resamples so; no file tells them."""
    if "antialias" in translated.facts:
        return translated.facts["antialias"].value, 0.0, translated.facts["antialias"].how
    if registers or (translated.layout == "timm" and method.own_names):
        return True, 0.0, "as timm, and DINOv2 with registers, resample them"
    return method.antialias, method.position_offset, f"as {method.title}'s own code resamples them"


def _grid(case: Case, shape: ViTArchitecture) -> tuple[tuple[int, int], int]:
    """Rows and columns of the position grid, and how many prefix tokens have positions before it.

    Either all prefix tokens have one or none; CLS alone, beside registers, is added to its token before.
    """
    positions = shape_of(case.translated.state, "pos_embed")
    stated, given = case.translated.facts.get("grid"), case.overrides.grid
    count = positions[1] if len(positions) == 3 else 0
    prefixes = [shape.placed_prefix, shape.prefix_tokens, 0]
    if "prefix_positions" in case.translated.facts:
        prefixes.insert(0, case.translated.facts["prefix_positions"].value)
    for grid in (given, None if stated is None else stated.value):
        fitting = [placed for placed in prefixes if grid and grid[0] * grid[1] + placed == count]
        if grid and fitting:
            return grid, fitting[0]
        if given is not None:
            raise InvalidOptionError(
                f"Expected a grid of the {count} positions in the file; {given[0]} × {given[1]} are "
                f"{given[0] * given[1]}, beside {shape.prefix_tokens} of CLS and registers."
            )
    for placed in prefixes:
        patches = case.translated.state["pos_embed"][:, placed:] if count > placed else None
        likely = None if patches is None else likely_grid(patches[0])
        if likely is not None:
            rows, columns = likely
            if rows != columns:
                case.doubts.append(
                    f"The {count - placed} positions in the file are taken for a grid of {rows} × {columns} "
                    "tokens, in which neighbours are most alike. Set grid otherwise."
                )
            return likely, placed
    raise CheckpointError(
        f"Expected positions of a square grid of tokens; the file has {count}. Pass grid=(rows, columns), "
        "in tokens, of the images it was trained on."
    )


_SMOOTHER = 0.7
"""How much less neighbours have to differ in one grid than in another for the first to be taken."""


def likely_grid(positions: Tensor) -> tuple[int, int] | None:
    """Say what grid of tokens positions are of: a square, unless they clearly speak for another.

    Fixed positions change little from a token to its neighbour, and so do those that were learned; cut into
    rows of a wrong length, what lies below is no neighbour.

    Parameters
    ----------
    positions
        (N, D), row by row.

    Returns
    -------
    tuple of int or None
        Rows and columns; None where N is no square and the positions speak for no grid.
    """
    count, values = len(positions), positions.float()
    side = math.isqrt(count)
    square = (side, side) if side and side * side == count else None
    grids = [(count // each, each) for each in range(2, count // 2 + 1) if count % each == 0]
    if not grids:
        return square
    steps = {grid: _step(values, grid[1]) for grid in grids}
    best = min(steps, key=lambda grid: steps[grid])
    against = min((steps[grid] for grid in grids if grid != best), default=math.inf)
    if square in steps:
        against = steps[square]
    return best if best != square and steps[best] < _SMOOTHER * against else square


def _step(values: Tensor, columns: int) -> float:
    """Mean squared difference between neighbours, to the right and below, of (N, D) in rows of a length."""
    image = values.reshape(-1, columns, values.shape[1])
    right, below = image[:, 1:] - image[:, :-1], image[1:] - image[:-1]
    return float(right.square().mean() + below.square().mean())


def vit_width(state: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return a transformer's token width and patch side."""
    kernel = shape_of(state, MARK)
    if len(kernel) != 4 or kernel[1] not in CHANNELS or kernel[2] != kernel[3]:
        raise CheckpointError(
            "Expected a patch embedding of square patches of three channels, or one, (width, 3, side, side); "
            f"this one is {kernel}."
        )
    return kernel[0], kernel[2]
