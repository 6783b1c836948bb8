"""Execute the code blocks of the README and the docs, each file from top to bottom in a folder of its own.

``python`` blocks run in one namespace per file; ``console`` blocks run line by line where a line begins
with ``$ napari-sslmaps``. A block under ``<!-- not run: reason -->`` is left out, and the reason printed.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>.*?) -->\n)?^```(?P<language>python|console)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def run_file(path: Path) -> int:
    """Run every block of a Markdown file in a new folder and return how many were run."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        count = _run_blocks(path)
        os.chdir("/")
    print(f"{path.name}: {count} blocks and commands run")
    return count


def _run_blocks(path: Path) -> int:
    namespace: dict[str, object] = {"__name__": "__main__"}
    count = 0
    for block in BLOCK.finditer(path.read_text(encoding="utf-8")):
        if block["reason"]:
            print(f"{path.name}: a block is not run: {block['reason']}")
        elif block["language"] == "python":
            exec(compile(block["code"], str(path), "exec"), namespace)  # noqa: S102  # our own docs
            count += 1
        else:
            count += _run_console(block["code"])
    return count


def _run_console(code: str) -> int:
    commands = [line[2:] for line in code.splitlines() if line.startswith("$ napari-sslmaps")]
    for command in commands:
        words = shlex.split(command, comments=True)
        executable = Path(sys.executable).with_name(words[0])
        subprocess.run([str(executable), *words[1:]], check=True, stdout=subprocess.DEVNULL)
    return len(commands)


def main(arguments: list[str]) -> int:
    """Run the named files and every Markdown file of the named folders."""
    paths = [Path(argument).resolve() for argument in arguments]
    files = [file for path in paths for file in (sorted(path.rglob("*.md")) if path.is_dir() else [path])]
    warnings.simplefilter("error", DeprecationWarning)
    total = sum(run_file(file) for file in files)
    return 0 if total else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
