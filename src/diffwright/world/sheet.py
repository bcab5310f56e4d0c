"""A contact sheet of rendered scenes with their captions."""

from pathlib import Path

import numpy as np
from PIL import Image

from diffwright.core.checks import whole
from diffwright.core.images import save_png
from diffwright.viz.strips import sheet
from diffwright.world.captions import Split, caption
from diffwright.world.render import render
from diffwright.world.sample import sample


def contact_sheet(
    count: int = 16,
    seed: int = 0,
    size: int = 64,
    core: bool = False,
    templates: Split = "train",
    full: bool = False,
    columns: int = 4,
) -> Image.Image:
    """Render scenes and lay them out with a caption under each.

    Args:
        count: Scenes, seeds ``seed``, ``seed + 1`` and so on.
        seed: First seed.
        size: Side of a picture, pixels; it is shown at 256 pixels or more by whole-number enlargement.
        core: Draw from the core vocabulary only.
        templates: Sentence patterns of which split.
        full: State every attribute in the captions.
        columns: Pictures a row.

    Returns:
        One RGB picture.
    """
    whole("count", count, 1, 400)
    whole("seed", seed, 0, 2**31 - 1 - count)
    whole("size", size, 8, 1024)
    scenes = sample(list(range(seed, seed + count)), core)
    texts = [caption(scene, seed + i, templates, full).text for i, scene in enumerate(scenes)]
    return sheet(list(render(scenes, size).image_u8.numpy()), texts, columns=columns)


def save_contact_sheet(path: str | Path, count: int = 16, seed: int = 0, **options: object) -> Path:
    """Write :func:`contact_sheet` as a PNG file and give its path."""
    path = Path(path)
    save_png(np.asarray(contact_sheet(count, seed, **options)), path)  # type: ignore[arg-type]
    return path
