"""The recipes by name, and a run put together from a recipe's YAML and what the caller changes."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from diffwright.core.checks import one_of
from diffwright.core.errors import ConfigError
from diffwright.core.progress import Progress
from diffwright.training.recipe import load_recipe
from diffwright.training.settings import Settings

RECIPES = {
    "vae": ("diffwright.training.recipes.vae", "VaeTask", "VaeOptions"),
    "judge": ("diffwright.training.recipes.judge", "JudgeTask", "JudgeOptions"),
    "clip": ("diffwright.training.recipes.clip", "ClipTask", "ClipOptions"),
    "t2i": ("diffwright.training.recipes.t2i", "TextToImageTask", "TextToImageOptions"),
}


def train(
    name: str, settings: dict[str, Any], options: dict[str, Any], progress: Progress | None = None
) -> dict[str, Any]:
    """Run a recipe.

    Args:
        name: Key of ``RECIPES``.
        settings: Values that replace those of the YAML's ``settings``; None means not given. A budget given
            here, ``minutes`` or ``samples``, replaces the YAML's.
        options: Likewise for ``options``.
        progress: Called as (what, samples, expected samples).

    Returns:
        What :func:`diffwright.training.loop.run` returns.

    Raises:
        ConfigError: Unknown recipe, key or value.
    """
    from diffwright.training.loop import run

    one_of("recipe", name, RECIPES)
    module, task, options_class = RECIPES[name]
    home = import_module(module)
    sheet = load_recipe(Path(__file__).parent / "recipes" / f"{name}.yaml", _Sheet)
    chosen = _merged(sheet.options, options)
    try:
        made = getattr(home, options_class)(**_paths(chosen, getattr(home, options_class)))
    except TypeError as error:
        raise ConfigError(f"recipe {name} got unknown options ({error}); see recipes/{name}.yaml.") from error
    budget = {k: settings.get(k) for k in ("minutes", "samples")}
    base = dict(sheet.settings)
    if any(v is not None for v in budget.values()):
        base = {k: v for k, v in base.items() if k not in budget}
    return run(getattr(home, task)(made), Settings(**_merged(base, settings)), progress)


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    settings: dict[str, Any]
    options: dict[str, Any]


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {**base, **{k: v for k, v in changes.items() if v is not None}}


def _paths(values: dict[str, Any], cls: type) -> dict[str, Any]:
    kinds = {k: str(f.type) for k, f in cls.__dataclass_fields__.items()}  # type: ignore[attr-defined]
    return {k: Path(v) if "Path" in kinds.get(k, "") and v is not None else v for k, v in values.items()}
