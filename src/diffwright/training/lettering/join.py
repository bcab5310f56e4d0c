"""Put a reader into a scene text model: one that went on learning after it had helped to train the writer.

``python -m diffwright.training.lettering.join runs/scenetext/model runs/reader-longer/model runs/pocket-text``
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from diffwright.core.errors import DiffwrightError
from diffwright.scenetext.model import SceneTextModel
from diffwright.scenetext.nets import Reader
from diffwright.weights.module import load_module


def join(model: Path, reader: Path, out: Path, guidance: tuple[float, float] | None = None) -> SceneTextModel:
    """Write a model with another reader.

    Args:
        model: What recipe ``scenetext`` wrote.
        reader: What recipe ``reader`` wrote.
        out: Folder of the joined model.
        guidance: Scales chosen on development scenes; those of the model without it.

    Raises:
        WeightsError: A file is missing or damaged.
    """
    made, read = SceneTextModel.from_pretrained(model), load_module(reader, Reader)
    config = replace(made.config, reader_widths=read.widths, reader_layers=read.layers)
    joined = SceneTextModel(config if guidance is None else replace(config, guidance=guidance))
    kept = {name: tensor for name, tensor in made.state_dict().items() if not name.startswith("reader.")}
    joined.load_state_dict({**kept, **{f"reader.{name}": t for name, t in read.state_dict().items()}})
    joined.save_pretrained(out)
    return joined.eval()


if __name__ == "__main__":
    try:
        scales = tuple(map(float, sys.argv[4:6]))
        join(*map(Path, sys.argv[1:4]), guidance=(scales[0], scales[1]) if scales else None)
    except (DiffwrightError, TypeError, ValueError) as error:
        sys.exit(f"give MODEL READER OUT and perhaps the two scales of guidance: {error}")
