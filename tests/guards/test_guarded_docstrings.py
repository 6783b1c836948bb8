"""Descriptions in docstrings name the thing that they describe."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "src").rglob("*.py"))
SECTIONS = {"Parameters", "Attributes", "Returns", "Yields", "Raises"}
RIDDLES = {
    *("Of", "By", "From", "To", "With", "For", "At", "On", "In", "As"),
    *("That", "Which", "What", "Where", "When", "Why", "Who", "Whom", "Whose", "How"),
    *("Is", "Are", "Has", "Have", "Gives", "Takes", "Makes", "Tells", "Knows", "Gets", "None"),
}


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
    return len(words) < 2 or words[0].rstrip(",.:;") in RIDDLES


def test_a_description_is_found_and_judged():
    documented = (
        "Do it.\n\nParameters\n----------\nimage\n    What was\n    seen.\n\nsize, unit\n    Size in µm.\n"
    )
    found = dict(descriptions(documented))
    assert found == {"image": "What was seen.", "size, unit": "Size in µm."}
    assert [is_riddle(told) for told in (*found.values(), "Unblinded.")] == [True, False, True]


def test_every_description_says_what_the_thing_is():
    """Begin with a noun: what it is, with its shape, unit and range."""
    riddles = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
                told = descriptions(ast.get_docstring(node) or "")
                riddles += [f"{path.name}: {name}: {text}" for name, text in told if is_riddle(text)]
    assert riddles == []
