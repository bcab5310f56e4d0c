import numpy as np
import pytest

from diffwright.world.lettering import framing
from diffwright.world.lettering.word import corners_of

SKEW = np.array([(20.0, 30.0), (90.0, 22.0), (95.0, 50.0), (18.0, 52.0)])


def test_a_homography_takes_the_corners_and_goes_back():
    matrix = framing.homography(SKEW, framing.strip_corners())
    assert framing.apply(matrix, SKEW) == pytest.approx(framing.strip_corners(), abs=1e-6)
    points = np.array([[40.0, 33.0], [70.0, 45.0]])
    back = framing.apply(np.linalg.inv(matrix), framing.apply(matrix, points))
    assert back == pytest.approx(points, abs=1e-6)


def test_short_regions_are_widened_so_that_letters_keep_their_shape():
    square = corners_of((40.0, 10.0, 52.0, 22.0))
    wide = framing.frame(square)
    assert wide == pytest.approx(corners_of((16.0, 10.0, 76.0, 22.0)))
    strip = framing.apply(framing.to_strip(square), square)
    assert strip == pytest.approx(corners_of((51.5, 3.5, 75.5, 27.5)))
    long = corners_of((0.0, 0.0, 200.0, 20.0))
    assert framing.frame(long) == pytest.approx(long)


def test_a_frame_in_perspective_does_not_turn_over():
    wedge = np.array([(50.0, 20.0), (60.0, 26.0), (60.0, 34.0), (50.0, 40.0)])
    wide = framing.frame(wedge)
    assert wide[3, 1] > wide[0, 1] + 3
    assert wide[2, 1] > wide[1, 1] + 3


def test_a_level_region_of_the_strip_s_size_is_copied():
    image = np.random.default_rng(0).integers(0, 256, (60, 160, 3), dtype=np.uint8)
    region = corners_of((14 - 0.5, 14 - 0.5, 134 - 0.5, 38 - 0.5))
    strip = framing.rectify(image, framing.to_strip(region))
    assert np.abs(strip.astype(int) - image[10:42, 10:138]).max() <= 1
    gray = framing.rectify(image[..., 0], framing.to_strip(region))
    assert np.abs(gray.astype(int) - image[10:42, 10:138, 0]).max() <= 1


def test_fine_patterns_average_and_borders_repeat():
    checks = (np.indices((400, 1200)).sum(axis=0) % 2 * 255).astype(np.uint8)
    strip = framing.rectify(checks, framing.to_strip(corners_of((100.0, 100.0, 700.0, 220.0))))
    assert np.abs(strip.astype(int) - 127).max() <= 4
    image = np.full((40, 60, 3), 77, np.uint8)
    image[0] = 200
    strip = framing.rectify(image, framing.to_strip(corners_of((0.0, 0.0, 59.0, 12.0))))
    assert np.abs(strip[0].astype(int) - 200).max() <= 8
    assert (strip[20] == 77).all()
