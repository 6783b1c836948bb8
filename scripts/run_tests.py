"""Run the test suite in an environment made for it, with a Qt binding and dependencies of your choice.

``python scripts/run_tests.py --qt pyside6 --dependencies lowest -- tests/core``; arguments after ``--`` go to
pytest. Works on Linux, macOS and Windows, with the Python that runs it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NIGHTLY = "napari @ git+https://github.com/napari/napari.git"


def main() -> int:
    """Make the environment, install, and return what pytest returns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--qt", choices=("pyqt6", "pyside6"), default="pyqt6")
    parser.add_argument("--dependencies", choices=("newest", "lowest", "nightly"), default="newest")
    parser.add_argument("--venv", type=Path, default=ROOT / "build" / "test-environment")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, after --")
    asked = parser.parse_args()
    python = environment(asked.venv)
    install(python, asked.qt, asked.dependencies)
    arguments = asked.pytest or ["-n", "2", "--dist", "loadgroup"]
    if (
        asked.dependencies == "lowest"
    ):  # they warn of what has come since in packages that they need themselves
        arguments = ["-W", "default::DeprecationWarning", *arguments]
    command = [str(python), "-m", "pytest", *arguments]
    surroundings = {"OMP_NUM_THREADS": "1", **os.environ, "QT_API": asked.qt, "PYTEST_QT_API": asked.qt}
    return subprocess.run(command, cwd=ROOT, env=surroundings, check=False).returncode


def environment(folder: Path) -> Path:
    """Make a virtual environment anew and return its Python."""
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def install(python: Path, qt: str, dependencies: str) -> None:
    """Install the package with what its tests need; uv, because pip knows no lowest versions."""
    _run(python, "-m", "pip", "install", "--quiet", "uv")
    wanted = ["--editable", f"{ROOT}[test,{qt}]"]
    if dependencies == "lowest":
        wanted += ["--resolution", "lowest-direct"]
    if dependencies == "nightly":
        wanted += [NIGHTLY]
    _run(python, "-m", "uv", "pip", "install", "--python", str(python), *wanted)


def _run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True)


if __name__ == "__main__":
    sys.exit(main())
