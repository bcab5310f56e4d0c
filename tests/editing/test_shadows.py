import numpy as np
import pytest

from diffwright.editing.collage import collage
from diffwright.editing.operations import Move, Paste, Remove
from diffwright.editing.shadows import shade, with_shadow

SIZE = (48, 64)
MASK = np.zeros(SIZE, bool)
MASK[14:30, 20:32] = True
SHADOW = np.zeros(SIZE, bool)
SHADOW[26:30, 32:42] = True


def scene(shadow=SHADOW, floor=None):
    """A red box on sand, its shadow to the right."""
    ground = np.broadcast_to([200.0, 170.0, 120.0], (*SIZE, 3)).copy() if floor is None else floor
    ground[shadow] *= 0.5
    ground[MASK] = [180, 20, 20]
    return ground.round().astype(np.uint8)


def test_a_shadow_is_found_with_its_light():
    light = shade(scene(), MASK)
    assert light.shape == SIZE
    found = light < 1
    assert (found & SHADOW).sum() > 0.7 * SHADOW.sum()
    assert not (found & ~SHADOW).any()
    assert light[27:29, 35:40] == pytest.approx(0.5, abs=0.03)


def test_darkness_that_is_no_shadow_is_left_alone():
    tiles = (np.mgrid[: SIZE[0], : SIZE[1]] // 6).sum(0) % 2
    checker = np.where(tiles[..., None] == 0, 200.0, 110.0) * np.ones(3)
    assert shade(scene(SHADOW & False, checker), MASK) is None
    assert shade(scene(SHADOW & False), MASK) is None
    blue = np.broadcast_to([200.0, 170.0, 120.0], (*SIZE, 3)).copy()
    blue[SHADOW] = [30, 40, 120]
    assert shade(scene(SHADOW & False, blue), MASK) is None, "another thing, of another hue"
    away = np.roll(SHADOW, 10, axis=1)
    assert shade(scene(away), MASK) is None, "it does not reach the object"


@pytest.mark.parametrize("factor", [1, 4])
def test_a_shadow_moves_with_its_object(factor):
    picture = scene().repeat(factor, 0).repeat(factor, 1)
    mask, size = MASK.repeat(factor, 0).repeat(factor, 1), (SIZE[0] * factor, SIZE[1] * factor)
    p = with_shadow(Move(mask, (-12.0 * factor, 8.0 * factor)).place(size), picture)
    moved = np.roll(SHADOW, (8, -12), (0, 1)).repeat(factor, 0).repeat(factor, 1)
    arrives = p.shade_arrives < 1
    assert (arrives & moved).sum() > 0.6 * moved.sum()
    assert p.zone[arrives].all()
    made = collage(picture, [p]).astype(int)
    assert made[36 * factor, 26 * factor] == pytest.approx([100, 85, 60], abs=8)
    assert made[28 * factor, 38 * factor] == pytest.approx([200, 170, 120], abs=8)


def test_a_shadow_goes_with_what_is_removed_and_does_not_come_with_what_is_pasted():
    p = with_shadow(Remove(MASK).place(SIZE), scene())
    assert collage(scene(), [p])[27, 37] == pytest.approx([200, 170, 120], abs=8)
    assert (p.left & SHADOW).any()
    pasted = Paste(scene(), MASK, (20.0, 20.0)).place(SIZE)
    assert with_shadow(pasted, scene()) is pasted


def test_a_shadow_that_would_lie_off_the_picture_is_cut():
    p = with_shadow(Move(MASK, (28.0, 0.0)).place(SIZE), scene())
    assert p.shade_arrives.shape == SIZE
    assert p.shade_arrives.min() > 0
