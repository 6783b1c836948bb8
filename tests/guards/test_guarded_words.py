"""Help, options and signatures, as they were."""

import re
import shlex

import guard_kit
import pytest
import snapshots
from guard_kit import DATA, read_data

import napari_sslmaps

NAMES = sorted(path.stem for path in (DATA / "help").glob("*.txt"))
MADE_WITH = read_data("versions.json")
HERE = guard_kit.versions()


def same_versions(part: str, *names: str) -> bool:
    return all(MADE_WITH[part][name] == HERE[name] for name in names)


def test_there_are_the_same_commands():
    assert sorted("-".join(words) or "napari-sslmaps" for words in snapshots.commands()) == NAMES


@pytest.mark.skipif(not same_versions("help", "typer", "rich"), reason="another typer draws help otherwise")
@pytest.mark.parametrize("name", NAMES)
def test_help_is_word_for_word_the_same(name):
    """Where a change is meant: ``python tests/guards/make_guards.py help``."""
    words = next(one for one in snapshots.commands() if ("-".join(one) or "napari-sslmaps") == name)
    assert snapshots.help_text(words) == (DATA / "help" / f"{name}.txt").read_text(encoding="utf-8")


def test_every_option_of_an_earlier_version_is_still_there():
    """For ever: what people typed goes on working. Options may be added here, none may be removed."""
    today = snapshots.option_names()
    for command, options in read_data("options.json").items():
        assert set(options) <= set(today[command]), command


def test_every_public_name_is_still_there():
    assert set(read_data("signatures.json")) <= set(napari_sslmaps.__all__)


def without_annotations(told):
    if isinstance(told, dict):
        return {
            name: without_annotations(value)
            for name, value in told.items()
            if name not in {"annotation", "returns"}
        }
    return [without_annotations(value) for value in told] if isinstance(told, list) else told


@pytest.mark.parametrize("name", sorted(read_data("signatures.json")))
def test_a_public_name_takes_what_it_took(name):
    """Where a change is meant: ``python tests/guards/make_guards.py signatures``."""
    before, now = read_data("signatures.json")[name], snapshots.signatures_of(name)
    assert without_annotations(now) == without_annotations(before)
    if same_versions("signatures", "python", "numpy", "torch"):  # numpy's aliases are spelled out
        assert now == before


def test_every_command_ends_its_help_with_an_example_that_it_takes() -> None:
    commands = snapshots.commands()
    leaves = {words for words, command in commands.items() if not hasattr(command, "commands")}
    for words in leaves:
        lines = re.split(r"^(?:Example|then): ", commands[words].epilog or "", flags=re.MULTILINE)[1:]
        taken = set()
        for program, *typed in map(shlex.split, lines):
            found = max((named for named in leaves if tuple(typed[: len(named)]) == named), key=len)
            commands[found].make_context(program, typed[len(found) :])
            taken.add(found)
        assert words in taken
