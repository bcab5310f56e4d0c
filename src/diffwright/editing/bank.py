"""The memory bank: what the decoder's self-attentions read while a picture was inverted.

Keys and values are linear in the hidden states that they are projected from, so the bank keeps those: half the
memory, and showing them needs no attention processor of our own. A self-attention that is handed other hidden
states projects keys and values from them, whatever processor it runs with.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffwright.diffusion.sites import Site, sites

States = dict[str, Tensor]
"""Hidden states (1, T, C) by the name of the self-attention that read them."""


def decoder_attentions(unet: Any) -> list[Site]:
    """The self-attentions on the way up."""
    return [site for site in sites(unet, ["attn1"]) if site.name.startswith("unet.up.")]


@contextmanager
def recorded(attentions: Sequence[Site]) -> Iterator[States]:
    """Keep what the self-attentions read inside the block; of several passes the last."""
    states: States = {}
    with ExitStack() as stack:
        for site in attentions:

            def keep(_module: nn.Module, args: tuple, kwargs: dict[str, Any], name: str = site.name) -> None:
                states[name] = (args[0] if args else kwargs["hidden_states"]).detach().clone()

            stack.callback(site.module.register_forward_pre_hook(keep, with_kwargs=True).remove)
        yield states


@dataclass(frozen=True, eq=False)
class Shown:
    """Part of a bank that is shown: states, and which places of their picture.

    Attributes:
        states: one step of a picture's bank.
        mask: bool (h, w) at latent size, true = shown; all without it.
    """

    states: States
    mask: Tensor | None = None

    def tokens(self, name: str) -> Tensor:
        """The shown states of a self-attention, (1, T, C)."""
        states = self.states[name]
        if self.mask is None:
            return states
        return states[:, on_tokens(self.mask, states.shape[1])]


def on_tokens(mask: Tensor, count: int) -> Tensor:
    """Bring a mask at latent size to a layer of ``count`` tokens: those covered by half or more.

    Shapes:
        bool (h, w) -> bool (count,)
    """
    height, width = mask.shape
    shrink = max(1, round(math.sqrt(height * width / count)))
    size = (-(-height // shrink), -(-width // shrink))
    share = F.interpolate(mask[None, None].float(), size=size, mode="area")
    return (share >= 0.5).flatten()


@contextmanager
def shown(attentions: Sequence[Site], parts: Sequence[Shown], own: bool) -> Iterator[None]:
    """Let the self-attentions look at the bank instead of, or beside, the picture that is being made.

    Args:
        attentions: which ones.
        parts: what is shown of which bank; where nothing is left of it, a layer sees its own states.
        own: also show its own states.
    """
    with ExitStack() as stack:
        for site in attentions:

            def swap(
                _module: nn.Module, args: tuple, kwargs: dict[str, Any], name: str = site.name
            ) -> tuple[tuple, dict[str, Any]]:
                mine = args[0] if args else kwargs["hidden_states"]
                tokens = [part.tokens(name).to(mine).expand(len(mine), -1, -1) for part in parts]
                tokens = torch.cat([*tokens, *([mine] if own else [])], dim=1)
                if tokens.shape[1]:
                    kwargs = {**kwargs, "encoder_hidden_states": tokens}
                return args, kwargs

            stack.callback(site.module.register_forward_pre_hook(swap, with_kwargs=True).remove)
        yield
