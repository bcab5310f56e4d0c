"""Localize, edit and match what diffusion models know and show.

The public names are imported on first use, so ``import diffwright`` stays fast and does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from diffwright.concepts.edit import ConceptEdit as ConceptEdit
    from diffwright.concepts.edit import edit_concepts as edit_concepts
    from diffwright.editing.editor import ImageEditor as ImageEditor
    from diffwright.matching.matcher import Matcher as Matcher
    from diffwright.optim.diffgrad import DiffGrad as DiffGrad
    from diffwright.optim.diffgrad import DiffGradW as DiffGradW
    from diffwright.scenetext.editor import SceneTextEditor as SceneTextEditor
    from diffwright.tracing.result import TraceResult as TraceResult
    from diffwright.tracing.trace import causal_trace as causal_trace
    from diffwright.weights.load import load as load

_HOME = {
    "load": "diffwright.weights.load",
    "edit_concepts": "diffwright.concepts.edit",
    "ConceptEdit": "diffwright.concepts.edit",
    "causal_trace": "diffwright.tracing.trace",
    "TraceResult": "diffwright.tracing.result",
    "ImageEditor": "diffwright.editing.editor",
    "DiffGrad": "diffwright.optim.diffgrad",
    "DiffGradW": "diffwright.optim.diffgrad",
    "Matcher": "diffwright.matching.matcher",
    "SceneTextEditor": "diffwright.scenetext.editor",
}

__all__ = [
    "ConceptEdit",
    "DiffGrad",
    "DiffGradW",
    "ImageEditor",
    "Matcher",
    "SceneTextEditor",
    "TraceResult",
    "__version__",
    "causal_trace",
    "edit_concepts",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'diffwright' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
