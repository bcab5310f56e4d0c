"""How a scene looks: its ground, and one style that all its words share."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diffwright.world.lettering import colors
from diffwright.world.lettering.colors import NAMED, RGB
from diffwright.world.lettering.faces import Face
from diffwright.world.lettering.grounds import PANELS, TEXTURES, Ground, photographs
from diffwright.world.lettering.word import Shadow, Word

PANEL_SHARE = 0.5  # of the grounds: most real signs are flat
PHOTO_SHARE = 0.4  # of the grounds in training, where photographs are given
LEAST_LIGHTNESS, LEAST_DISTANCE = 25.0, 35.0  # in CIELAB, between ink and the mean of the ground
LEAST_IN_HUE = 17.0  # difference in lightness where the hue differs much
LEAST_TO_CLUSTER = 20.0  # from every large color of the ground
FAINT, FAINT_LIGHTNESS = (18.0, 32.0), 10.0  # distance of low contrast, and its least part in lightness
TRIES = 40
NATURAL = {
    "brick": ((42, 30, 25), (55, 22, 22), (68, 4, 12), (86, 0, 4)),
    "wood": ((45, 14, 28), (62, 12, 30), (30, 10, 16), (74, 6, 22)),
    "plaster": ((82, 2, 8), (88, 0, 3), (60, 0, 2), (75, 10, 20)),
    "tiles": ((88, 0, 2), (70, -8, -6), (55, -4, -18), (35, 0, 0)),
    "metal": ((70, 0, -2), (50, 0, -3), (85, 0, 0), (60, 6, 20)),
}
"""Colors that walls and boards have, in CIELAB."""


@dataclass(frozen=True)
class Style:
    """What a scene's words share.

    Args:
        pattern: A word with every trait but text, face and size.
        named: Whether its color was chosen by name, so that paint keeps it.
        faint: Whether low contrast was asked for.
    """

    pattern: Word
    named: bool
    faint: bool = False

    def word(self, text: str, face: Face, size: float) -> Word:
        """Give a word of this style."""
        return replace(self.pattern, text=text, face=face, size=size)


def sample_ground(rng: np.random.Generator, kind: str, photos: Path | None) -> Ground:
    """Draw what words stand on: photographs only where a folder is given, of everything otherwise."""
    seed = int(rng.integers(2**31))
    if photos is not None:
        files = photographs(photos)
        return Ground("photo", (128, 128, 128), (128, 128, 128), seed, files[int(rng.integers(len(files)))])
    options = PANELS if rng.random() < PANEL_SHARE and kind != "hard" else TEXTURES
    material = options[int(rng.integers(len(options)))]
    lightness = float(rng.choice([rng.uniform(8, 35), rng.uniform(35, 70), rng.uniform(70, 97)]))
    natural = NATURAL.get(material)
    if natural is None or rng.random() < 0.3:
        main = _random_color(rng, lightness)
    else:
        main = colors.from_lab(np.array(natural[int(rng.integers(len(natural)))]) + rng.normal(0, (9, 4, 4)))
    lightness = float(colors.to_lab(main)[0])
    other = _random_color(rng, float(np.clip(lightness + rng.choice([-35, 35]), 5, 97)))
    return Ground(material, main, other, seed)


def _random_color(rng: np.random.Generator, lightness: float) -> RGB:
    hue, chroma = rng.uniform(0, 2 * np.pi), rng.beta(0.9, 2.4) * 75
    return colors.from_lab(np.array([lightness, chroma * np.cos(hue), chroma * np.sin(hue)]))


def sample_style(rng: np.random.Generator, kind: str, ground: np.ndarray) -> Style:
    """Draw color, effects and paint, legible on a ground (H, W, 3) of 0 to 1."""
    seen = ground_colors(ground)
    faint = kind == "hard" and rng.random() < 0.5
    named = rng.random() < 0.5
    rgb, name = pick_color(rng, seen, named, faint)
    dark = colors.to_lab(rgb)[0] < 50
    contrary: RGB = (255, 255, 255) if dark else (0, 0, 0)
    word = Word("", _NO_FACE, 16.0, rgb, name, spacing=_spacing(rng), squeeze=float(rng.uniform(0.85, 1.12)))
    if rng.random() < 0.1:
        word = replace(
            word, outline=(float(rng.uniform(0.03, 0.08)), _toward(rgb, contrary, rng.uniform(0.6, 1)))
        )
    word = replace(word, shadow=_shadow(rng, rgb))
    if rng.random() < 0.05:
        word = replace(word, second=_toward(rgb, contrary, 0.35))
    if rng.random() < 0.2:
        word = replace(word, bump=float(rng.uniform(0.3, 0.9)))
    darker = colors.to_lab(rgb)[0] < seen[0][0]
    paint = rng.random()
    mixing = "multiply" if darker else "screen"
    blend = "gradient" if paint < 0.2 else mixing if paint < 0.4 and not named else "alpha"
    opacity = float(np.clip(rng.normal(0.95, 0.06), 0.8, 1)) if rng.random() < 0.4 else 1.0
    return Style(replace(word, blend=blend, opacity=opacity), named, faint)


def ground_colors(ground: np.ndarray, clusters: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Give a ground's mean color and its large ones, by k-means in CIELAB.

    Shapes:
        (H, W, 3) of 0 to 1 -> (3,), (at most 3, 3)
    """
    step = max(1, min(ground.shape[:2]) // 12)
    lab = colors.to_lab(ground[step // 2 :: step, step // 2 :: step].reshape(-1, 3) * 255)
    order = np.argsort(lab[:, 0])
    centers = lab[order[np.linspace(0, len(lab) - 1, clusters).astype(int)]]
    for _ in range(3):
        nearest = ((lab[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
        centers = np.stack(
            [lab[nearest == k].mean(axis=0) if (nearest == k).any() else centers[k] for k in range(clusters)]
        )
    shares = np.bincount(nearest, minlength=clusters) / len(lab)
    return lab.mean(axis=0), centers[shares > 0.15]


def stands_out(lab: np.ndarray, seen: tuple[np.ndarray, np.ndarray]) -> bool:
    """Whether a color (3,) in CIELAB is legible on a ground of these colors."""
    mean, large = seen
    lighter, distance = abs(lab[0] - mean[0]), float(np.linalg.norm(lab - mean))
    enough = lighter >= LEAST_LIGHTNESS or (distance >= LEAST_DISTANCE and lighter >= LEAST_IN_HUE)
    return enough and bool((np.linalg.norm(large - lab, axis=1) >= LEAST_TO_CLUSTER).all())


def pick_color(
    rng: np.random.Generator, seen: tuple[np.ndarray, np.ndarray], named: bool, faint: bool = False
) -> tuple[RGB, str]:
    """Draw a color that is legible on a ground, and its name.

    Args:
        rng: Draws it.
        seen: What ``ground_colors`` gave.
        named: Choose among the names of training, a basic one in half of the cases; otherwise a color as signs have
            it, named by the nearest name.
        faint: Ask for low contrast instead.
    """
    known = colors.names("train")
    basic = (*colors.BASIC, "white", "yellow")
    for _ in range(TRIES):
        if named:
            options = basic if rng.random() < 0.5 else known
            name = options[int(rng.integers(len(options)))]
            rgb = NAMED[name]
        else:
            name, rgb = "", _sign_color(rng, seen[0])
        lab = colors.to_lab(rgb)
        fits = _is_faint(lab, seen[0]) if faint else stands_out(lab, seen)
        if fits:
            return rgb, name or colors.nearest(rgb, known)
    name = "black" if seen[0][0] > 50 else "white"
    return NAMED[name], name


def _is_faint(lab: np.ndarray, mean: np.ndarray) -> bool:
    near = FAINT[0] <= float(np.linalg.norm(lab - mean)) <= FAINT[1]
    return near and abs(float(lab[0] - mean[0])) >= FAINT_LIGHTNESS


def _sign_color(rng: np.random.Generator, mean: np.ndarray) -> RGB:
    """A color as signs have it: near white or black, a shade of the ground's own hue, or any strong one."""
    choice = rng.random()
    light = mean[0] < 55
    if choice < 0.4:
        lab = np.array([rng.uniform(86, 99) if light else rng.uniform(3, 22), *rng.normal(0, 4, 2)])
    elif choice < 0.65:
        shift = rng.uniform(30, 60) * (1 if light else -1)
        lab = np.array([np.clip(mean[0] + shift, 4, 97), mean[1] * 0.8, mean[2] * 0.8])
    else:
        return _random_color(rng, float(rng.uniform(15, 92)))
    return colors.from_lab(lab)


def _spacing(rng: np.random.Generator) -> float:
    return float(rng.uniform(-0.01, 0.12)) if rng.random() < 0.35 else 0.0


def _shadow(rng: np.random.Generator, rgb: RGB) -> Shadow | None:
    choice = rng.random()
    by = (float(rng.uniform(0.02, 0.07)) * (1 if rng.random() < 0.7 else -1), float(rng.uniform(0.02, 0.07)))
    if choice < 0.15:
        return Shadow(by, float(rng.uniform(0.0, 0.05)), float(rng.uniform(0.35, 0.8)), (0, 0, 0))
    if choice < 0.20:
        return Shadow(by, 0.0, 1.0, _toward(rgb, (0, 0, 0), 0.55), solid=True)
    return None


def _toward(rgb: RGB, other: RGB, share: float) -> RGB:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(rgb, other, strict=True))
    return red, green, blue


_NO_FACE = Face("", "", Path(), 0, 400, False, "sans")
