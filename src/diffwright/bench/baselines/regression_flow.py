"""An equal-size regression network: the denoiser of stage 1 trained to give the field in one pass."""

from __future__ import annotations

from os import PathLike

import torch
from torch import Tensor

from diffwright.core.errors import InputError
from diffwright.matching.model import MatchModel
from diffwright.matching.regression import regress
from diffwright.matching.stages import Volume, condition_stage1, to_field


def load_arm(folder: str | PathLike[str], recipe: str) -> MatchModel:
    """Load a matching model that serves as a control.

    Args:
        folder: Where a training wrote it, or a pocket name.
        recipe: The training that makes one, as the message names it.

    Raises:
        InputError: It has no stage 1.
        WeightsError: It is missing or damaged.
    """
    model = MatchModel.from_pretrained(folder)
    if model.config.stages < 1:
        raise InputError(f"{folder} has no stage 1; train one with: diffwright train {recipe}")
    return model


@torch.no_grad()
def regressed_field(model: MatchModel, pair: Volume, start: Tensor) -> Tensor:
    """Give the field that the regression network makes of a first guess.

    Args:
        model: Trained by the recipe ``match-regression``.
        pair: All pairs of coarse cells, by the same model's features.
        start: The field that enters, in cells.

    Shapes:
        start (B, 2, h, w) -> (B, 2, h, w)
    """
    x0, _ = regress(model, 1, condition_stage1(model.config, pair, start), start)
    return to_field(model.config, 1, x0, start)
