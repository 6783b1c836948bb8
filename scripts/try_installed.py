"""Build wheel and sdist, install each into a bare environment, and use it from outside the repository.

``python scripts/try_installed.py --keep dist`` leaves the two files in ``dist`` if all went well.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from run_tests import ROOT, environment

USE = """
import napari_sslmaps as ssl
import numpy as np
assert "torch" not in __import__("sys").modules
encoder = ssl.load_encoder("mae-demo")
tokens = ssl.embed(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8), encoder)
print(ssl.similarity_map(tokens, [(20, 30)]).values.shape)
"""


def main() -> int:
    """Build, install and use both; an exception of any step is the answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="folder for wheel and sdist")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        python = environment(folder / "environment")
        _run(folder, python, "-m", "pip", "install", "--quiet", "build", "uv")
        _run(ROOT, python, "-m", "build", "--outdir", folder / "dist")
        bare = environment(folder / "bare")
        for pattern in ("*.whl", "*.tar.gz"):
            package = next((folder / "dist").glob(pattern))
            began = time.monotonic()
            # The second time only the package itself is new: wheel and sdist ask for the same dependencies.
            install = ("-m", "uv", "pip", "install", "--quiet", "--reinstall-package", "napari-sslmaps")
            _run(folder, python, *install, "--python", bare, package)
            seconds = time.monotonic() - began
            print(f"{package.name}: installed in {seconds:.0f} s; {weight(bare)}", flush=True)
            use(bare, folder)
        if asked.keep:
            asked.keep.mkdir(parents=True, exist_ok=True)
            for package in sorted((folder / "dist").iterdir()):
                shutil.copy(package, asked.keep)
    print("wheel and sdist work in a bare environment")
    return 0


def weight(python: Path) -> str:
    """Say how many packages an environment holds and how large it is."""
    listed = subprocess.run(
        [str(python), "-m", "pip", "list", "--format", "freeze"], check=True, capture_output=True, text=True
    )
    size = sum(file.lstat().st_size for file in python.parents[1].rglob("*") if not file.is_dir())
    return f"{len(listed.stdout.splitlines())} packages, {size / 1e6:.0f} MB"


def use(python: Path, folder: Path) -> None:
    """Do what a user does first, in a folder of its own and without the repository in sight."""
    place = Path(tempfile.mkdtemp(dir=folder))
    command = python.with_name("napari-sslmaps.exe" if sys.platform == "win32" else "napari-sslmaps")
    _run(place, command, "--version")
    _run(place, command, "encoders")
    _run(place, command, "run", "sample:histology", "-e", "mae-demo", "--anchor", "120,340", "--out", "maps")
    found = {path.name for path in (place / "maps").rglob("*")}
    if not {"figure.png", "similarity.tif", "run.json"} <= found:
        raise SystemExit(f"Expected a figure, maps and a record; got {sorted(found)}.")
    _run(place, python, "-c", USE)


def _run(folder: Path, *command: str | Path) -> None:
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([str(word) for word in command], check=True, cwd=folder, env=surroundings)


if __name__ == "__main__":
    sys.exit(main())
