"""Short names for the places inside a text-to-image model, and the modules they stand for.

Text encoders: ``te.LAYER.PART`` (``te2`` is SDXL's second one), PART one of ``block``, ``attn``, ``attn.q``,
``attn.k``, ``attn.v``, ``attn.out``, ``mlp``, ``mlp.in``, ``mlp.out``.
UNet: ``unet.{down|mid|up}.BLOCK.{resnet|attn1|attn2|ff|down|up}.INDEX``; attentions have parts ``q k v out``
and feed-forwards ``in out`` (``unet.up.1.attn2.1.k``). INDEX counts the layers of a kind inside their block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from diffwright.core.errors import InputError, UnsupportedBackbone

_TEXT_PARTS = {
    "block": "",
    "attn": "self_attn",
    "attn.q": "self_attn.q_proj",
    "attn.k": "self_attn.k_proj",
    "attn.v": "self_attn.v_proj",
    "attn.out": "self_attn.out_proj",
    "mlp": "mlp",
    "mlp.in": "mlp.fc1",
    "mlp.out": "mlp.fc2",
}
_ATTENTION_PARTS = {"q": "to_q", "k": "to_k", "v": "to_v", "out": "to_out.0"}
_FEED_FORWARD_PARTS = {"in": "net.0.proj", "out": "net.2"}
_OWNERS = {"te": "text_encoder", "te2": "text_encoder_2", "unet": "unet"}


@dataclass(frozen=True)
class Site:
    """A named place in a model.

    Attributes:
        name: its short name, such as ``te.0.attn.out``.
        path: the path of its module inside the owner.
        module: the module itself.
        owner: the pipeline's component that holds it (``text_encoder``, ``text_encoder_2``, ``unet``).
    """

    name: str
    path: str
    module: nn.Module = field(repr=False, compare=False)
    owner: str

    @property
    def kind(self) -> str:
        """The sort of place, without numbers: ``attn.out`` of a text layer, ``attn2.k`` of the UNet."""
        parts = self.name.split(".")
        kept = parts[2:] if parts[0] != "unet" else [*parts[3:4], *parts[5:]]
        return ".".join(kept)

    @property
    def linear(self) -> nn.Linear:
        """The module as a linear layer.

        Raises:
            InputError: it is not one.
            UnsupportedBackbone: an adapter is wrapped around it.
        """
        if hasattr(self.module, "base_layer"):
            raise UnsupportedBackbone(
                f"An adapter is wrapped around {self.name}; unload it (unload_lora_weights)."
            )
        if not isinstance(self.module, nn.Linear):
            raise InputError(
                f"{self.name} is a {type(self.module).__name__}; name a linear part such as attn.out."
            )
        return self.module


def sites(model: Any, kinds: Iterable[str] = ()) -> list[Site]:
    """List the sites of a pipeline or of a single text encoder or UNet, in module order.

    Args:
        model: a Stable Diffusion pipeline, a CLIP text model or a UNet2DConditionModel.
        kinds: only these sorts, such as ``attn.out`` or ``attn2.k``; all when empty.

    Raises:
        UnsupportedBackbone: no known text encoder or UNet is inside.
    """
    wanted = set(kinds)
    found = [
        s for prefix, owner, module in _components(model) for s in _component_sites(prefix, owner, module)
    ]
    return [site for site in found if not wanted or site.kind in wanted]


def find(model: Any, name: str) -> Site:
    """Give the site of this name.

    Args:
        model: a Stable Diffusion pipeline, a CLIP text model or a UNet2DConditionModel.
        name: a name in the grammar of this module.

    Raises:
        InputError: there is no such site in this model.
    """
    known = sites(model)
    for site in known:
        if site.name == name:
            return site
    near = [site.name for site in known if site.name.split(".")[0] == name.split(".")[0]] or [
        s.name for s in known
    ]
    raise InputError(f"No site {name!r} in this model; its sites run from {near[0]!r} to {near[-1]!r}.")


def match(model: Any, patterns: str | Iterable[str]) -> list[Site]:
    """Give the sites that fit one or several names or patterns with ``*``.

    Args:
        model: a Stable Diffusion pipeline, a CLIP text model or a UNet2DConditionModel.
        patterns: names, or patterns such as ``unet.*.attn2.*.v``.

    Raises:
        InputError: a name or pattern fits no site.
    """
    known, chosen = sites(model), {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        fits = [site for site in known if fnmatchcase(site.name, pattern)]
        if not fits:
            find(model, pattern)
        chosen |= {site.name: site for site in fits}
    return list(chosen.values())


def _components(model: Any) -> Iterator[tuple[str, str, nn.Module]]:
    if isinstance(model, nn.Module):
        prefix = "unet" if hasattr(model, "down_blocks") else "te"
        yield prefix, _OWNERS[prefix], model
        return
    for prefix, owner in _OWNERS.items():
        module = getattr(model, owner, None)
        if module is not None:
            yield prefix, owner, module


def _component_sites(prefix: str, owner: str, module: nn.Module) -> list[Site]:
    paths = _unet_paths(module) if prefix == "unet" else _text_paths(module)
    return [Site(f"{prefix}.{name}", path, module.get_submodule(path), owner) for name, path in paths]


def _text_paths(encoder: nn.Module) -> list[tuple[str, str]]:
    stacks = [
        path
        for path, _ in encoder.named_modules()
        if f".{path}".endswith(".encoder.layers") and "vision_model" not in path
    ]
    if len(stacks) != 1:
        raise UnsupportedBackbone(
            f"{type(encoder).__name__} is not a CLIP text encoder; SD 1, 2 and XL have one."
        )
    layers = encoder.get_submodule(stacks[0])
    return [
        (f"{i}.{part}", ".".join(filter(None, (stacks[0], str(i), inner))))
        for i in range(len(layers))  # pyright: ignore[reportArgumentType]
        for part, inner in _TEXT_PARTS.items()
    ]


def _unet_paths(unet: nn.Module) -> list[tuple[str, str]]:
    blocks = [("down", i, f"down_blocks.{i}") for i in range(len(unet.down_blocks))]  # pyright: ignore
    blocks += [("mid", 0, "mid_block")] if unet.mid_block is not None else []
    blocks += [("up", i, f"up_blocks.{i}") for i in range(len(unet.up_blocks))]  # pyright: ignore
    found = []
    for stage, index, path in blocks:
        counts: dict[str, int] = {}
        for inner, module in unet.get_submodule(path).named_modules():
            kind = _unet_kind(inner)
            if kind is None:
                continue
            name = f"{stage}.{index}.{kind}.{counts.setdefault(kind, 0)}"
            counts[kind] += 1
            found.append((name, f"{path}.{inner}"))
            found += [(f"{name}.{part}", f"{path}.{inner}.{sub}") for part, sub in _unet_parts(kind, module)]
    return found


def _unet_kind(path: str) -> str | None:
    """Say which sort of UNet layer a path inside a block is, or None for containers and inner parts."""
    steps = path.split(".")
    if len(steps) == 2:
        return {"resnets": "resnet", "downsamplers": "down", "upsamplers": "up"}.get(steps[0])
    if len(steps) == 5 and steps[0] == "attentions" and steps[4] in ("attn1", "attn2", "ff"):
        return steps[4]
    return None


def _unet_parts(kind: str, module: nn.Module) -> list[tuple[str, str]]:
    if getattr(module, "fused_projections", False):
        raise UnsupportedBackbone("The UNet's projections are fused; call unfuse_qkv_projections() first.")
    parts = {"attn1": _ATTENTION_PARTS, "attn2": _ATTENTION_PARTS, "ff": _FEED_FORWARD_PARTS}.get(kind, {})
    return list(parts.items())
