"""What is written where: results to stdout, progress and errors to stderr."""

import json
import sys
from typing import Any

from rich.console import Console, RenderableType


def out(text: RenderableType) -> None:
    """Write to stdout, coloured on a terminal."""
    Console(highlight=False, soft_wrap=isinstance(text, str)).print(text, markup=False)


def out_json(value: Any) -> None:
    """Write JSON to stdout, and nothing else."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def note(text: str) -> None:
    """Write a remark to stderr."""
    errors().print(text, markup=False, style="dim")


def error(sentence: str) -> None:
    """Write an error to stderr, as one sentence."""
    errors().print(f"Error: {sentence}", markup=False, style="red")


def errors() -> Console:
    """Return a console on stderr, as it is now."""
    return Console(stderr=True, highlight=False, soft_wrap=True)
