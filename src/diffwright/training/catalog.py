"""The recipes by name, and a run put together from a recipe's YAML and what the caller changes."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from diffwright.core.checks import one_of
from diffwright.core.progress import Progress
from diffwright.training.recipe import build, load_recipe
from diffwright.training.settings import Settings

RECIPES = {
    "vae": ("diffwright.training.recipes.vae", "VaeTask", "VaeOptions"),
    "judge": ("diffwright.training.recipes.judge", "JudgeTask", "JudgeOptions"),
    "clip": ("diffwright.training.recipes.clip", "ClipTask", "ClipOptions"),
    "t2i": ("diffwright.training.recipes.t2i", "TextToImageTask", "TextToImageOptions"),
    "image-prompt": ("diffwright.training.recipes.image_prompt", "ImagePromptTask", "ImagePromptOptions"),
    "match-features": (
        "diffwright.training.recipes.match_features",
        "MatchFeaturesTask",
        "MatchFeaturesOptions",
    ),
    "match-stage1": ("diffwright.training.recipes.match_stage1", "MatchStage1Task", "MatchStage1Options"),
    "match-stage2": ("diffwright.training.recipes.match_stage2", "MatchStage2Task", "MatchStage2Options"),
    "match-regression": (
        "diffwright.training.recipes.match_regression",
        "MatchRegressionTask",
        "MatchRegressionOptions",
    ),
    "reader": ("diffwright.training.recipes.reader", "ReaderTask", "ReaderOptions"),
    "scenetext": ("diffwright.training.recipes.scenetext", "SceneTextTask", "SceneTextOptions"),
    "scenetext-sd": ("diffwright.training.recipes.scenetext_sd", "SdSceneTextTask", "SdSceneTextOptions"),
}

_BUDGET = ("minutes", "samples")


def train(
    name: str, settings: dict[str, Any], options: dict[str, Any], progress: Progress | None = None
) -> dict[str, Any]:
    """Run a recipe; its seed decides the first weights and the noise of all steps.

    Args:
        name: Key of ``RECIPES``.
        settings: Values that replace those of the YAML's ``settings``; None means not given. A budget given
            here, ``minutes`` or ``samples``, replaces the YAML's.
        options: Likewise for ``options``.
        progress: Called as (what, samples, expected samples).

    Returns:
        What :func:`diffwright.training.loop.run` returns.

    Raises:
        ConfigError: Unknown recipe, option or setting, or a value of another type; from the YAML or given here.
    """
    import torch

    from diffwright.training.loop import run

    one_of("recipe", name, RECIPES)
    module, task, options_class = RECIPES[name]
    sheet = load_recipe(Path(__file__).parent / "recipes" / f"{name.replace('-', '_')}.yaml", _Sheet)
    base = sheet.settings
    if any(settings.get(k) is not None for k in _BUDGET):
        base = {k: v for k, v in base.items() if k not in _BUDGET}
    chosen = build(_merged(base, settings), Settings, f"settings of recipe {name}")
    home = import_module(module)
    made = build(_merged(sheet.options, options), getattr(home, options_class), f"options of recipe {name}")
    torch.manual_seed(chosen.seed)  # the task draws its first weights
    return run(getattr(home, task)(made), chosen, progress, made)


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    settings: dict[str, Any]
    options: dict[str, Any]


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {**base, **{k: v for k, v in changes.items() if v is not None}}
