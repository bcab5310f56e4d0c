"""The way from a region of a picture to the strip of 32 x 128 pixels that is read and written.

Coordinates are (x, y) in pixels, a whole number is the center of a pixel. A region has four corners, clockwise from
where its word's top left is. Its frame is the region widened to five times its height, so that letters keep their
shape; a region that is wider is its own frame. The frame fills the strip but for ``MARGIN`` pixels of surroundings.
"""

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 32, 128
MARGIN = 4  # pixels of the strip around the frame
ASPECT = (WIDTH - 2 * MARGIN) / (HEIGHT - 2 * MARGIN)
THINNEST = 0.4  # of the middle's height, at the ends of a frame that was widened in perspective
FINEST = 6  # times that a strip is sampled more finely than its pixels, before it is averaged


def homography(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Solve for the homography that takes four points to four points.

    Shapes:
        source, target (4, 2) -> (3, 3), with its last entry 1
    """
    rows = np.zeros((8, 8))
    for i, ((x, y), (u, v)) in enumerate(zip(source, target, strict=True)):
        rows[2 * i] = x, y, 1, 0, 0, 0, -u * x, -u * y
        rows[2 * i + 1] = 0, 0, 0, x, y, 1, -v * x, -v * y
    return np.append(np.linalg.solve(rows, np.asarray(target, float).ravel()), 1.0).reshape(3, 3)


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Move points (..., 2) by a homography (3, 3)."""
    moved = np.asarray(points, float) @ matrix[:, :2].T + matrix[:, 2]
    return moved[..., :2] / moved[..., 2:]


def frame(polygon: np.ndarray) -> np.ndarray:
    """Widen a region along its baseline until it is five times as wide as it is high.

    Shapes:
        polygon (4, 2) -> (4, 2)

    Returns:
        The polygon itself where it is that wide already.

    Example:
        >>> frame(np.array([[10.0, 0.0], [20.0, 0.0], [20.0, 4.0], [10.0, 4.0]])).tolist()
        [[5.0, 0.0], [25.0, 0.0], [25.0, 4.0], [5.0, 4.0]]
    """
    top, bottom = (polygon[0], polygon[1]), (polygon[3], polygon[2])
    width = sum(float(np.linalg.norm(b - a)) for a, b in (top, bottom)) / 2
    left, right = polygon[3] - polygon[0], polygon[2] - polygon[1]
    height = (float(np.linalg.norm(left)) + float(np.linalg.norm(right))) / 2
    stretch = max(1.0, ASPECT * height / max(width, 1e-6))
    narrowing = abs(float(np.linalg.norm(right)) - float(np.linalg.norm(left))) / max(2 * height, 1e-6)
    if stretch * narrowing > 1 - THINNEST:
        stretch = max(1.0, (1 - THINNEST) / narrowing)
    middles = [((a + b) / 2, (b - a) / 2 * stretch) for a, b in (top, bottom)]
    (t, dt), (b, db) = middles
    return np.stack([t - dt, t + dt, b + db, b - db])


def strip_corners(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Give the corners of the strip's inner rectangle, which a frame fills.

    Shapes:
        -> (4, 2)
    """
    margin = MARGIN * height / HEIGHT
    x0, y0, x1, y1 = margin - 0.5, margin - 0.5, width - margin - 0.5, height - margin - 0.5
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def to_strip(polygon: np.ndarray, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Give the homography from the picture to the strip of a region.

    Shapes:
        polygon (4, 2) -> (3, 3)
    """
    return homography(frame(np.asarray(polygon, float)), strip_corners(height, width))


def rectify(image: np.ndarray, matrix: np.ndarray, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Sample a picture in the strip's frame, without aliasing; beyond the picture its border is repeated.

    Args:
        image: uint8 levels.
        matrix: From the picture to the strip, as ``to_strip`` gives it.
        height: Of the strip.
        width: Of the strip.

    Shapes:
        (H, W, 3) -> (height, width, 3), or (H, W) -> (height, width)
    """
    inverse = np.linalg.inv(matrix)
    corners = apply(inverse, np.array([(0, 0), (width, 0), (width, height), (0, height)]) - 0.5)
    across = max(np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[2] - corners[3])) / width
    down = max(np.linalg.norm(corners[3] - corners[0]), np.linalg.norm(corners[2] - corners[1])) / height
    fine = int(np.clip(np.ceil(max(across, down) - 0.25), 1, FINEST))
    pad, content = _padded(image, corners)
    shift = np.array([[1, 0, pad[0] + 0.5], [0, 1, pad[1] + 0.5], [0, 0, 1]])
    grid = np.array([[1 / fine, 0, -0.5], [0, 1 / fine, -0.5], [0, 0, 1]])
    coefficients = shift @ inverse @ grid
    coefficients = (coefficients / coefficients[2, 2]).ravel()[:8]
    kernel = Image.Resampling.BICUBIC if fine == 1 else Image.Resampling.BILINEAR
    picture = Image.fromarray(content).transform(
        (width * fine, height * fine), Image.Transform.PERSPECTIVE, coefficients.tolist(), kernel
    )
    return np.asarray(picture.reduce(fine) if fine > 1 else picture)


def _padded(image: np.ndarray, corners: np.ndarray) -> tuple[tuple[int, int], np.ndarray]:
    """Repeat the border where the strip leaves the picture, at most one picture's size to a side."""
    height, width = image.shape[:2]
    low, high = np.floor(corners.min(axis=0)).astype(int) - 3, np.ceil(corners.max(axis=0)).astype(int) + 4
    left, top = (int(np.clip(-value, 0, size)) for value, size in zip(low, (width, height), strict=True))
    right, bottom = (
        int(np.clip(value - size, 0, size)) for value, size in zip(high, (width, height), strict=True)
    )
    sides = [(top, bottom), (left, right)] + [(0, 0)] * (image.ndim - 2)
    return (left, top), np.pad(image, sides, mode="edge") if any((left, top, right, bottom)) else image
