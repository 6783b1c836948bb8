"""Descriptions in docstrings name the thing that they describe."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "src").rglob("*.py"))
SECTIONS = {"Parameters", "Attributes", "Returns", "Yields", "Raises"}
OPENINGS = {
    *("Of", "By", "From", "To", "With", "For", "At", "On", "In", "As"),
    *("That", "Which", "What", "Where", "When", "Why", "Who", "Whom", "Whose", "How"),
}
VERBS = {"Is", "Are", "Has", "Have", "Gives", "Takes", "Makes", "Tells", "Knows", "Gets", "None"}


def descriptions(documented: str) -> Iterator[tuple[str, str]]:
    """Names and descriptions in the sections of a numpydoc docstring."""
    parts = re.split(r"^(\w+)\n-{3,}$", documented, flags=re.MULTILINE)
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        if title in SECTIONS:
            for name, described in re.findall(r"^(\S.*)((?:\n +\S.*)*)", body, re.MULTILINE):
                yield name, " ".join(described.split())


def is_riddle(described: str) -> bool:
    """Whether it does not begin with what the thing is, or is missing or a single word."""
    words = described.split()
    return len(words) < 2 or words[0].rstrip(",.:;") in OPENINGS | VERBS


def is_def(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def test_a_description_is_found_and_judged():
    documented = (
        "Do it.\n\nParameters\n----------\nimage\n    What was\n    seen.\n\nsize, unit\n    Size in µm.\n"
    )
    found = dict(descriptions(documented))
    assert found == {"image": "What was seen.", "size, unit": "Size in µm."}
    assert [is_riddle(told) for told in (*found.values(), "Unblinded.")] == [True, False, True]


@pytest.fixture(scope="module")
def documented() -> list[tuple[Path, ast.AST, str]]:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    trees = [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in MODULES]
    nodes = [(path, node) for path, tree in trees for node in ast.walk(tree) if isinstance(node, kinds)]
    return [(path, node, ast.get_docstring(node) or "") for path, node in nodes]


def test_every_description_says_what_the_thing_is(documented):
    """Begin with a noun: what it is, with its shape, unit and range."""
    told = [(path.name, *entry) for path, _, text in documented for entry in descriptions(text)]
    assert [entry for entry in told if is_riddle(entry[-1])] == []


def test_every_module_and_class_is_named_by_what_it_is(documented):
    """Begin with what it is or does: ``Options of a map``, ``Draws maps``."""
    summaries = [
        (path.name, text.split("\n")[0]) for path, node, text in documented if text and not is_def(node)
    ]
    assert [entry for entry in summaries if entry[-1].split()[0] in OPENINGS] == []
