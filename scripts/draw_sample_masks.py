"""Draw the masks of the two sample images: ``python scripts/draw_sample_masks.py``.

The polygons were drawn by the authors of this package, by eye and coarsely, for trying out scores. None of us
is a pathologist or a cardiologist, and nobody has checked them. 255 is where we were not sure.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

FOLDER = Path(__file__).parents[1] / "src/napari_sslmaps/sources/sample_masks"
UNSURE = 255
Polygon = str
"""Corners as ``x,y`` in pixels of the sample, as in SVG."""

EPITHELIUM, STROMA = 1, 2
HISTOLOGY: tuple[tuple[int, Polygon], ...] = (
    (STROMA, "65,205 150,240 276,140 425,0 511,0 511,511 157,511 140,330 90,290"),
    # the gland at the upper left, whose lower edge is convex
    (
        EPITHELIUM,
        (
            "0,0 52,0 70,14 92,8 100,0 240,0 258,60 272,115 277,145 271,188 258,218 240,239 210,256 "
            "185,261 160,250 135,236 107,225 75,215 65,212 50,198 25,172 0,140"
        ),
    ),
    # the gland at the left edge
    (
        EPITHELIUM,
        (
            "0,145 25,172 50,198 72,215 82,235 97,260 110,285 125,305 137,320 147,345 152,370 159,395 "
            "160,425 159,450 159,511 40,511 39,490 45,450 49,415 48,380 50,330 35,312 20,295 5,275 "
            "0,272"
        ),
    ),
    # the gland at the upper right
    (
        EPITHELIUM,
        (
            "232,0 427,0 435,40 447,75 452,100 456,130 460,155 459,175 452,200 446,220 446,250 "
            "439,270 427,295 410,297 390,285 365,277 345,265 327,245 305,215 297,197 287,170 277,145 "
            "272,115 258,60"
        ),
    ),
    # the gland below, cut across
    (
        EPITHELIUM,
        (
            "287,305 305,312 325,320 350,332 368,345 375,365 380,385 384,410 384,440 377,470 370,495 "
            "362,506 345,511 312,511 300,500 295,495 287,475 275,452 262,430 256,400 255,375 252,350 "
            "260,335 275,325 280,310"
        ),
    ),
    # lumina and empty glass
    (
        0,
        (
            "277,0 287,0 297,30 307,55 320,85 330,100 347,102 355,120 362,140 372,160 382,190 375,195 "
            "367,195 357,185 350,162 340,145 327,130 320,102 307,80 300,57 290,30 280,8"
        ),
    ),
    (0, "98,411 108,411 111,424 101,426"),
    (0, "431,400 440,395 465,390 477,395 480,415 472,450 460,475 440,492 425,490 425,465 430,435"),
    # the cleft of the upper left gland, out of focus
    (UNSURE, "137,0 162,0 167,30 182,52 177,75 180,105 175,117 172,100 165,82 155,75 150,55 140,35"),
    (UNSURE, "160,480 200,478 200,511 158,511"),
)

BLOOD, TISSUE = 1, 2
ULTRASOUND: tuple[tuple[int, Polygon], ...] = (
    # the whole sector; what is not drawn over is not sure
    (
        UNSURE,
        (
            "158,22 183,22 202,38 232,72 238,95 230,130 226,160 220,187 202,199 170,206 140,203 "
            "110,195 88,185 78,160 82,140 96,118 102,95 108,72 128,48 148,30"
        ),
    ),
    # near field and apex
    (
        TISSUE,
        (
            "158,30 180,30 196,42 214,64 222,76 218,88 204,91 192,88 182,80 172,72 163,75 152,80 "
            "143,85 126,88 117,82 120,68 136,50 148,36"
        ),
    ),
    # septum between the ventricles, and the upper part of that between the atria
    (
        TISSUE,
        (
            "144,88 150,86 158,91 160,100 157,110 153,120 152,129 162,133 161,148 152,149 149,142 "
            "147,128 144,118 143,104"
        ),
    ),
    # lateral wall
    (
        TISSUE,
        "196,95 205,95 208,110 209,130 209,150 206,164 197,165 192,162 192,152 195,140 195,128 196,112",
    ),
    # what lies behind the atria
    (
        TISSUE,
        (
            "98,160 110,167 125,173 150,174 165,177 180,173 195,168 204,172 203,185 190,195 170,199 "
            "140,197 115,190 99,184 95,172"
        ),
    ),
    # left ventricle
    (
        BLOOD,
        "162,91 165,80 172,77 179,84 185,93 190,104 191,117 187,122 176,125 162,130 156,125 159,112 162,101",
    ),
    # left atrium
    (
        BLOOD,
        "164,136 178,131 188,128 190,134 190,143 187,150 186,157 179,164 170,167 164,166 162,158 163,148",
    ),
    # right atrium
    (BLOOD, "130,142 144,136 147,150 150,166 142,167 131,163 120,156 124,147"),
)

MASKS = {"histology": ((512, 512), HISTOLOGY), "ultrasound": ((240, 320), ULTRASOUND)}


def drawn(shape_yx: tuple[int, int], polygons: tuple[tuple[int, Polygon], ...]) -> Image.Image:
    """Paint polygons over each other, the last on top."""
    mask = Image.new("L", (shape_yx[1], shape_yx[0]), 0)
    painter = ImageDraw.Draw(mask)
    for label, corners in polygons:
        numbers = [int(number) for number in corners.replace(",", " ").split()]
        painter.polygon(list(zip(numbers[::2], numbers[1::2], strict=True)), fill=label)
    return mask


def main() -> None:
    """Write a PNG for each sample."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for key, (shape_yx, polygons) in MASKS.items():
        mask = drawn(shape_yx, polygons)
        mask.save(FOLDER / f"{key}.png", optimize=True)
        values, counts = np.unique(np.asarray(mask), return_counts=True)
        print(key, dict(zip(values.tolist(), counts.tolist(), strict=True)))


if __name__ == "__main__":
    main()
