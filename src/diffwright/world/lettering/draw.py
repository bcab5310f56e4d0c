"""Scenes of words become pictures, with everything known about every letter."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from diffwright.world.lettering.camera import take
from diffwright.world.lettering.colors import RGB
from diffwright.world.lettering.faces import Face
from diffwright.world.lettering.framing import apply
from diffwright.world.lettering.grounds import paint
from diffwright.world.lettering.scene import TextScene
from diffwright.world.lettering.word import Shadow, Word, corners_of

FINE = 2  # samples a pixel and direction, of coverage
SOLID_STEPS = 6
KEEP_COLOR = 0.12  # weight of the color against the gradients, where paint is blended by gradients


@dataclass(frozen=True, eq=False)
class DrawnWord:
    """A word as it stands in the picture; coordinates are (x, y) in pixels.

    Args:
        text: What it says.
        polygon: Corners of its ink, clockwise from its top left.
        boxes: Corners of the ink of each letter, in order.
        face: What it is set in.
        color_name: Name of its color.
        rgb: Its color, 0 to 255.

    Shapes:
        polygon (4, 2), boxes (N, 4, 2)
    """

    text: str
    polygon: np.ndarray
    boxes: np.ndarray
    face: Face
    color_name: str
    rgb: RGB


@dataclass(frozen=True, eq=False)
class Lettering:
    """A picture of words.

    Args:
        image: uint8 (H, W, 3).
        clean: The same without the target word.
        words: All words, in the order of the scene.
        target: Number of the target word; -1 in a scene without words.
    """

    image: np.ndarray
    clean: np.ndarray
    words: tuple[DrawnWord, ...]
    target: int


def draw(scene: TextScene) -> Lettering:
    """Draw a scene; the same scene always gives the same picture.

    Example:
        >>> from diffwright.world.lettering.scene import sample
        >>> draw(sample(7, "train")).image.shape
        (256, 256, 3)
    """
    if scene.target < 0:
        image = pictures(scene, [None])[0]
        return Lettering(image, image, (), -1)
    image, clean = pictures(scene, [scene.words[scene.target], None])
    return Lettering(image, clean, tuple(drawn(word, scene) for word in scene.words), scene.target)


def pictures(scene: TextScene, targets: Sequence[Word | None]) -> list[np.ndarray]:
    """Draw a scene several times: all its words but the target, and in the target's stead each word given.

    Args:
        scene: The scene.
        targets: What to draw in the target's stead; None for nothing.

    Shapes:
        -> uint8 (H, W, 3) each
    """
    base = paint(scene.ground, scene.size).copy()
    view = np.array(scene.view).reshape(3, 3)
    for i, word in enumerate(scene.words):
        if i != scene.target:
            compose(base, word, view)
    drawn = []
    for word in targets:
        canvas = base.copy()
        if word is not None:
            compose(canvas, word, view)
        drawn.append(canvas)
    return take(drawn, scene.camera)


def drawn(word: Word, scene: TextScene) -> DrawnWord:
    """Say where a word and its letters stand in the picture of a scene."""
    matrix = np.array(scene.view).reshape(3, 3) @ word.to_plane
    polygon = apply(matrix, corners_of(word.layer.ink_box)) - 0.5
    boxes = apply(matrix, word.layer.boxes) - 0.5
    return DrawnWord(word.text, polygon, boxes, word.face, word.color, word.rgb)


def compose(canvas: np.ndarray, word: Word, view: np.ndarray) -> None:
    """Paint a word onto a float picture (H, W, 3) of 0 to 1, in place."""
    layer = word.layer
    matrix = view @ word.to_plane
    box = _box(matrix, word, canvas.shape)
    if box is None:
        return
    x0, y0, x1, y1 = box
    ground = canvas[y0:y1, x0:x1].copy()
    patch = ground
    if word.shadow is not None:
        coverage, to_layer = _shadow(layer.outline or layer.ink, word.shadow, layer.em)
        dark = _warp(coverage, matrix @ to_layer, box) * word.shadow.opacity
        patch = _over(patch, _color(word.shadow.rgb), dark)
    if layer.outline is not None and word.outline is not None:
        patch = _over(patch, _color(word.outline[1]), _warp(layer.outline, matrix, box) * word.opacity)
    ink = _warp(layer.ink, matrix, box)
    paint_color = _ink(word, ground, (y1 - y0, x1 - x0))
    if word.blend in ("multiply", "screen"):
        mixed = patch * paint_color if word.blend == "multiply" else 1 - (1 - patch) * (1 - paint_color)
        canvas[y0:y1, x0:x1] = _over(patch, 0.75 * mixed + 0.25 * paint_color, ink * word.opacity)
        return
    done = _over(patch, paint_color, ink * word.opacity)
    canvas[y0:y1, x0:x1] = _by_gradients(patch, done) if word.blend == "gradient" else done


def _box(matrix: np.ndarray, word: Word, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Give the part of the canvas that a word and its effects can touch, or None."""
    layer = word.layer
    reach = layer.em * (0.0 if word.shadow is None else max(map(abs, word.shadow.by)) + 3 * word.shadow.blur)
    width, height = layer.ink.size
    points = apply(matrix, corners_of((-reach, -reach, width + reach, height + reach)))
    x0, y0 = np.floor(points.min(axis=0)).astype(int) - 1
    x1, y1 = np.ceil(points.max(axis=0)).astype(int) + 1
    x0, y0, x1, y1 = max(int(x0), 0), max(int(y0), 0), min(int(x1), shape[1]), min(int(y1), shape[0])
    return (x0, y0, x1, y1) if x1 - x0 > 1 and y1 - y0 > 1 else None


def _warp(coverage: Image.Image, matrix: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Bring coverage of a layer into a part of the picture, antialiased; (h, w, 1), 0 to 1."""
    x0, y0, x1, y1 = box
    grid = np.array([[1 / FINE, 0, x0], [0, 1 / FINE, y0], [0, 0, 1]])
    inverse = np.linalg.inv(matrix) @ grid
    coefficients = (inverse / inverse[2, 2]).ravel()[:8].tolist()
    size = ((x1 - x0) * FINE, (y1 - y0) * FINE)
    warped = coverage.transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
    return np.asarray(warped.reduce(FINE), np.float32)[..., None] / 255


def _shadow(coverage: Image.Image, shadow: Shadow, em: int) -> tuple[Image.Image, np.ndarray]:
    """Give a shadow's coverage and the matrix from it to the layer; it has its own margin for the blur."""
    dx, dy = (value * em for value in shadow.by)
    reach = int(max(abs(dx), abs(dy)) * shadow.solid + 3 * shadow.blur * em) + 1
    dark = Image.new("L", (coverage.width + 2 * reach, coverage.height + 2 * reach))
    dark.paste(coverage, (reach, reach))
    if shadow.solid:
        first = dark
        for step in range(1, SOLID_STEPS):
            share = step / SOLID_STEPS
            dark = ImageChops.lighter(dark, ImageChops.offset(first, -round(dx * share), -round(dy * share)))
    if shadow.blur:
        dark = dark.filter(ImageFilter.GaussianBlur(shadow.blur * em))
    return dark, np.array([[1, 0, dx - reach], [0, 1, dy - reach], [0, 0, 1.0]])


def _ink(word: Word, ground: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The paint of a word: one color or shading into a second, with the ground's relief where it has any."""
    color = _color(word.rgb)
    if word.second is not None:
        share = np.linspace(0, 1, size[0], dtype=np.float32)[:, None, None]
        color = color + (_color(word.second) - color) * share
    if word.bump:
        light = ground.mean(axis=2, keepdims=True)
        color = np.clip(color * (1 + word.bump * (light / max(float(light.mean()), 0.05) - 1)), 0, 1)
    return np.broadcast_to(color, (*size, 3))


def _color(rgb: RGB) -> np.ndarray:
    return np.array(rgb, np.float32) / 255


def _over(under: np.ndarray, color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Mix as light mixes, so that edges between bright and dark look right: gamma is taken for 2."""
    return np.sqrt(under * under * (1 - alpha) + color * color * alpha)


def _by_gradients(ground: np.ndarray, painted: np.ndarray) -> np.ndarray:
    """Let the ground's texture show through paint, keeping its color.

    Minimizes |grad f - v|^2 + w |f - painted|^2 in the frequency domain, where v is the larger of the gradients of
    ground and paint; it equals the paint wherever the ground is smoother, so that the rim stays.
    """
    height, width = ground.shape[:2]
    divergence = np.zeros_like(ground)
    for axis in (0, 1):
        of_ground, of_paint = (np.roll(x, -1, axis) - x for x in (ground, painted))
        v = np.where(np.abs(of_ground) > np.abs(of_paint), of_ground, of_paint)
        divergence += np.roll(v, 1, axis) - v
    spectrum = 4 * (
        np.sin(np.pi * np.fft.fftfreq(height))[:, None] ** 2 + np.sin(np.pi * np.fft.rfftfreq(width)) ** 2
    )
    total = np.fft.rfft2(KEEP_COLOR * painted + divergence, axes=(0, 1))
    solved = np.fft.irfft2(total / (KEEP_COLOR + spectrum)[..., None], s=(height, width), axes=(0, 1))
    return solved.clip(0, 1).astype(np.float32)
