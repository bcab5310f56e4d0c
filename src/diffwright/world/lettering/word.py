"""One word of a scene: what it says, how it looks, where it stands."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from diffwright.world.lettering.colors import RGB
from diffwright.world.lettering.faces import Face
from diffwright.world.lettering.glyphs import Curve, Layer, layer_of

FINER = 1.6  # em of a word's layer over its em in the picture
NARROWEST = 0.7  # how far letters are condensed before they are made smaller
BLENDS = ("alpha", "multiply", "screen", "gradient")


@dataclass(frozen=True)
class Shadow:
    """A shadow, or with ``solid`` the side of letters that stand out.

    Args:
        by: Shift (x, y), em.
        blur: Standard deviation, em.
        opacity: 0 to 1.
        rgb: Its color.
        solid: Fill all the way from the letters to the shift.
    """

    by: tuple[float, float]
    blur: float
    opacity: float
    rgb: RGB
    solid: bool = False


@dataclass(frozen=True)
class Word:
    """A word.

    Args:
        text: What it says.
        face: What it is set in.
        size: Em, pixels of the picture.
        rgb: Its color.
        color: The name of it.
        place: Middle of its ink (x, y) in the plane of the scene.
        spacing: Room added between letters, em.
        squeeze: Width over the face's own.
        curve: The baseline; None is straight.
        outline: Width in em, and color.
        shadow: A shadow, or None.
        second: Color at the foot of the letters, where they shade into another.
        blend: How paint meets ground: "alpha", "multiply", "screen" or "gradient".
        opacity: 0 to 1.
        bump: How much of the ground's light and dark shows on the letters, 0 to 1.
        room: Widest and highest its ink may be, pixels of the plane; condensed, then made smaller, until it fits.
    """

    text: str
    face: Face
    size: float
    rgb: RGB
    color: str
    place: tuple[float, float] = (0.0, 0.0)
    spacing: float = 0.0
    squeeze: float = 1.0
    curve: Curve | None = None
    outline: tuple[float, RGB] | None = None
    shadow: Shadow | None = None
    second: RGB | None = None
    blend: str = "alpha"
    opacity: float = 1.0
    bump: float = 0.0
    room: tuple[float, float] | None = None

    @property
    def layer(self) -> Layer:
        """Its flat layers of coverage."""
        stroke = self.outline[0] if self.outline else 0.0
        return _layer(self.face, self.text, round(self.size * FINER), self.spacing, stroke, self.curve)

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of its ink in the plane, pixels."""
        across, down = self._scales()
        x0, y0, x1, y1 = self.layer.ink_box
        return (x1 - x0) * across, (y1 - y0) * down

    @property
    def rise(self) -> float:
        """How far the middle of its ink is above its baseline, pixels of the plane."""
        _, y0, _, y1 = self.layer.ink_box
        return (self.layer.baseline - (y0 + y1) / 2) * self._scales()[1]

    def _scales(self) -> tuple[float, float]:
        scale = self.size / self.layer.em
        squeeze = self.squeeze
        if self.room is not None:
            x0, y0, x1, y1 = self.layer.ink_box
            scale *= min(1.0, self.room[1] / ((y1 - y0) * scale))
            wide = (x1 - x0) * scale * squeeze / self.room[0]
            if wide > 1:
                narrower = max(1 / wide, min(1.0, NARROWEST / squeeze))
                squeeze *= narrower
                scale /= max(1.0, wide * narrower)
        return scale * squeeze, scale

    @property
    def to_plane(self) -> np.ndarray:
        """The matrix (3, 3) from its layer to the plane."""
        across, down = self._scales()
        x0, y0, x1, y1 = self.layer.ink_box
        x, y = self.place
        shift_x, shift_y = x - across * (x0 + x1) / 2, y - down * (y0 + y1) / 2
        return np.array([[across, 0, shift_x], [0, down, shift_y], [0, 0, 1.0]])


@lru_cache(maxsize=256)
def _layer(face: Face, text: str, em: int, spacing: float, stroke: float, curve: Curve | None) -> Layer:
    return layer_of(face, text, em, spacing, stroke, curve)


def corners_of(box: tuple[float, float, float, float]) -> np.ndarray:
    """Give the corners (4, 2) of a box x0 y0 x1 y1, clockwise from its top left."""
    x0, y0, x1, y1 = box
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)
