"""Options of several commands, each declared once, and groups of them that a command takes as one value."""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_type_hints

import typer
from typer.core import TyperCommand, TyperOption

from napari_sslmaps.encoders.methods.registry import METHODS

if TYPE_CHECKING:
    from napari_sslmaps.core.region import Region
    from napari_sslmaps.encoders.overrides import Overrides
    from napari_sslmaps.inputs.encoders import EncoderChoice
    from napari_sslmaps.maps.registry import MapOptions
    from napari_sslmaps.records.run import RunOptions
    from napari_sslmaps.sources.open_options import OpenOptions

Points = tuple[tuple[float, float], ...]

PLACE = "What is embedded"
COMPUTING = "How it is computed"
WORKERS = "Workers"
ANCHORS = "Anchors"
MAPS = "Maps"
USUAL = "usual"
"""Scale that the first encoder is usually compared at."""
CORRECTIONS = "Corrections, where a weight file is wrong or does not say"

Encoders = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder",
        "-e",
        help=(
            "Name of an encoder, or a weight file; may be repeated. If omitted, those inside for this"
            " kind of image."
        ),
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write everything to.")]
OutOrNone = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder to write everything to; with --from, by default its own."),
]
Places = Annotated[
    Path | None,
    typer.Option("--images", help="With --from: folder to look for its images in, by their hash."),
]
Anonymous = Annotated[
    bool,
    typer.Option(
        "--anonymous",
        help=(
            "Replace names of images by numbers, keep their key apart in OUT-key.json, and leave out "
            "text around an ultrasound sector."
        ),
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON only.")]
Scheduler = Annotated[
    str,
    typer.Option(
        help="Instead of --workers: address of a running Dask scheduler, such as tcp://host:8786.",
        rich_help_panel=WORKERS,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=COMPUTING)]
Precision = Annotated[
    str,
    typer.Option(
        help="auto, float32 (repeatable bit for bit), bfloat16 or float16.", rich_help_panel=COMPUTING
    ),
]
RegionText = Annotated[
    str | None,
    typer.Option(
        "--region",
        help="y,x,height,width in pixels of the level; the whole image if omitted.",
        rich_help_panel=PLACE,
    ),
]
Level = Annotated[int, typer.Option(min=0, help="Resolution level; 0 is the finest.", rich_help_panel=PLACE)]
Frame = Annotated[int, typer.Option(min=0, help="Time point or plane of a stack.", rich_help_panel=PLACE)]
ResolutionText = Annotated[
    str,
    typer.Option(
        "--resolution",
        help=(
            "Resolution to read images at: trained (what each encoder was trained at, where known), "
            "native, or µm per pixel such as 0.5um."
        ),
        rich_help_panel=PLACE,
    ),
]
ShortSide = Annotated[
    int | None,
    typer.Option(
        "--short-side",
        min=1,
        help="Instead of --resolution: pixels along the image's shorter side.",
        rich_help_panel=PLACE,
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Random seed.")]


def example(*commands: str) -> str:
    """Return the end of a command's help: the smallest commands, without the program's name, that work."""
    told = [
        f"Example: napari-sslmaps {commands[0]}",
        *(f"then: napari-sslmaps {one}" for one in commands[1:]),
    ]
    return "\n\n".join(told)


class RegionFlags(NamedTuple):
    """Options that choose the part of an image to embed."""

    region: RegionText = None
    level: Level = 0
    frame: Frame = 0

    def on(self, image: str, opening: "OpenOptions | None" = None) -> "Region | None":
        """Understand ``y,x,height,width``; the whole level if omitted, None for the whole finest one."""
        from napari_sslmaps.core.region import Region
        from napari_sslmaps.inputs.images import open_named
        from napari_sslmaps.sources.open_options import AS_STORED

        if self.region is not None:
            parts = numbers(self.region, 4, "--region as y,x,height,width, for example 0,0,256,256")
            y, x, height, width = (int(part) for part in parts)
            return Region(y, x, height, width, self.level, self.frame)
        if self.level == self.frame == 0:
            return None
        with open_named(image, opening or AS_STORED) as source:
            shape = source.levels[min(self.level, len(source.levels) - 1)].shape_yx
        return Region(0, 0, *shape, self.level, self.frame)


class EmbedFlags(NamedTuple):
    """Options of embedding an image."""

    tile: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=(
                "Tokens along the side of a tile. If omitted, one pass up to 64 × 64 tokens; beyond that,"
                " the tiles that cost least."
            ),
            rich_help_panel=COMPUTING,
        ),
    ] = None
    overlap: Annotated[
        int, typer.Option(min=0, help="Tokens shared by neighbouring tiles.", rich_help_panel=COMPUTING)
    ] = 8
    precision: Precision = "auto"
    device: Device = "auto"
    resolution: ResolutionText = "trained"
    short_side: ShortSide = None
    stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Pixels per token, a divisor of the patch size: finer tokens, by several shifted passes.",
            rich_help_panel=COMPUTING,
        ),
    ] = None
    token_block: Annotated[
        str | None,
        typer.Option(
            help=(
                "Block whose output is used as tokens, counted from 0, or from the end with -1; or the "
                "name of a stage. Independent of --block."
            ),
            rich_help_panel=COMPUTING,
        ),
    ] = None
    token_norm: Annotated[
        bool,
        typer.Option(
            "--token-norm/--no-token-norm",
            help="Apply the encoder's final norm to tokens, or not.",
            rich_help_panel=COMPUTING,
        ),
    ] = True

    def run_options(self) -> dict[str, Any]:
        """Return them as `RunOptions` takes them."""
        options = {**self._asdict(), "resolution": read_at(self.resolution, self.short_side)}
        del options["short_side"]
        if self.token_block is not None:
            options["token_block"] = block_of(self.token_block)
        if self.tile is None:
            del options["tile"]
        return options


def block_of(text: str) -> int | str:
    """Understand the number of a block, or the name of a stage."""
    try:
        return int(text)
    except ValueError:
        return text


class OpenFlags(NamedTuple):
    """Options of opening files."""

    channel: Annotated[
        list[str] | None,
        typer.Option(
            help="Channel to show, by name or by number from 0; repeat it for red, green and blue.",
            rich_help_panel=PLACE,
        ),
    ] = None
    series: Annotated[
        str,
        typer.Option(
            help="Image to read from a file that holds several, by name or number; the largest if omitted.",
            rich_help_panel=PLACE,
        ),
    ] = ""
    um_per_px: Annotated[
        str,
        typer.Option(
            "--um-per-px",
            help="µm per pixel of the finest level, as a number or as y,x, instead of what the file says.",
            rich_help_panel=PLACE,
        ),
    ] = ""
    no_icc: Annotated[
        bool,
        typer.Option("--no-icc", help="Do not apply a slide's ICC colour profile.", rich_help_panel=PLACE),
    ] = False

    def options(self) -> "OpenOptions":
        """Understand what was typed."""
        from napari_sslmaps.sources.base import check_spacing
        from napari_sslmaps.sources.open_options import OpenOptions

        spacing = None
        if self.um_per_px:
            count = 1 + self.um_per_px.count(",")
            typed = numbers(self.um_per_px, min(count, 2), "--um-per-px as a number or y,x, such as 0.25")
            spacing = check_spacing((typed[0], typed[-1]))
        return OpenOptions(tuple(self.channel or ()), self.series, spacing, not self.no_icc)


class PointFlags(NamedTuple):
    """Anchors that are typed."""

    anchor: Annotated[
        list[str] | None,
        typer.Option(
            help="row,column in pixels; may be repeated. Without one there is no similarity map.",
            rich_help_panel=ANCHORS,
        ),
    ] = None
    negative: Annotated[
        list[str] | None,
        typer.Option(
            help="row,column of a place that results should be unlike; may be repeated.",
            rich_help_panel=ANCHORS,
        ),
    ] = None

    def points(self) -> tuple[Points, Points]:
        """Understand the texts: positive anchors, and negative ones."""
        return _points(self.anchor, "--anchor"), _points(self.negative, "--negative")


class MapFlags(NamedTuple):
    """Options of the maps that are made of an embedding."""

    maps: Annotated[str, typer.Option("--maps", help="Maps to make.", rich_help_panel=MAPS)] = ""
    centred: Annotated[
        bool,
        typer.Option(
            "--centred/--raw", help="Subtract the mean token before similarity.", rich_help_panel=MAPS
        ),
    ] = True
    head: Annotated[
        int | None,
        typer.Option(
            min=0, help="One attention head, from 0; the mean over heads if omitted.", rich_help_panel=MAPS
        ),
    ] = None
    foreground: Annotated[
        str,
        typer.Option(
            help="Tokens to fit PCA to: auto (those whose pixels vary), first-component or all.",
            rich_help_panel=MAPS,
        ),
    ] = "auto"
    clusters: Annotated[
        int, typer.Option(min=2, help="Number of clusters, for --maps clusters.", rich_help_panel=MAPS)
    ] = 6
    scale: Annotated[
        str,
        typer.Option(
            help="σ of the neighbourhood that tokens are averaged over: 20um, 12px, or 5% of the region's "
            "shorter side; 0 for single patches; usual for what suits the first encoder.",
            rich_help_panel=MAPS,
        ),
    ] = USUAL

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the maps that are wanted; none for the usual ones."""
        return words(self.maps)

    def options(
        self, *, block: int | None = None, attention: str = "output", aligned: bool = False
    ) -> "MapOptions":
        """Return what was given, with the options that some commands have besides."""
        from napari_sslmaps.core.scale import TokenScale
        from napari_sslmaps.maps.attention import AttentionOptions
        from napari_sslmaps.maps.clusters import ClusterOptions
        from napari_sslmaps.maps.pca import PcaOptions
        from napari_sslmaps.maps.registry import MapOptions
        from napari_sslmaps.maps.similarity import SimilarityOptions

        foreground = "" if self.foreground == "all" else self.foreground
        return MapOptions(
            attention=AttentionOptions(self.head, block=block, query=attention),  # type: ignore[arg-type]  # checked there
            pca=PcaOptions(aligned=aligned, foreground=foreground),
            similarity=SimilarityOptions(centred=self.centred),
            clusters=ClusterOptions(self.clusters),
            scale=TokenScale() if self.scale == USUAL else TokenScale.of(self.scale),
        )

    def at_scale(self, options: "RunOptions", encoders: "Sequence[EncoderChoice]") -> "RunOptions":
        """Return options at the scale of the first encoder, where the usual one is asked for."""
        from napari_sslmaps.inputs.encoders import usual_scale

        if self.scale != USUAL:
            return options
        return replace(options, maps=replace(options.maps, scale=usual_scale(encoders)))


class MapCommand(TyperCommand):
    """A command that makes maps; its help lists those there are."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Name every map, also those that were registered after this module was imported."""
        from napari_sslmaps.maps.registry import selectable, standard

        for parameter in self.params:
            if isinstance(parameter, TyperOption) and parameter.name == "maps":
                keys = ", ".join(kind.key for kind in selectable())
                usual = ", ".join(standard())
                parameter.help = f"Maps to make, such as pca,similarity, out of {keys}. If omitted, {usual}."
        super().format_help(ctx, formatter)


class AttentionFlags(NamedTuple):
    """Options of attention for which an encoder is run again."""

    block: Annotated[
        int | None,
        typer.Option(
            help=(
                "Block whose attention is shown, counted from 1, or from the end with -1; the last if "
                "omitted."
            ),
            rich_help_panel=MAPS,
        ),
    ] = None
    attention: Annotated[
        str,
        typer.Option(
            help=(
                "Whose attention: output (what the encoder's output reads), anchor (the token under the "
                "last --anchor) or rollout."
            ),
            rich_help_panel=MAPS,
        ),
    ] = "output"


class Corrections(NamedTuple):
    """Corrections of a weight file by the user, who may know better."""

    method: Annotated[
        str | None,
        typer.Option(help=f"Method it was trained by: {', '.join(METHODS)}.", rich_help_panel=CORRECTIONS),
    ] = None
    num_heads: Annotated[
        int | None, typer.Option(help="Attention heads per block.", rich_help_panel=CORRECTIONS)
    ] = None
    normalisation: Annotated[
        str | None,
        typer.Option(
            help="imagenet, unit, …, or mean/std in [0, 1]: .5,.5,.5/.2,.2,.2.",
            rich_help_panel=CORRECTIONS,
        ),
    ] = None
    eps: Annotated[float | None, typer.Option(help="LayerNorm's epsilon.", rich_help_panel=CORRECTIONS)] = (
        None
    )
    branch: Annotated[
        str | None,
        typer.Option(
            help=(
                "Network to use from a file with two: target (I-JEPA's target encoder, a teacher; the "
                "default) or encoder."
            ),
            rich_help_panel=CORRECTIONS,
        ),
    ] = None
    token_stage: Annotated[
        str | None,
        typer.Option(help="Stage of a U-Net whose features are the tokens.", rich_help_panel=CORRECTIONS),
    ] = None
    antialias: Annotated[
        bool | None,
        typer.Option(
            help="Resample position embeddings with a low-pass filter, or without.",
            rich_help_panel=CORRECTIONS,
        ),
    ] = None
    offset: Annotated[
        float | None,
        typer.Option(
            help=(
                "Tokens added to the grid's sides when position embeddings are resampled; DINO's code "
                "adds 0.1."
            ),
            rich_help_panel=CORRECTIONS,
        ),
    ] = None
    grid: Annotated[
        tuple[int, int] | None,
        typer.Option(
            help="Rows and columns of the stored position embeddings.",
            metavar="ROWS COLUMNS",
            rich_help_panel=CORRECTIONS,
        ),
    ] = None
    rope_coords: Annotated[
        str | None,
        typer.Option(
            help=(
                "Division of DINOv3's rotary coordinates, its normalize_coords: separate (the default), max "
                "or min."
            ),
            rich_help_panel=CORRECTIONS,
        ),
    ] = None
    relative_rule: Annotated[
        str | None,
        typer.Option(
            help=(
                "Resizing of BEiT's tables of relative positions: geometric-cubic (its own code), "
                "geometric-linear (timm) or bilinear (transformers)."
            ),
            rich_help_panel=CORRECTIONS,
        ),
    ] = None

    def overrides(self) -> "Overrides":
        """Return what was given; raises `InvalidOptionError` if a value is not permitted."""
        from napari_sslmaps.encoders.overrides import Overrides

        return Overrides.of({name: value for name, value in self._asdict().items() if value is not None})


def takes(*groups: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Put the fields of groups of options into a command's signature, and give each group back as one value.

    Parameters
    ----------
    groups
        NamedTuples of options. A parameter that is annotated with one of them is replaced, in its place, by
        the group's fields; what is set in the parameter's default is the default of the options.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters: list[inspect.Parameter] = []
        gathered: dict[str, Any] = {}
        for parameter in inspect.signature(command).parameters.values():
            if parameter.annotation in groups:
                gathered[parameter.name] = parameter.annotation
                parameters += _fields(parameter)
            else:
                parameters.append(parameter)

        @wraps(command)
        def gather(**given: Any) -> None:
            values = {
                name: group(**{field: given.pop(field) for field in group._fields})
                for name, group in gathered.items()
            }
            command(**given, **values)

        gather.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
        gather.__annotations__ = {one.name: one.annotation for one in parameters}
        return gather

    return decorate


def _fields(group: inspect.Parameter) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=getattr(group.default, name), annotation=option
        )
        for name, option in get_type_hints(group.annotation, include_extras=True).items()
    ]


def read_at(resolution: str, short_side: int | None) -> str:
    """Return the resolution that is meant by one of two options."""
    if short_side is None:
        return resolution
    if resolution not in ("", "trained"):
        raise typer.BadParameter("give either --resolution or --short-side.")
    return f"{short_side}px"


def words(text: str) -> tuple[str, ...]:
    """Understand words with commas between."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def numbers(text: str, count: int, wanted: str) -> tuple[float, ...]:
    """Understand `count` numbers with commas between; raise `typer.BadParameter` naming what was `wanted`."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise typer.BadParameter(f"expected {wanted}; got {text!r}.")
    return numbers


def _points(texts: list[str] | None, option: str) -> Points:
    """Understand ``row,column`` texts of an option."""
    return tuple(numbers(text, 2, f"{option} as row,column, for example 120,340") for text in texts or ())  # type: ignore[misc]  # two numbers by construction
