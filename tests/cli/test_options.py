"""Groups of options: taken apart for the command line, and given to the command as one value."""

import inspect
import re
from pathlib import Path
from typing import Annotated, NamedTuple

import pytest
import typer
from typer.testing import CliRunner

import napari_sslmaps.cli.options
from napari_sslmaps.cli.options import Corrections, EmbedFlags, PointFlags, RegionFlags, takes, words


class Size(NamedTuple):
    height: Annotated[int, typer.Option(help="Rows.")] = 2
    width: Annotated[int, typer.Option("--width", "-w", help="Columns.")] = 3


def printed(command, *arguments):
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


WIDE, EMBED = Size(width=7), EmbedFlags()


@takes(Size, EmbedFlags)
def draw(name: str, *, size: Size = WIDE, embed: EmbedFlags = EMBED, loud: bool = False) -> None:
    typer.echo(f"{name} {size.height} {size.width} {embed.overlap} {loud}")


def test_a_group_is_one_value_and_its_default_that_of_the_options():
    assert printed(draw, "a") == "a 2 7 8 False"
    assert printed(draw, "a", "--height", "5", "-w", "1", "--overlap", "0", "--loud") == "a 5 1 0 True"


def test_fields_stand_where_the_group_stood():
    assert [*inspect.signature(draw).parameters] == [
        *("name", *Size._fields, *EmbedFlags._fields, "loud"),
    ]


def test_points_are_understood_or_refused_by_the_option_that_was_typed():
    assert PointFlags(["1,2", "3.5,4"], None).points() == (((1.0, 2.0), (3.5, 4.0)), ())
    with pytest.raises(typer.BadParameter, match=r"expected --negative as row,column.*got '3'"):
        PointFlags(["1,2"], ["3"]).points()


def test_the_whole_finest_level_is_no_region():
    assert RegionFlags().on("no such file") is None
    assert RegionFlags("1,2,30,40", level=2, frame=3).on("no such file").frame == 3


def test_only_what_was_given_corrects_a_file():
    assert Corrections().overrides().keywords == {}
    assert Corrections(method="mae", eps=1e-5).overrides().keywords == {"method": "mae", "eps": 1e-5}


def test_words_stand_between_commas():
    assert words("a, b,,c ") == ("a", "b", "c")
    assert words("") == ()


@pytest.mark.parametrize(
    "name", ["--device", "--precision", "--tile", "--overlap", "--anchor", "--num-heads"]
)
def test_an_option_of_several_commands_is_declared_once(name):
    """`pretrain`, whose precisions are others, and `study`, which takes no GPU's number, have their own."""
    folder = Path(napari_sslmaps.cli.options.__file__).parent
    own = {"options.py", "pretrain.py", "study.py"}
    field = re.compile(rf"^    {name.removeprefix('--').replace('-', '_')}: Annotated", re.MULTILINE)
    assert [
        path.name for path in folder.glob("*.py") if path.name not in own and field.search(path.read_text())
    ] == []
