"""Recipes: everything that decides how an encoder comes about, as data, read from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, get_type_hints

from napari_sslmaps.encoders.families.registry import FAMILIES, architecture_to_dict
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.methods import registry as methods
from napari_sslmaps.encoders.spec import Architecture, get_normalisation
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.files import read_text, user_path
from napari_sslmaps.lab.toml_tables import check_names, converted, from_table, to_toml
from napari_sslmaps.lab.training.augmenting import Augmentation
from napari_sslmaps.lab.training.options import OPTIONS, parse_options
from napari_sslmaps.lab.training.views import CropScheme

METHODS = tuple(OPTIONS)
PRECISIONS: Mapping[str, str] = {
    "32": "32-true",
    "float32": "32-true",
    "bf16": "bf16-mixed",
    "bfloat16": "bf16-mixed",
    "16": "16-mixed",
    "float16": "16-mixed",
}
"""What a recipe may say, and Lightning Fabric's word for it."""
AUTO = "auto"
"""What a recipe may say instead: the device decides when the training starts, and it is written down."""
_TABLES = ("data", "architecture", "crop", "augment", "options")
_ViT_OF: Mapping[str, Mapping[str, Any]] = {
    "mae": {"class_token": True},
    "ijepa": {"class_token": False},
    "dinov3": {"class_token": True, "registers": 4, "rope": True, "layer_scale": True},
}


@dataclass(frozen=True, slots=True)
class DataRecipe:
    """Source of fields, and their sizes.

    Attributes
    ----------
    source
        ``simulated:histology``, ``simulated:ultrasound``, or the path of a folder or file.
    field
        Side of a field in pixels; crops are cut out of fields.
    count, seed
        Number of fields that are simulated or cut once, and their seed.
    um_per_px
        Resolution that images and slides are resampled to, where they tell theirs; as stored if omitted.
    fit
        Whether each image is resized until its shorter side is a field's side: a clip is then seen whole.
    scale
        Range of a factor, drawn for each field of an image, on what the field covers: 2 shows twice as much,
        half as fine. It stays below what the image holds.
    banked
        Whether `count` fields are cut out of the images once, several from each, and then read from a file.
        Otherwise each is cut anew whenever it is asked for, which decodes its image again.
    mixed_in, mixed_share
        A simulator, such as ``simulated:histology``, whose fields are mixed with those of images, and the
        share that they make.
    """

    source: str = "simulated:histology"
    field: int = 192
    count: int = 6000
    seed: int = 2025
    um_per_px: float | None = None
    fit: bool = False
    scale: tuple[float, float] = (1.0, 1.0)
    banked: bool = False
    mixed_in: str = ""
    mixed_share: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] or not 0 < self.mixed_share < 1:
            raise InvalidOptionError(
                "Expected [data] with a scale from low to high, both above 0, and a mixed_share above 0 and "
                f"below 1; got {self.scale} and {self.mixed_share}."
            )
        if self.field < 32 or self.count < 1 or (self.um_per_px is not None and self.um_per_px <= 0):
            raise InvalidOptionError(
                "Expected [data] with a field of at least 32 px, a count of at least 1, um_per_px above 0; "
                f"got {self.field}, {self.count} and {self.um_per_px}."
            )


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training.

    Attributes
    ----------
    method
        Method: ``mae``, ``ijepa``, ``dinov3`` or ``dira``.
    architecture
        Shape of the encoder.
    crop
        Rule by which the (global) crop is cut.
    data
        Data that fields come from.
    steps
        Number of optimisation steps.
    batch
        Images per step, over all processes.
    shards
        Parts into which a batch is cut. Each has its own randomness and batch statistics and is computed at
        once: more shards need less memory and can be shared among as many processes.
    peak_rate
        Peak learning rate of AdamW.
    weight_decay
        Decay of matrices; vectors are not decayed.
    clip
        Largest norm that gradients may have.
    precision
        32, or bf16 or 16 for mixed precision; auto for bf16 where the device is made for it, else 32.
    checkpointing
        Whether activations are computed again in the backward pass instead of kept.
    seed
        Seed of weights and data order.
    normalisation
        Preset of `NORMALISATIONS` that the encoder sees; the method's usual one if empty. One that fits the
        images leaves I-JEPA's targets little constant part to predict.
    augment
        Ways in which views vary, beside the method's own colours.
    options
        Settings of the objective.
    name
        Name of the file it was read from.
    """

    method: str
    architecture: Architecture
    crop: CropScheme
    data: DataRecipe = field(default_factory=DataRecipe)
    steps: int = 6000
    batch: int = 32
    shards: int = 1
    peak_rate: float = 1e-3
    weight_decay: float = 0.05
    clip: float = 3.0
    precision: str = "32"
    checkpointing: bool = False
    seed: int = 0
    normalisation: str = ""
    augment: Augmentation = field(default_factory=Augmentation)
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        check_method(self.method)
        if self.normalisation:
            get_normalisation(self.normalisation)
        if self.precision not in (*PRECISIONS, AUTO):
            raise InvalidOptionError(
                f"Expected a precision among {', '.join((*PRECISIONS, AUTO))}; got {self.precision!r}."
            )
        if min(self.steps, self.batch, self.shards) < 1 or self.batch % self.shards:
            raise InvalidOptionError(
                "Expected at least one step, and a batch that is a multiple of its shards; got "
                f"{self.steps} steps, a batch of {self.batch} in {self.shards} shards."
            )
        if self.augment.has_depth and not self.crop.upright:
            raise InvalidOptionError(
                "Expected upright = true in [crop] with attenuation or sector in [augment]: they tell up "
                "from down, and turned crops do not."
            )

    @property
    def shard(self) -> int:
        """Images per shard."""
        return self.batch // self.shards


def check_method(method: str) -> str:
    """Return the method, or raise `InvalidOptionError` naming those there are."""
    if method not in METHODS:
        raise InvalidOptionError(f"Expected a method among {', '.join(METHODS)}; got {method!r}.")
    return method


def list_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with this package."""
    folder = Path(str(files("napari_sslmaps.lab.training"))) / "recipes"
    order = {method: place for place, method in enumerate(METHODS)}
    names = [path.stem for path in folder.glob("*.toml")]
    return tuple(sorted(names, key=lambda name: (name.partition("-")[2], order[name.partition("-")[0]])))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    name_or_path
        A name of `list_recipes`, or the path of a TOML file.

    Raises
    ------
    InvalidOptionError
        If there is no such recipe, or it is not TOML, or a name or value in it is unknown or wrong.
    """
    path = user_path(name_or_path)
    if str(name_or_path) in list_recipes():
        path = Path(str(files("napari_sslmaps.lab.training"))) / "recipes" / f"{name_or_path}.toml"
    try:
        tables = tomllib.loads(read_text(path))
    except OSError as error:
        raise InvalidOptionError(
            f"Expected a recipe among {', '.join(list_recipes())}, or a TOML file; {name_or_path} cannot be "
            f"read ({error.strerror})."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidOptionError(f"Expected a recipe in TOML; {path} is none ({error}).") from error
    return replace(parse_recipe(tables), name=path.stem)


def parse_recipe(tables: Mapping[str, Any]) -> Recipe:
    """Build a recipe from TOML's tables; raises `InvalidOptionError` as `load_recipe` does."""
    hints = {name: hint for name, hint in get_type_hints(Recipe).items() if name != "name"}
    check_names(tables, hints, "the top")
    for name in _TABLES:
        if not isinstance(tables.get(name, {}), Mapping):
            raise InvalidOptionError(f"Expected [{name}] of the recipe as a table; got {tables[name]!r}.")
    missing = [name for name in ("method", "architecture", "crop") if name not in tables]
    if missing:
        raise InvalidOptionError(f"Expected {', '.join(missing)} in the recipe; missing.")
    plain = {
        name: converted(value, hints[name], name) for name, value in tables.items() if name not in _TABLES
    }
    method = check_method(plain["method"])
    crop = from_table(CropScheme, tables["crop"], "[crop]")
    options = tables.get("options", {})
    parse_options(OPTIONS[method], options)
    return Recipe(
        **plain,
        architecture=_architecture(method, tables["architecture"], crop),
        crop=crop,
        data=from_table(DataRecipe, tables.get("data", {}), "[data]"),
        augment=from_table(Augmentation, tables.get("augment", {}), "[augment]"),
        options={key: tuple(value) if isinstance(value, list) else value for key, value in options.items()},
    )


def _architecture(method: str, table: Mapping[str, Any], crop: CropScheme) -> Architecture:
    values = dict(table)
    kind = values.pop("kind", methods.METHODS[method].families[0])
    trained = dict.fromkeys(entry.families[0] for entry in methods.METHODS.values())
    if kind not in trained:
        raise InvalidOptionError(f"Expected [architecture] kind as {' or '.join(trained)}; got {kind!r}.")
    family = FAMILIES[kind].architecture
    if family is not ViTArchitecture:
        other: Architecture = from_table(family, values, "[architecture]")
        return other
    check_names(values, get_type_hints(ViTArchitecture), "[architecture]")
    patch = converted(values.get("patch", 8), int, "[architecture] patch")
    if patch < 1 or crop.size % patch:
        raise InvalidOptionError(
            f"Expected a crop whose side is a multiple of the patch; got {crop.size} and {patch} px."
        )
    usual = {"patch": patch, "grid": (crop.size // patch,) * 2, **_ViT_OF.get(method, {"class_token": True})}
    if isinstance(values.get("dim"), int):
        usual["mlp_hidden"] = 4 * values["dim"]
    shape = from_table(ViTArchitecture, usual | values, "[architecture]")
    if shape.dim % shape.heads or shape.grid != usual["grid"]:
        raise InvalidOptionError(
            f"Expected a width that the heads divide and the crop's grid of {usual['grid']} tokens; "
            f"got width {shape.dim}, {shape.heads} heads, grid {shape.grid}."
        )
    return shape


def recipe_tables(recipe: Recipe) -> dict[str, Any]:
    """Plain values and tables that `parse_recipe` reads back."""
    plain = {
        item.name: getattr(recipe, item.name)
        for item in fields(recipe)
        if item.name not in {*_TABLES, "name"}
    }
    return {
        **plain,
        "data": asdict(recipe.data),
        "architecture": architecture_to_dict(recipe.architecture),
        "crop": asdict(recipe.crop),
        "augment": asdict(recipe.augment),
        "options": dict(recipe.options),
    }


def recipe_to_toml(recipe: Recipe) -> str:
    """Write a recipe as TOML, every value said."""
    return to_toml(recipe_tables(recipe))
