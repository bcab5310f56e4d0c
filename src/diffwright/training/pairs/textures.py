"""Procedural pictures to warp: dead leaves, clouds, cells, repeated patterns, letters, and nearly nothing.

Each function draws one square picture, float32 (side, side, 3) in [0, 1], from a generator and nothing else.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

from diffwright.training.corpus import LETTERS

Rng = np.random.Generator


def noise(
    rng: Rng, side: int, channels: int = 1, finest: int | None = None, rough: float = 0.6
) -> np.ndarray:
    """Octaves of smooth noise, (side, side, channels) in [0, 1].

    Args:
        rng: Generator.
        side: Pixels.
        channels: Independent fields.
        finest: Cells across the picture in the finest octave; a third of the side by default.
        rough: How much of an octave's amplitude the next finer one has.
    """
    total, amplitude, cells = torch.zeros(channels, side, side), 1.0, 3
    while cells <= (finest or side // 3):
        grid = torch.from_numpy(rng.standard_normal((1, channels, cells, cells), dtype=np.float32))
        total += amplitude * F.interpolate(grid, size=side, mode="bilinear", align_corners=True)[0]
        amplitude, cells = amplitude * rough, int(cells * 2)
    low, high = total.amin((1, 2), keepdim=True), total.amax((1, 2), keepdim=True)
    return ((total - low) / (high - low)).permute(1, 2, 0).numpy()


def clouds(rng: Rng, side: int) -> np.ndarray:
    """Colored noise, from smooth to grainy."""
    fields = noise(rng, side, 3, int(rng.choice((12, 48, 96, 192))), rng.uniform(0.45, 0.85))
    mixing = rng.normal(0, 0.18, (3, 3))
    mixing[0] += rng.uniform(0.4, 1.2)
    return _bounded(_color(rng) + (fields - 0.5) @ mixing.astype(np.float32))


def cells(rng: Rng, side: int) -> np.ndarray:
    """Voronoi cells of random colors, flat, shaded or outlined."""
    across = int(rng.integers(4, 17))
    seeds = rng.random((across + 2, across + 2, 2), dtype=np.float32)
    axis = np.arange(side, dtype=np.float32) / side * across
    x, y = np.meshgrid(axis, axis)
    column, row = x.astype(int), y.astype(int)
    near = np.full((side, side), 9, np.float32)
    second, owner = near.copy(), np.zeros((side, side), int)
    for j in range(3):
        for i in range(3):
            a, b = row + j, column + i
            d = (seeds[a, b, 0] + i - 1 - (x - column)) ** 2 + (seeds[a, b, 1] + j - 1 - (y - row)) ** 2
            second = np.minimum(second, np.maximum(d, near))
            owner = np.where(d < near, a * (across + 2) + b, owner)
            near = np.minimum(near, d)
    colors = _color(rng) + rng.normal(0, 0.25, ((across + 2) ** 2, 3)).astype(np.float32)
    picture = colors[owner]
    style = rng.random()
    if style < 0.35:
        picture = picture * (1.1 - near[..., None])
    elif style < 0.7:
        edge = ((np.sqrt(second) - np.sqrt(near)) < rng.uniform(0.03, 0.12))[..., None]
        picture = np.where(edge, _color(rng), picture)
    return _bounded(picture + _grain(rng, side))


def patterns(rng: Rng, side: int) -> np.ndarray:
    """Stripes, checks, bricks or dots: what looks alike in many places."""
    period = rng.uniform(10, 48)
    turn = rng.uniform(0, np.pi)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    u = (x * np.cos(turn) + y * np.sin(turn)) / period
    v = (y * np.cos(turn) - x * np.sin(turn)) / period * rng.choice((1.0, 1.0, 2.0))
    kind = int(rng.integers(4))
    if kind == 0:
        level = np.sin(2 * np.pi * u) + rng.choice((0.0, 0.5)) * np.sin(2 * np.pi * u * 3 + 1)
    elif kind == 1:
        level = np.sin(2 * np.pi * u) * np.sin(2 * np.pi * v)
    elif kind == 2:
        shifted = u + 0.5 * (np.floor(v) % 2)
        level = np.minimum((shifted % 1) * (1 - shifted % 1), (v % 1) * (1 - v % 1)) * 8 - 0.5
    else:
        level = 0.3 - np.hypot(u % 1 - 0.5, v % 1 - 0.5) * 2
    mix = np.clip(level * rng.choice((0.5, 3.0, 8.0)) + 0.5, 0, 1)[..., None].astype(np.float32)
    picture = _color(rng) * mix + _color(rng) * (1 - mix)
    shade = noise(rng, side, 1, 12) * rng.uniform(0, 0.5)
    return _bounded(picture * (1.2 - shade) + _grain(rng, side))


def blank(rng: Rng, side: int) -> np.ndarray:
    """A gradient with next to no texture."""
    y, x = np.mgrid[:side, :side].astype(np.float32) / side - 0.5
    slope = (rng.normal(0, 0.4, (2, 1)) + rng.normal(0, 0.2, (2, 3))).astype(np.float32)
    picture = _color(rng) + x[..., None] * slope[0] + y[..., None] * slope[1]
    return _bounded(picture + (noise(rng, side, 1, 6) - 0.5) * rng.uniform(0, 0.2) + _grain(rng, side) * 0.3)


def letters(rng: Rng, side: int) -> np.ndarray:
    """Lines of random characters on a quiet ground."""
    ground = blank(rng, side) if rng.random() < 0.6 else clouds(rng, side)
    picture = Image.fromarray((ground * 255).astype(np.uint8))
    pen, y = ImageDraw.Draw(picture), int(rng.integers(-10, 10))
    while y < side:
        height = int(rng.integers(12, 60))
        word = "".join(rng.choice(list(LETTERS + "   "), side * 2 // height))
        font = ImageFont.load_default(height)
        pen.text((int(rng.integers(-20, 20)), y), word, fill=_ink(rng), font=font)
        y += height + int(rng.integers(0, 12))
    return np.asarray(picture, np.float32) / 255


def leaves(rng: Rng, side: int) -> np.ndarray:
    """Dead leaves: shapes of all sizes over each other, each with its own color and grain.

    Reference:
        Lee, Mumford and Huang, Occlusion Models for Natural Images, 2001.
    """
    base, spread = _color(rng), rng.uniform(0.1, 0.35)
    picture = Image.new("RGB", (side, side), _bytes(base))
    grain = Image.new("L", (side, side), 90)
    pens = ImageDraw.Draw(picture), ImageDraw.Draw(grain)
    count, least = int(rng.integers(150, 600)), rng.uniform(0.012, 0.03) * side
    radii = (least * (1 - rng.random(count)) ** -0.5).clip(max=0.3 * side)
    centers = rng.uniform(-0.05, 1.05, (count, 2)) * side
    colors = base + rng.normal(0, spread, (count, 3)) + rng.normal(0, spread, (count, 1))
    for radius, center, color in zip(radii, centers, colors, strict=True):
        outline = shape_outline(rng, center, radius)
        pens[0].polygon(outline, fill=_bytes(color))
        pens[1].polygon(outline, fill=int(rng.integers(0, 256)))
    texture = noise(rng, side, 1, side // 3, rng.uniform(0.6, 0.95)) - 0.5
    strength = np.asarray(grain, np.float32)[..., None] / 255 * rng.uniform(0.1, 0.9)
    shade = 1.15 - rng.uniform(0, 0.5) * noise(rng, side, 1, 6)
    return _bounded((np.asarray(picture, np.float32) / 255 + texture * strength) * shade)


def shape_outline(rng: Rng, center: np.ndarray, radius: float) -> list[tuple[float, float]]:
    """Corners of an ellipse, a polygon or a smooth blob around a center."""
    kind = rng.random()
    corners = int(rng.integers(3, 7)) if kind < 0.35 else 24
    angle = np.sort(rng.uniform(0, 2 * np.pi, corners)) if kind < 0.35 else np.linspace(0, 2 * np.pi, 24)
    length = np.ones(corners)
    if kind > 0.65:
        for wave in (2, 3, 5):
            length = length + rng.uniform(-0.25, 0.25) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    turn, squeeze = rng.uniform(0, np.pi), rng.uniform(0.45, 1.0)
    x, y = length * np.cos(angle), length * np.sin(angle) * squeeze
    across, down = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    return list(
        zip((center[0] + radius * across).tolist(), (center[1] + radius * down).tolist(), strict=True)
    )


def silhouette(rng: Rng, side: int) -> np.ndarray:
    """Coverage of a moving object's shape in the middle of a square, uint8 (side, side), antialiased."""
    fine = Image.new("L", (side * 4, side * 4))
    pen, middle = ImageDraw.Draw(fine), np.array([side * 2.0, side * 2.0])
    for _ in range(int(rng.integers(1, 4))):
        radius = side * rng.uniform(0.7, 1.25)
        pen.polygon(shape_outline(rng, middle + rng.uniform(-0.3, 0.3, 2) * side, radius), fill=255)
    pen.rectangle((0, 0, side * 4 - 1, side * 4 - 1), outline=0, width=4)  # nothing touches the border
    return np.asarray(fine.resize((side, side), Image.Resampling.BOX))


KINDS: dict[str, tuple[float, Callable[[Rng, int], np.ndarray]]] = {
    "leaves": (0.40, leaves),
    "clouds": (0.18, clouds),
    "cells": (0.12, cells),
    "patterns": (0.14, patterns),
    "letters": (0.11, letters),
    "blank": (0.05, blank),
}
"""Share and function of each kind."""


def texture(rng: Rng, side: int) -> np.ndarray:
    """Draw a picture of a random kind, uint8 (side, side, 3)."""
    shares = np.array([share for share, _ in KINDS.values()])
    kind = list(KINDS)[int(rng.choice(len(KINDS), p=shares / shares.sum()))]
    return (KINDS[kind][1](rng, side) * 255).round().astype(np.uint8)


def _grain(rng: Rng, side: int) -> np.ndarray:
    return (noise(rng, side, 1, side // 3, 0.9) - 0.5) * rng.uniform(0, 0.25)


def _color(rng: Rng) -> np.ndarray:
    """A color, more often muted than not."""
    gray = rng.uniform(0.1, 0.9)
    return np.float32(gray + rng.normal(0, 0.14, 3)).clip(0, 1)


def _ink(rng: Rng) -> tuple[int, int, int]:
    return _bytes(rng.random(3) if rng.random() < 0.5 else np.full(3, rng.choice((0.05, 0.95))))


def _bytes(color: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (np.clip(color, 0, 1) * 255).astype(int).tolist()
    return red, green, blue


def _bounded(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float32).clip(0, 1)
