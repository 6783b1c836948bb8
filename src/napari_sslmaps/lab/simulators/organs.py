"""Organs and lesions of simulated ultrasound, each by the arrangement that a reader knows it by."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from napari_sslmaps.lab.simulators.anatomy import (
    FLUID,
    KIDNEY,
    LESION,
    PARENCHYMA,
    SHADOW,
    WALL,
    Anatomy,
    Mask,
    Oval,
    coarse,
    place,
)
from napari_sslmaps.lab.simulators.fields import FloatArray, smooth_field

#: Backscatter of blood, bile and urine in decibels below the parenchyma.
ANECHOIC = -42.0


def paint_parenchyma(rng: np.random.Generator, field: Anatomy) -> None:
    """Liver, spleen, thyroid: even speckle, a little uneven over centimetres."""
    size = field.size
    field.echo[:] = coarse(rng, size, rng.uniform(30, 60), rng.uniform(0.5, 2.0))
    field.echo += coarse(rng, size, rng.uniform(3, 6), rng.uniform(0.2, 1.2))
    field.labels[:] = PARENCHYMA


def paint_vessels(rng: np.random.Generator, field: Anatomy) -> None:
    """Winding tubes of blood; portal ones have bright walls, hepatic ones have none."""
    size = field.size
    y = np.arange(size, dtype=np.float32)[:, None]
    x = np.arange(size, dtype=np.float32)[None, :]
    for _ in range(rng.integers(1, 4)):
        centre = place(rng, field.visible & (field.labels == PARENCHYMA))
        turn = rng.uniform(0, np.pi)
        along = np.cos(turn) * (x - centre[1]) + np.sin(turn) * (y - centre[0])
        across = np.cos(turn) * (y - centre[0]) - np.sin(turn) * (x - centre[1])
        bend, wave = rng.uniform(2, 9) * field.zoom, rng.uniform(50, 110) * field.zoom
        across = across + bend * np.sin(along * (2 * np.pi / wave))
        taper = 1 - np.clip(along / (rng.uniform(60, 200) * field.zoom), -0.6, 0.9)
        radius = rng.uniform(1.6, 5.5) * field.zoom * taper
        edge = np.abs(across) - radius
        inside = (field.labels == PARENCHYMA) & (along > -rng.uniform(10, 90) * field.zoom)
        if rng.random() < 0.5:
            sheath = inside & (edge < rng.uniform(1.5, 3.0))
            field.echo[sheath] += rng.uniform(4, 9)
        field.paint(inside & (edge < 0) & (radius > 0.8), FLUID, ANECHOIC)


def paint_pool(rng: np.random.Generator, field: Anatomy) -> None:
    """Gall bladder, bladder or cyst: smooth and anechoic, most with a wall, some with sludge."""
    centre = place(rng, field.visible & (field.wall > 0))
    long = rng.uniform(13, 42) * field.zoom
    oval = Oval(centre, long, long * rng.uniform(0.45, 1.0), rng.uniform(0, np.pi))
    along, across = oval.frame(field.size)
    pear = 1 + rng.uniform(0, 0.35) * along
    distance = np.hypot(along, across / np.clip(pear, 0.3, None))
    if rng.random() < 0.6:
        rim = (distance < 1 + rng.uniform(1.5, 3.5) / oval.short) & (distance >= 1)
        field.echo[rim] = rng.uniform(2, 9)
    field.paint(distance < 1, FLUID, ANECHOIC)
    if rng.random() < 0.25:
        row = np.arange(field.size, dtype=np.float32)[:, None]
        low = (distance < 1) & (row > centre[0] + rng.uniform(0.1, 0.6) * oval.short)
        field.echo[low] = rng.uniform(-22, -12)


def paint_kidney(rng: np.random.Generator, field: Anatomy) -> None:
    """Cortex around dark pyramids around a bright sinus, in a bright capsule."""
    size = field.size
    long = rng.uniform(48, 80) * field.zoom
    oval = Oval(
        place(rng, field.visible & (field.wall > 0)),
        long,
        long * rng.uniform(0.42, 0.62),
        rng.normal(0, 0.5) % np.pi,
    )
    along, across = oval.frame(size)
    wobble = 0.05 * smooth_field(rng, size, 26 * field.zoom)
    distance = np.hypot(along, across) + wobble
    if float(distance.min()) >= 1:
        return
    body = distance < 1
    capsule = (distance >= 1) & (distance < 1 + 2.2 / oval.short)
    field.echo[capsule] = np.maximum(field.echo, rng.uniform(3, 10))[capsule]
    cortex = rng.uniform(-6, 1)
    fine = coarse(rng, size, rng.uniform(3, 5), rng.uniform(0.3, 1.2))
    field.paint(body, KIDNEY, cortex + fine)
    petals = np.cos(rng.integers(7, 12) * np.arctan2(across, along) + rng.uniform(0, 6))
    taper = np.clip((distance - 0.35) / 0.45, 0, 1)
    pyramid = (distance > 0.4) & (distance < 0.8) & (petals > 0.8 - 0.65 * taper)
    field.echo[pyramid] -= rng.uniform(5, 12)
    sinus = np.hypot(along * rng.uniform(1.0, 1.4), across) + 2.5 * wobble < rng.uniform(0.34, 0.48)
    field.echo[sinus] = (rng.uniform(4, 10) + coarse(rng, size, 5 * field.zoom, 3.0))[sinus]
    if rng.random() < 0.25:
        pelvis = np.hypot(along * 1.3, across) + 2.5 * wobble < rng.uniform(0.18, 0.32)
        field.paint(pelvis, FLUID, ANECHOIC)


def paint_heart(rng: np.random.Generator, field: Anatomy) -> None:
    """Two to four chambers of blood in a muscular wall, with leaflets between them."""
    size = field.size
    centre = place(rng, field.visible & (field.wall > 0))
    turn = rng.normal(np.pi / 2, 0.5)
    axis = np.array([np.sin(turn), np.cos(turn)])
    side = np.array([axis[1], -axis[0]])
    length, width = rng.uniform(50, 90) * field.zoom, rng.uniform(20, 36) * field.zoom
    wall, wobble = rng.uniform(9, 20) * field.zoom, 1.6 * smooth_field(rng, size, 18 * field.zoom)
    chambers = [(0.0, 0.0, 0.62), (1.0, 0.05, 0.45), (0.0, 1.0, 0.42), (1.0, 1.0, 0.4)]
    edges: list[FloatArray] = []
    for across, down, long in chambers[: rng.integers(2, 5)]:
        shift = across * (2 * width * rng.uniform(0.82, 0.95) + 0.7 * wall)
        fall = down * length * rng.uniform(0.95, 1.1)
        middle = np.asarray(centre) + shift * side + fall * axis
        short = width * rng.uniform(0.72, 1.05)
        oval = Oval((float(middle[0]), float(middle[1])), long * length, short, turn)
        edges.append((oval.radius(size) - 1) * np.float32(min(short, long * length)) + wobble)
    edge = np.maximum(np.minimum.reduce(edges), 0.7 * wall - field.wall)
    streaks = coarse(rng, size, rng.uniform(3, 6), rng.uniform(0.5, 2.0))
    field.paint(edge < wall, WALL, rng.uniform(-5, 4) + streaks)
    bright = (edge > wall) & (edge < wall + rng.uniform(1.5, 4))
    field.echo[bright] = rng.uniform(3, 10)
    field.paint(edge < 0, FLUID, ANECHOIC)
    _leaflets(rng, field, edges, edge)


def _leaflets(rng: np.random.Generator, field: Anatomy, edges: list[FloatArray], edge: FloatArray) -> None:
    """Valves where two chambers meet: thin, bright, partly open."""
    for first, second in pairwise(edges):
        meeting = np.abs(first - second) < rng.uniform(1.5, 2.6)
        leaflet = meeting & (edge < 3) & (edge > -rng.uniform(6, 18) * field.zoom)
        field.paint(leaflet, WALL, rng.uniform(4, 11))


def paint_lesions(rng: np.random.Generator, field: Anatomy) -> None:
    """Masses, darker, brighter or as bright as their host: coarse texture, uneven border, at times a halo."""
    size = field.size
    host = field.visible & (field.labels != FLUID)
    for _ in range(rng.integers(1, 4)):
        long = rng.uniform(13, 33) * field.zoom
        oval = Oval(place(rng, host), long, long * rng.uniform(0.6, 1.0), rng.uniform(0, np.pi))
        rough = rng.uniform(0.02, 0.14) * smooth_field(rng, size, rng.uniform(7, 16) * field.zoom)
        distance = oval.radius(size) + rough
        inside = distance < 1
        around = float(field.echo[inside].mean()) if inside.any() else 0.0
        level = np.clip(around, -8, 8) + rng.choice([-7, -4, 0, 4, 7]) + rng.normal(0, 1.5)
        texture = coarse(rng, size, rng.uniform(4, 8), rng.uniform(3.0, 6.0))
        if rng.random() < 0.5:
            halo = (distance >= 1) & (distance < 1 + 3.0 / oval.short)
            field.echo[halo] += rng.choice([-8, 6]) + rng.normal(0, 1.5)
        field.paint(inside, LESION, level + texture)
        if rng.random() < 0.2:
            field.echo[distance < rng.uniform(0.25, 0.5)] = rng.uniform(-26, -12)


def paint_body_wall(rng: np.random.Generator, field: Anatomy) -> None:
    """Skin, fat and muscle in layers that follow the transducer, parted by bright fasciae."""
    thickness = float((field.depth - field.wall).mean())
    depth = field.wall + thickness
    field.paint(depth < thickness, WALL, rng.uniform(-7, 3))
    borders = np.sort(rng.uniform(0.12, 0.92, rng.integers(1, 4))) * thickness
    for border in borders:
        below = (depth >= border) & (depth < thickness)
        field.echo[below] = rng.uniform(-8, 4)
        fascia = np.abs(depth - border) < rng.uniform(0.7, 1.5)
        field.echo[fascia] = rng.uniform(4, 12)
    lining = (depth >= thickness) & (depth < thickness + rng.uniform(1.2, 2.6))
    field.echo[lining] = rng.uniform(5, 12)
    skin = depth < rng.uniform(1.5, 5)
    field.echo[skin] = rng.uniform(3, 10)


def bones(rng: np.random.Generator, field: Anatomy) -> Mask:
    """Ribs, stones and bowel gas: (S, S) True on the surfaces that no sound passes."""
    wall = field.labels == WALL
    ceiling = float(np.median(field.depth[field.visible]))
    if bool((wall & field.visible).any()):
        deepest = float(np.quantile(field.depth[wall & field.visible], 0.9))
        ceiling = min(deepest, ceiling) if rng.random() < 0.7 else ceiling
    across = field.across[field.visible]
    left, right = float(across.min()), float(across.max())
    width = rng.uniform(14, 44) * field.zoom
    count = 1 if rng.random() < 0.6 else 2
    found: Mask = np.zeros_like(wall)
    start = rng.uniform(left, right)
    for index in range(count):
        middle = start + index * width * rng.uniform(1.8, 2.8)
        offset = (field.across - middle) / (0.5 * width)
        dome = ceiling + rng.uniform(-5, 5) + 0.22 * width * offset**2
        if rng.random() < 0.4:
            dome = dome + 1.5 * smooth_field(rng, field.size, 9)
        found = found | ((np.abs(offset) < 1) & (field.depth > dome) & (field.depth < dome + 4))
    field.paint(found, SHADOW, rng.uniform(10, 18))
    return found
