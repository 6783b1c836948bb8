"""Bring a study into the docs: ``python docs/study_page.py [FOLDER]``.

With the folder of a study, its ``study.json`` becomes ``docs/data/study.json`` first. The figures and the
part of ``docs/study.md`` between its markers are then made of that file, ``docs/data/real.json``, the
encoders' results on real images, and ``docs/data/scales.json``, those of ``docs/scale_scores.py``, alone.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from napari_sslmaps.lab.gate.real import real_book
from napari_sslmaps.lab.simulators.scenes import DOMAINS, simulate_scene
from napari_sslmaps.lab.study.figure import draw_study
from napari_sslmaps.lab.study.page import blocks, to_markdown
from napari_sslmaps.lab.study.real_images import real_blocks
from napari_sslmaps.lab.study.real_scales import draw_scales, scale_blocks

DOCS = Path(__file__).parent
DATA, FIGURE, SCENES, PAGE = (
    DOCS / name for name in ("data/study.json", "images/study.png", "images/scenes.png", "study.md")
)
REAL, SCALES = DOCS / "data/real.json", DOCS / "data/scales.json"
SCALE_FIGURE = "images/study-scales.png"
BEGIN, END = "<!-- begin: made by docs/study_page.py -->", "<!-- end -->"


def rendered(page: str) -> str:
    """The page with the part between the markers made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    book = real_book(REAL)
    parts = [
        *blocks(json.loads(DATA.read_text(encoding="utf-8"))),
        *real_blocks({name: book[name] for name in book.names}),
        *scale_blocks(json.loads(SCALES.read_text(encoding="utf-8")), SCALE_FIGURE),
    ]
    made = to_markdown(parts, "images/study.png", level=3)
    return f"{before}{BEGIN}\n\n{made}\n{END}{after}"


def draw_scenes(path: Path) -> None:
    """Four scenes, one of each combination of the cues, at three noises, in both domains."""
    wanted = [(local, arrangement) for local in (0, 1) for arrangement in (0, 1)]
    seeds = {}
    for seed in range(100):
        scene = simulate_scene(np.random.default_rng(seed), "histology", noise=0.0)
        seeds.setdefault((scene.local, scene.arrangement), seed)
    figure = Figure(figsize=(9.0, 3.9), layout="constrained")
    axes = figure.subplots(3, 8)
    for band, domain in enumerate(DOMAINS):
        for column, cues in enumerate(wanted):
            for row, noise in enumerate((0.0, 0.25, 0.5)):
                scene = simulate_scene(np.random.default_rng(seeds[cues]), domain, noise=noise)
                panel = axes[row, 4 * band + column]
                panel.imshow(scene.image)
                panel.set_xticks([])
                panel.set_yticks([])
                if row == 0:
                    words = (("round", "spindle")[cues[0]], ("A nearer", "B nearer")[cues[1]])
                    panel.set_title(f"{domain}\n{words[0]}, {words[1]}", fontsize=7)
                if band == column == 0:
                    panel.set_ylabel(f"ν = {noise:g}", fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main(folder: Path | None) -> None:
    """Make everything."""
    if folder is not None:
        DATA.parent.mkdir(exist_ok=True)
        shutil.copyfile(folder / "study.json", DATA)
    draw_study(json.loads(DATA.read_text(encoding="utf-8")), FIGURE)
    draw_scales(json.loads(SCALES.read_text(encoding="utf-8")), DOCS / SCALE_FIGURE)
    draw_scenes(SCENES)
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
