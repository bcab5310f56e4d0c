"""The places that a trace restores: states of the text encoders and layers of the UNet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from diffwright.core.checks import one_of, whole
from diffwright.core.errors import InputError
from diffwright.diffusion.sites import Site, sites
from diffwright.tracing.corruption import Reading

TEXT_KINDS = ("attn", "mlp", "block")
UNET_KINDS = ("resnet", "attn1", "attn2", "ff", "down", "up")
BRANCH = "branch"
TOKENS = ("subject", "prompt", "all")


@dataclass(frozen=True)
class State:
    """One place that is restored.

    Attributes:
        site: name of the layer (the first one of a window), such as ``te.3.attn`` or ``unet.up.1.attn2.0``.
        kind: ``attn``, ``mlp`` or ``block`` of a text encoder; ``resnet``, ``branch`` (a resnet without its
            skip connection), ``attn1``, ``attn2``, ``ff``, ``down`` or ``up`` of the UNet.
        layer: number of the layer inside its encoder, or of the site inside the UNet.
        token: position in the prompt; None for the UNet.
        window: how many layers are restored together, from ``layer`` on.
    """

    site: str
    kind: str
    layer: int
    token: int | None = None
    window: int = 1

    @property
    def name(self) -> str:
        """Unique inside a trace, such as ``te.0.attn@5`` or, for a window of three layers, ``te.0-2.attn@5``."""
        if self.token is None:
            return self.site
        prefix, layer, kind = self.site.split(".")
        layers = layer if self.window == 1 else f"{layer}-{self.layer + self.window - 1}"
        return f"{prefix}.{layers}.{kind}@{self.token}"


def text_states(
    readings: Sequence[Reading], kinds: Iterable[str] = TEXT_KINDS, window: int = 1, tokens: str = "prompt"
) -> list[State]:
    """List the states of the text encoders, by encoder, layer, component and token.

    Positions before the subject are left out: attention is causal, so nothing there is corrupted.

    Args:
        readings: the prompt as each encoder reads it.
        kinds: components: ``attn``, ``mlp`` (their outputs), ``block`` (the residual stream after the layer).
        window: layers restored together, at least 1.
        tokens: ``subject``, ``prompt`` (from the subject to the end token) or ``all`` (the padding too).

    Raises:
        ConfigError: a component or ``tokens`` is unknown, or no encoder has so many layers.
    """
    one_of("tokens", tokens, TOKENS)
    kinds = list(dict.fromkeys(kinds))
    for kind in kinds:
        one_of("component", kind, TEXT_KINDS)
    found = []
    for reading in readings:
        depth = len(sites(reading.encoder, ["block"]))
        whole("window", window, 1, depth)
        stop = {"subject": reading.span[1], "prompt": reading.end, "all": reading.ids.shape[1] - 1}[tokens]
        found += [
            State(f"{reading.prefix}.{layer}.{kind}", kind, layer, token, window)
            for layer in range(depth - window + 1)
            for kind in kinds
            for token in range(reading.span[0], stop + 1)
        ]
    return found


def unet_states(pipe: Any, kinds: Iterable[str] = UNET_KINDS) -> list[State]:
    """List the layers of the UNet in the order in which they stand in it.

    Args:
        pipe: a supported pipeline.
        kinds: of ``UNET_KINDS``, and ``branch``.

    Raises:
        ConfigError: a kind is unknown.
    """
    kinds = list(dict.fromkeys(kinds))
    for kind in kinds:
        one_of("component", kind, (*UNET_KINDS, BRANCH))
    found = []
    for site in sites(pipe.unet):
        if site.kind in kinds:
            found.append(State(site.name, site.kind, len(found)))
        if site.kind == "resnet" and BRANCH in kinds:
            found.append(State(f"{site.name}.{BRANCH}", BRANCH, len(found)))
    return found


def unet_site(pipe: Any, state: State) -> Site:
    """Find the module whose output a UNet state restores.

    Raises:
        InputError: the UNet has no such layer.
    """
    base = state.site.removesuffix(f".{BRANCH}")
    for site in sites(pipe.unet):
        if site.name == base:
            if state.kind != BRANCH:
                return site
            return Site(state.site, f"{site.path}.conv2", site.module.get_submodule("conv2"), site.owner)
    raise InputError(f"This UNet has no {state.site}; trace it again with this model.")
