import numpy as np
import pytest
import torch
import torch.nn.functional as F

from diffwright.editing.frame import Frame, Sight, canvas_size, choose_frame, resized
from tests.editing.conftest import SIZE, box, noise_picture, smooth_picture

SD = Sight(8, 64, 512)
POCKET = Sight(4, 16, 64)


def test_what_a_model_sees_is_read_from_it(pipes):
    assert Sight.of(pipes("sd1")) == Sight(2, 4, 32)
    assert Sight.of(pipes("pocket")) == Sight(4, 8, 32)


@pytest.mark.parametrize(
    ("size", "want"),
    [
        ((512, 512), (512, 512)),
        ((512, 640), (512, 640)),
        ((300, 400), (448, 576)),
        ((1000, 1500), (448, 640)),
        ((2000, 40), (2048, 64)),
    ],
)
def test_canvases_are_multiples_of_about_the_native_area(size, want):
    assert canvas_size(size, SD) == want


@pytest.mark.parametrize("size", [(64, 64), (48, 64), (64, 80)])
def test_a_picture_of_fitting_sides_is_seen_as_it_is(size):
    frame = choose_frame(size, (3, 3, 9, 9), POCKET)
    assert frame.box == (0, 0, size[1], size[0])
    assert frame.canvas == size
    picture = noise_picture(size)
    seen = ((frame.seen(picture)[0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
    np.testing.assert_array_equal(seen, picture)


@pytest.mark.parametrize("zone", [(5, 5, 60, 40), (1900, 1000, 2000, 1100), (900, 200, 1700, 900)])
def test_of_a_large_picture_a_crop_around_the_zone_is_seen(zone):
    frame = choose_frame((1100, 2000), zone, SD)
    x0, y0, x1, y1 = frame.box
    assert x0 <= zone[0]
    assert y0 <= zone[1]
    assert zone[2] <= x1 <= 2000
    assert zone[3] <= y1 <= 1100
    assert x1 - x0 >= 512
    assert y1 - y0 >= 512
    assert frame.canvas[0] % 64 == frame.canvas[1] % 64 == 0
    assert frame.latent == (frame.canvas[0] // 8, frame.canvas[1] // 8)


FRAME = Frame((4, 2, 44, 30), (32, 48), (16, 24))


def test_places_agree_with_what_is_seen():
    """Sampling the seen picture at a normalised point gives what the picture shows there."""
    picture = smooth_picture()
    points = FRAME.centers((7, 10))
    grid = FRAME.normalized(points)[None]
    seen = F.grid_sample(FRAME.seen(picture), grid, align_corners=False, padding_mode="border")
    x, y = points[..., 0], points[..., 1]
    inner = (slice(1, -1), slice(1, -1))
    got = (seen[0].permute(1, 2, 0).numpy() + 1) * 127.5
    np.testing.assert_allclose(got[..., 0][inner], (4 * x)[inner], atol=4)
    np.testing.assert_allclose(got[..., 1][inner], (5 * y)[inner], atol=5)


def test_the_middles_of_cells_are_the_middles_of_cells():
    cells = FRAME.normalized(FRAME.centers((2, 4)))
    torch.testing.assert_close(cells[0, :, 0], torch.tensor([-0.75, -0.25, 0.25, 0.75]))
    torch.testing.assert_close(cells[:, 0, 1], torch.tensor([-0.5, 0.5]))


def test_masks_touch_cover_and_never_vanish():
    frame = Frame((0, 0, 48, 32), SIZE, (8, 12))
    assert frame.coverage(box(0, 0, 4, 2), (8, 12))[0, 0] == 0.5
    one = box(13, 9, 14, 10)
    assert frame.touched(one, frame.latent).sum() == 1
    assert frame.covered(one, frame.latent).sum() == 1
    assert frame.covered(box(0, 0, 6, 4), frame.latent).sum() == 2
    assert frame.cell_px == 4


def test_resizing_to_the_same_size_changes_nothing():
    picture = noise_picture()
    assert resized(picture, SIZE) is picture
    assert resized(picture, (10, 12)).shape == (10, 12, 3)
