"""Writes a small sequence and a small flow pair, made from smooth noise, for the tests of the matching bench."""

import numpy as np
from scipy import ndimage

from diffwright.core.images import save_png

SHIFT = np.array([[1.0, 0, -6], [0, 1, 4], [0, 0, 1]])


def texture(height, width, seed=0):
    noise = np.random.default_rng(seed).standard_normal((height, width, 3))
    smooth = ndimage.gaussian_filter(noise, (2, 2, 0))
    return (127 + 50 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)


def write_sequence(folder, matrices=(SHIFT,) * 5, size=(64, 80)):
    """Pictures 1 to 6 where picture k shows picture 1 moved by the matrix for k."""
    folder.mkdir(parents=True)
    first = texture(*size)
    save_png(first, folder / "1.png")
    for k, matrix in enumerate(matrices, 2):
        np.savetxt(folder / f"H1to{k}.txt", matrix)
        save_png(moved(first, matrix), folder / f"{k}.png")


def moved(image, matrix):
    """Picture whose point ``matrix p`` shows point p of the given one, nearest pixel."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width]
    back = np.linalg.inv(matrix) @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    col, row = (back[:2] / back[2]).round().astype(int)
    inside = (col >= 0) & (col < width) & (row >= 0) & (row < height)
    out = np.zeros_like(image).reshape(-1, 3)
    out[inside] = image[row[inside], col[inside]]
    return out.reshape(image.shape)


def write_flow_pair(folder, name="noise", size=(48, 64), shift=(3.0, -2.0), unknown=0):
    """Two pictures and a .flo file of one shift; the first ``unknown`` rows are marked as unknown."""
    folder.mkdir(parents=True, exist_ok=True)
    big = texture(size[0] + 16, size[1] + 16, seed=3)
    dx, dy = (int(s) for s in shift)
    save_png(big[8 : 8 + size[0], 8 : 8 + size[1]], folder / f"{name}_1.png")
    save_png(big[8 - dy : 8 - dy + size[0], 8 - dx : 8 - dx + size[1]], folder / f"{name}_2.png")
    flow = np.broadcast_to(np.float32(shift), (*size, 2)).copy()
    flow[:unknown] = 1e10
    header = np.float32(202021.25).tobytes() + np.int32([size[1], size[0]]).tobytes()
    (folder / f"{name}.flo").write_bytes(header + flow.astype("<f4").tobytes())
