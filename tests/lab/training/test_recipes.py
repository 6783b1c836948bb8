import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sslmaps.encoders.families.unet import UNetArchitecture
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.simulators import SIMULATORS, get_simulator
from napari_sslmaps.lab.toml_tables import to_toml
from napari_sslmaps.lab.training.options import OPTIONS, parse_options
from napari_sslmaps.lab.training.recipes import (
    METHODS,
    list_recipes,
    load_recipe,
    parse_recipe,
    recipe_tables,
    recipe_to_toml,
)

_SMALL = {
    "method": "mae",
    "architecture": {"patch": 8, "dim": 32, "depth": 1, "heads": 2},
    "crop": {"size": 64, "span": [48, 64]},
}


def changed(table="", **values):
    """The small recipe with values set at its top or in a table; None leaves one out."""
    copy = {name: dict(part) if isinstance(part, dict) else part for name, part in _SMALL.items()}
    place = copy.setdefault(table, {}) if table else copy
    place.update(values)
    for name in [name for name, value in values.items() if value is None]:
        del place[name]
    return copy


def test_there_is_a_recipe_for_every_method_and_domain_simulated_and_real():
    names = {f"{method}-{domain}" for method in METHODS for domain in SIMULATORS}
    assert set(list_recipes()) == names | {f"{name}-real" for name in names}


@pytest.mark.parametrize("name", list_recipes())
def test_a_recipe_of_the_package_is_whole(name):
    recipe = load_recipe(name)
    method, domain, *real = name.split("-")
    assert recipe.name == name
    assert recipe.method == method
    assert (recipe.data.mixed_in if real else recipe.data.source) == f"simulated:{domain}"
    assert recipe.data.banked == bool(real)
    assert recipe.augment.has_depth == (bool(real) and domain == "ultrasound")
    assert recipe.crop.upright == get_simulator(domain).upright
    assert recipe.crop.span[1] <= recipe.data.field
    assert isinstance(recipe.architecture, UNetArchitecture if method == "dira" else ViTArchitecture)
    parse_options(OPTIONS[method], recipe.options)


@pytest.mark.parametrize("name", list_recipes())
def test_writing_and_reading_gives_the_same_recipe(name):
    recipe = load_recipe(name)
    tables = tomllib.loads(recipe_to_toml(recipe))
    assert replace(parse_recipe(tables), name=name) == recipe
    assert tables.keys() <= recipe_tables(recipe).keys()


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,12}", fullmatch=True),
        st.one_of(
            st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"])),
            st.integers(-(2**40), 2**40),
            st.booleans(),
            st.floats(allow_nan=False, allow_infinity=False),
            st.lists(st.integers(0, 9)),
        ),
    )
)
def test_toml_reads_back_what_was_written(table):
    assert tomllib.loads(to_toml({"part": table})) == {"part": table}


def test_a_transformer_needs_four_numbers():
    shape = parse_recipe(_SMALL).architecture
    assert shape == ViTArchitecture(
        patch=8, dim=32, depth=1, heads=2, grid=(8, 8), mlp_hidden=128, class_token=True
    )


def test_each_method_has_its_own_prefix_and_positions():
    dinov3 = parse_recipe({**_SMALL, "method": "dinov3"}).architecture
    assert dinov3.registers == 4
    assert dinov3.rope
    assert not parse_recipe({**_SMALL, "method": "ijepa"}).architecture.class_token


def test_a_large_transformer_is_a_few_lines(tmp_path):
    path = tmp_path / "vit-b.toml"
    path.write_text(
        to_toml(
            changed("architecture", patch=16, dim=768, depth=12, heads=12)
            | {"crop": {"size": 224, "span": [180, 300], "upright": True}}
        )
    )
    recipe = load_recipe(path)
    assert recipe.name == "vit-b"
    assert recipe.architecture.grid == (14, 14)
    assert recipe.architecture.mlp_hidden == 3072


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        (changed(stpes=3), "Expected in the top of the recipe only method, .*steps.*; got stpes"),
        (changed("crop", turn=3), r"Expected in \[crop\] of the recipe only size, span, upright; got turn"),
        (changed("architecture", width=3), r"Expected in \[architecture\] .*patch, dim, .*; got width"),
        (changed("options", mask=0.5), "Expected options of MAE among mask_ratio .*; got 'mask'"),
        (changed("data", folder="x"), r"Expected in \[data\] .*source.*; got folder"),
        (changed(steps="many"), "Expected steps as a whole number; got 'many'"),
        (changed(steps=True), "Expected steps as a whole number; got True"),
        (changed(steps=0), "Expected at least one step"),
        (changed(batch=5, shards=2), "a batch that is a multiple of its shards; got .* 5 in 2"),
        (changed(precision="8"), "Expected a precision among 32.*; got '8'"),
        (changed(method="simclr"), "Expected a method among mae, ijepa, dinov3, dira; got 'simclr'"),
        (changed(method=None), "Expected method in the recipe; missing"),
        (changed(crop=7), r"Expected \[crop\] of the recipe as a table; got 7"),
        (changed("crop", span=[48]), r"Expected \[crop\] span as 2 values; got \[48\]"),
        (changed("crop", span=48), r"Expected \[crop\] span as a list; got 48"),
        (changed("crop", size=None), r"Expected size in \[crop\] of the recipe; missing"),
        (changed("crop", size=60), "Expected a crop whose side is a multiple of the patch; got 60 and 8"),
        (changed("architecture", dim=None), r"Expected dim, mlp_hidden in \[architecture\]"),
        (changed("architecture", heads=3), "Expected a width that the heads divide"),
        (changed("architecture", grid=[4, 4]), r"the crop's grid of \(8, 8\)"),
        (changed("architecture", kind="mlp"), r"Expected \[architecture\] kind as vit or unet; got 'mlp'"),
        (changed("data", field=8), r"a field of at least 32 px"),
        (changed("data", um_per_px=-1), r"um_per_px above 0"),
        (changed("data", scale=[2, 1]), r"Expected \[data\] with a scale from low to high"),
        (changed("augment", stains=1), r"Expected in \[augment\] .*stain, attenuation, .*; got stains"),
        (changed("augment", sector=0.2), r"Expected upright = true in \[crop\]"),
    ],
)
def test_what_is_wrong_is_named(tables, sentence):
    with pytest.raises(InvalidOptionError, match=sentence):
        parse_recipe(tables)


def test_a_file_that_is_no_recipe_is_refused(tmp_path):
    with pytest.raises(
        InvalidOptionError, match=r"Expected a recipe among mae-histology, .*, or a TOML file"
    ):
        load_recipe("mae-radiology")
    (tmp_path / "broken.toml").write_text("method = ")
    with pytest.raises(InvalidOptionError, match="Expected a recipe in TOML"):
        load_recipe(tmp_path / "broken.toml")
