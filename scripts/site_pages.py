"""Pages of the site that nobody writes twice: an mkdocs hook that makes them of what is there already.

The changelog with what the next version brings, CONTRIBUTING and its like come from the root, the command
line's reference from the commands themselves. Links that leave ``docs/`` lead to the repository.
"""

import posixpath
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from napari_sslmaps.cli.commands import app

ROOT = Path(__file__).resolve().parents[1]
MADE_OF = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "ARCHITECTURE.md": "architecture.md",
    "SECURITY.md": "security.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
}
NEWEST_FIRST = "<!-- release notes: the newest first -->\n"
INTRODUCTION = """# The command line

Every command explains itself by `--help`. It exits with 0 where all went well, with 1 where something was
wrong, which one sentence on standard error names, and with 2 for options that do not exist.
"""
ARXIV = re.compile(r"(?<![\[`/\w])arXiv (\d{4}\.\d{5})")
LINK = re.compile(r"(\]\()(?!https?:|#|mailto:)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    made = {name: _text(root) for root, name in MADE_OF.items()}
    made |= {"changelog.md": changelog(), "reference/command-line.md": command_line()}
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files outside the docs lead to their page or to the repository, and papers to arXiv."""
    folder = posixpath.dirname(page.file.src_uri)

    def led(link: re.Match[str]) -> str:
        inside = posixpath.normpath(posixpath.join(folder, link[2]))
        if inside in files.src_uris:
            return link[0]
        there = inside.removeprefix("../")
        name = MADE_OF.get(there, there.removeprefix("docs/"))
        if name in files.src_uris:
            return link[1] + posixpath.relpath(name, folder or ".")
        return f"{link[1]}{config.repo_url}/blob/main/{there}" if (ROOT / there).exists() else link[0]

    return ARXIV.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", LINK.sub(led, markdown))


def changelog() -> str:
    """Return the changelog, and what its next version has so far."""
    version = tomllib.loads(_text("pyproject.toml"))["project"]["version"]
    words = ("build", "--draft", "--version", version, "--date", "not released yet")
    command = [sys.executable, "-m", "towncrier", *words]
    draft = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    head, mark, released = _text("CHANGELOG.md").partition(NEWEST_FIRST)
    upcoming = draft if any((ROOT / "changes").glob("*.md")) else ""
    return head + mark + upcoming + released


def command_line() -> str:
    """Return every command with its options, as the program itself knows them."""
    parts = [INTRODUCTION]
    for words, command in _commands(typer.main.get_command(app), ("napari-sslmaps",)):
        parts += [f"## {' '.join(words)}", "", _plain(command.help or ""), ""]
        rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        if rows:
            parts += ["| | | default |", "|---|---|---|", *rows, ""]
    return "\n".join(parts)


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*words, name))


def _row(parameter: Any) -> str:
    names = [name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-")]
    default = None if callable(parameter.default) else parameter.default
    shown = "" if default in (None, (), "", False) or not names else f"`{default}`"
    text = _plain(getattr(parameter, "help", None) or "").replace("|", "\\|")
    return f"| {', '.join(f'`{name}`' for name in names or [parameter.name])} | {text} | {shown} |"


def _plain(text: str) -> str:
    """Undo what Rich and click read: markup's escapes, and the mark that keeps lines apart."""
    return re.sub(r"\s*\n\s*", " ", text.replace("\b", "").replace("\\[", "[").strip())


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
