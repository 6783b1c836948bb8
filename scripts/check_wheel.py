"""Build the wheel and look into it: manifest, weights and their cards must be there, tests must not."""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from napari_sslmaps.encoders.catalog import EMBEDDED

WHEEL_LIMIT_MB, WEIGHTS_LIMIT_MB = 45, 40
"""Of the whole wheel; of its weight files together."""


def main() -> int:
    """Build, inspect, and return the number of faults."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "build", "--wheel", "--outdir", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wheel = next(Path(folder).glob("*.whl"))
        size = wheel.stat().st_size / 1e6
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
            entry_points = next(name for name in names if name.endswith("entry_points.txt"))
            declared = archive.read(entry_points).decode()
            sizes = {item.filename: item.file_size for item in archive.infolist()}
            about = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    package = "napari_sslmaps/"
    wanted = {f"{package}napari.yaml", f"{package}py.typed"}
    for name in EMBEDDED:
        wanted |= {f"{package}encoders/weights/{name}{suffix}" for suffix in (".safetensors", ".md")}
    faults = [f"missing: {name}" for name in sorted(wanted - names)]
    faults += [f"must not be in it: {name}" for name in sorted(names) if name.startswith("tests")]
    if "napari.manifest" not in declared or "console_scripts" not in declared:
        faults.append("entry points are not declared")
    needed = [line for line in about.splitlines() if line.startswith("Requires-Dist: lightning-fabric")]
    if not needed or not all("extra ==" in line for line in needed):
        faults.append("lightning-fabric must be asked for by the extra lab, and by extras alone")
    weights = {name for name in names if name.endswith(".safetensors")}
    faults += [f"not in the list of encoders: {name}" for name in sorted(weights - wanted)]
    weigh = sum(sizes[name] for name in weights) / 1e6
    for what, found, limit in (("wheel", size, WHEEL_LIMIT_MB), ("weights", weigh, WEIGHTS_LIMIT_MB)):
        if found > limit:
            faults.append(f"the {what}: {found:.1f} MB is more than {limit} MB")
    print(f"{wheel.name}: {size:.1f} MB, {len(names)} files; {len(weights)} encoders of {weigh:.1f} MB")
    print("\n".join(faults) or "manifest, weights and model cards are inside")
    return len(faults)


if __name__ == "__main__":
    sys.exit(main())
