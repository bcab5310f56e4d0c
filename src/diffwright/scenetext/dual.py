"""Two whole transformers at every attention site of a stock UNet: one reads the instruction, one the characters.

Reference:
    Ji et al., Improving Diffusion Models for Scene Text Editing with Dual Encoders, TMLR 2024, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffwright.core.errors import ConfigError, UnsupportedBackbone


class Conditions(NamedTuple):
    """What both branches read; it travels through the UNet in place of ``encoder_hidden_states``.

    ``told`` says for each picture whether a branch has its condition; a branch without it leaves the mean.

    Shapes (B pictures, M and L tokens, D and E channels):
        instruction (B, M, D), instruction_keep bool (B, M) or None for all; characters (B, L, E) or None in a
        model without that branch, characters_keep bool (B, L) or None; told bool (B, 2), instruction first, or
        None for both everywhere
    """

    instruction: Tensor
    instruction_keep: Tensor | None = None
    characters: Tensor | None = None
    characters_keep: Tensor | None = None
    told: Tensor | None = None


class DualTransformer(nn.Module):
    """The mean of two transformers, ``h' = (T_inst(h, s) + T_char(h, w)) / 2``.

    Args:
        instruction: Transformer that reads the instruction.
        characters: Transformer that reads the characters, of the same channels; None for a site with one branch.

    Shapes:
        h (B, C, h, w) -> (B, C, h, w)
    """

    def __init__(self, instruction: nn.Module, characters: nn.Module | None) -> None:
        super().__init__()
        self.instruction, self.characters = instruction, characters

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Conditions,
        return_dict: bool = True,
        **others: Any,
    ) -> Any:
        """Average what the told branches give; where none is told, ``h`` passes unchanged."""
        c, h = encoder_hidden_states, hidden_states
        branches = [(self.instruction, c.instruction, c.instruction_keep)]
        if self.characters is not None and c.characters is not None:
            branches.append((self.characters, c.characters, c.characters_keep))
        told = None if c.told is None else c.told[:, : len(branches)]
        reads = {}
        for i, (transformer, tokens, keep) in enumerate(branches):
            if told is None or bool(told[:, i].any()):
                others["encoder_attention_mask"] = None if keep is None else keep.to(h.dtype)
                reads[i] = transformer(h, encoder_hidden_states=tokens, return_dict=False, **others)[0]
        out = torch.stack(list(reads.values())).mean(0) if told is None else _mean(h, reads, told)
        return _Output(out) if return_dict else (out,)


def _mean(h: Tensor, reads: dict[int, Tensor], told: Tensor) -> Tensor:
    count = told.sum(1)
    out = torch.zeros_like(h)
    for i, read in reads.items():
        out = out + read * (told[:, i] / count.clamp(min=1)).to(read.dtype).view(-1, 1, 1, 1)
    return torch.where((count == 0).view(-1, 1, 1, 1), h, out)


class _Output(NamedTuple):
    sample: Tensor


def install(unet: Any, width: int | None, heads: int = 2) -> list[str]:
    """Replace every attention site of a ``UNet2DConditionModel`` instance; the class stays as it is.

    The transformers that are there go on as instruction branches; those of the characters are new.

    Args:
        unet: The instance.
        width: Channels of the character tokens; None leaves the character branch out.
        heads: Attention heads of the character branch.

    Returns:
        Names of the sites in the UNet's order.

    Raises:
        UnsupportedBackbone: It has no attention sites, or they were replaced before.
    """
    names = []
    for name, block in unet.named_modules():
        sites = getattr(block, "attentions", None)
        if not isinstance(sites, nn.ModuleList):
            continue
        for i, site in enumerate(sites):
            if isinstance(site, DualTransformer) or not hasattr(site, "transformer_blocks"):
                raise UnsupportedBackbone(
                    f"{name}.attentions.{i} is a {type(site).__name__}, expected a stock transformer; give an "
                    "unchanged UNet"
                )
            sites[i] = DualTransformer(site, None if width is None else _reader_of(site, width, heads))
            names.append(f"{name}.attentions.{i}")
    if not names:
        raise UnsupportedBackbone("the UNet has no cross-attention, so that no words can reach it")
    return names


def _reader_of(site: Any, width: int, heads: int) -> nn.Module:
    settings = {k: v for k, v in site.config.items() if not k.startswith("_")}
    inner = settings["num_attention_heads"] * settings["attention_head_dim"]
    if inner % heads:
        raise ConfigError(f"{heads} heads do not divide the {inner} channels of a site; choose a divisor")
    settings |= {
        "cross_attention_dim": width,
        "num_attention_heads": heads,
        "attention_head_dim": inner // heads,
    }
    weight = next(site.parameters())
    new = type(site)(**settings).to(weight.device)
    return new if weight.dtype == torch.float32 else new.to(weight.dtype)


class Reading(NamedTuple):
    """Queries and keys of one character cross-attention, in the order of the forward pass.

    Shapes:
        query (B, P, C), key (B, L, C), P positions of the site, row by row
    """

    query: Tensor
    key: Tensor
    heads: int

    def attention(self, keep: Tensor | None = None) -> Tensor:
        """Attention over the characters, averaged over the heads.

        Shapes:
            keep bool (B, L) -> (B, P, L), rows of sum 1
        """
        q, k = (t.float().unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (self.query, self.key))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5  # (B, heads, P, L)
        if keep is not None:
            scores = scores.masked_fill(~keep[:, None, None], float("-inf"))
        return scores.softmax(-1).mean(1)


@contextmanager
def recorded(unet: nn.Module) -> Iterator[dict[str, Reading]]:
    """Record what the character branches read while the block runs, gradients included.

    Only queries and keys are kept, by hooks beside the computation, so that gradient checkpointing repeats the
    same operations.

    Args:
        unet: A UNet that ``install`` changed.

    Yields:
        Readings by name of the site; a second forward pass replaces them.
    """
    found: dict[str, Reading] = {}
    with ExitStack() as stack:
        for name, site in unet.named_modules():
            if isinstance(site, DualTransformer) and site.characters is not None:
                attention: Any = site.characters.transformer_blocks[-1].attn2  # pyright: ignore
                for part in ("query", "key"):
                    layer = attention.get_submodule(f"to_{part[0]}")
                    hook = _keeper(found, name, part, attention.heads)
                    stack.callback(layer.register_forward_hook(hook).remove)
        yield found


def _keeper(found: dict[str, Reading], name: str, part: str, heads: int) -> Any:
    def hook(_layer: nn.Module, _args: tuple, output: Tensor) -> None:
        before = found.get(name, Reading(output, output, heads))
        found[name] = before._replace(**{part: output})

    return hook
