import math

import pytest
import torch
import torch.nn.functional as F

from diffwright.core.geometry import pixel_grid
from diffwright.matching.hypotheses import (
    CANDIDATES,
    UPRIGHT,
    Hypothesis,
    choose,
    linear_map,
    nearest,
    turn,
    turned_field,
    upright_field,
    upright_reverse,
)
from diffwright.matching.nets import Features
from tests.support.tiny_match import affine_field


def pattern(offset):
    """A smooth picture of the plane, (1, 3, H, W), read at offsets (1, 2, H, W) from its center, in pixels."""
    x, y = offset[:, 0] / 9, offset[:, 1] / 7
    return (
        torch.stack([torch.sin(x + 0.6 * y), torch.cos(1.3 * y - x), torch.sin(0.7 * x * y / 4)], dim=1) * 0.9
    )


def centered(height, width):
    middle = torch.tensor([(width - 1) / 2, (height - 1) / 2])[:, None, None]
    return pixel_grid(height, width) - middle


@pytest.mark.parametrize("size", [(400, 1600), (1600, 400)])
def test_b_is_averaged_along_its_longer_side_too(size):
    """Noise of one pixel loses its contrast where many pixels fall on one of the canvas."""
    noise = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    aspect = size[1] / size[0]
    square = turn(noise, UPRIGHT, 256, aspect, aspect).image
    nearly = turn(noise, UPRIGHT, 256, 1.02 * aspect, aspect)
    shown = nearly.image[:, :, nearly.inside[0, 0]]
    assert 0.5 * float(square.std()) < float(shown.std()) < 1.1 * float(square.std())


class Patches:
    """Stands in for the feature net: colors of 3 x 3 cells of eight pixels, zero mean."""

    temperature = 0.05

    def __call__(self, image, inside=None, fine=True):
        cells = F.avg_pool2d(image, 8)
        around = F.unfold(F.pad(cells, (1,) * 4, mode="replicate"), 3).unflatten(2, cells.shape[-2:])
        level = F.normalize(around - around.mean(dim=1, keepdim=True), dim=1)
        if inside is None:
            return Features((level,))
        shown = F.adaptive_avg_pool2d(inside.float(), cells.shape[-2:]) > 0.5
        return Features((level * shown,), None, shown[:, 0])


@pytest.mark.parametrize(
    "guess", [Hypothesis(90.0), Hypothesis(45.0), Hypothesis(225.0, 0.5), Hypothesis(0, 2.0)]
)
def test_the_turned_picture_shows_what_a_shows(guess):
    """B is A's plane under the hypothesis; turned back, its middle must equal A's."""
    linear = linear_map(guess)
    back = torch.einsum("ij,bjhw->bihw", linear.inverse().float(), centered(64, 64))
    view = turn(pattern(back), guess, 64)
    height, width = view.image.shape[-2:]
    assert height % 32 == width % 32 == 0
    inner = slice(8, 56) if guess.scale <= 1 else slice(22, 42)
    shown = view.image[..., (height - 64) // 2 :, (width - 64) // 2 :][..., :64, :64]
    difference = (shown - pattern(centered(64, 64))).abs()
    reach = difference[..., inner, inner]
    known = torch.ones_like(reach[:, :1], dtype=torch.bool)
    if view.inside is not None:
        known = view.inside[..., (height - 64) // 2 :, (width - 64) // 2 :][..., :64, :64][..., inner, inner]
    assert float((reach * known).max()) < (0.25 if guess.scale == 2 else 0.12)


def test_the_upright_hypothesis_leaves_the_picture_alone():
    image = torch.rand(1, 3, 64, 64)
    view = turn(image, UPRIGHT, 64)
    assert torch.equal(view.image, image)
    assert view.inside is None


def test_a_canvas_may_be_given_to_stack_several():
    views = [turn(torch.rand(1, 3, 64, 64), Hypothesis(45.0 * k), 64, canvas=(96, 96)) for k in range(8)]
    assert torch.cat([view.image for view in views]).shape == (8, 3, 96, 96)
    areas = [float(view.inside.sum()) for view in views]
    assert min(areas) > 0.97 * 64 * 64
    for view in views:
        assert not view.image[~view.inside.expand_as(view.image)].any()


@pytest.mark.parametrize("guess", CANDIDATES[:3] + CANDIDATES[9:11])
def test_a_field_of_the_hypothesis_itself_is_zero_beside_the_turned_picture(guess):
    linear = linear_map(guess)
    field = affine_field(8, 8, linear.float())
    torch.testing.assert_close(turned_field(field, linear), torch.zeros_like(field), atol=1e-4, rtol=0)
    some = torch.randn(2, 2, 8, 8)
    torch.testing.assert_close(upright_field(turned_field(some, linear), linear), some, atol=1e-4, rtol=1e-4)


def test_the_reverse_field_is_turned_back_too():
    guess = Hypothesis(45.0, 2.0)
    linear = linear_map(guess)
    found = upright_reverse(torch.zeros(1, 2, 6, 6), linear, 8)
    torch.testing.assert_close(found, affine_field(8, 8, linear.inverse().float()), atol=1e-4, rtol=0)


def test_a_rotation_is_one_in_the_proportions_of_the_pictures():
    """A quarter turn of a wide picture is a tall one: between their squares it is a plain quarter turn."""
    wide, tall = 1.5, 1 / 1.5
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(linear_map(Hypothesis(90.0), wide, tall), quarter)
    squeezed = linear_map(Hypothesis(90.0), wide, wide)
    torch.testing.assert_close(squeezed, torch.tensor([[0, -1 / 1.5], [1.5, 0]], dtype=torch.float64))


def test_the_nearest_hypothesis_is_found_around_the_circle():
    assert nearest(-8.0) == UPRIGHT
    assert nearest(352.0) == UPRIGHT
    assert nearest(100.0, 1.1) == Hypothesis(90.0, 1.0)
    assert nearest(-44.0, 0.45) == Hypothesis(315.0, 0.5)


@pytest.mark.parametrize("guess", [UPRIGHT, Hypothesis(90.0), Hypothesis(225.0)])
def test_the_right_hypothesis_is_chosen(guess):
    # Textures at the size of a cell, so that only the right orientation matches.
    fine = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1
    plane = F.interpolate(fine, size=(320, 320), mode="bilinear", align_corners=False)

    def view(linear):
        unit = torch.einsum("ij,bjhw->bihw", linear, centered(128, 128)) / 160
        return F.grid_sample(plane, unit.movedim(1, -1), align_corners=False)

    a = view(torch.eye(2))
    b = view(linear_map(guess).inverse().float())
    found, scores = choose(Patches(), a, b, candidates=CANDIDATES[:8])
    assert found == guess
    assert len(scores) == 8
    assert math.isfinite(scores[UPRIGHT])


def test_other_scales_are_tried_only_where_too_few_cells_match():
    draw = torch.Generator().manual_seed(0)
    a, other = (
        F.interpolate(torch.rand(1, 3, 16, 16, generator=draw) * 2 - 1, scale_factor=16.0) for _ in range(2)
    )
    _, scores = choose(Patches(), a, a)
    assert {guess.scale for guess in scores} == {1.0}
    _, scores = choose(Patches(), a, other)
    assert {guess.scale for guess in scores} == {0.5, 1.0, 2.0}
