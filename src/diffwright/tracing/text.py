"""Causal tracing of text encoders, all states in one walk through the layers.

A restored state equals the corrupted run up to its own layer, so it enters the batch there, and each layer runs
once over all states that have entered so far. At its own layer only one row of a state differs from the
corrupted run, and only that row is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffwright.core.errors import UnsupportedBackbone
from diffwright.diffusion.hooks import replaced, taps
from diffwright.diffusion.prompts import encode_pooled
from diffwright.diffusion.sampling import Encoded
from diffwright.diffusion.sites import Site, sites
from diffwright.tracing.corruption import Reading, noised
from diffwright.tracing.states import TEXT_KINDS, State

ROWS = 64


@dataclass(frozen=True)
class Run:
    """What the layers of one encoder gave for one row.

    Attributes:
        streams: the residual stream before each layer, and after the last.
        attn: output of each layer's attention.
        mlp: output of each layer's MLP.
        call: what the layers get beside their stream.

    Shapes:
        each tensor (1, T, D); T positions, D width.
    """

    streams: list[Tensor]
    attn: list[Tensor]
    mlp: list[Tensor]
    call: dict[str, Any]

    def output(self, kind: str, layer: int) -> Tensor:
        """Give the output of a component of a layer; that of ``block`` is the stream after it."""
        return {"attn": self.attn, "mlp": self.mlp, "block": self.streams[1:]}[kind][layer]

    def cut(self, length: int) -> Run:
        """Keep the first positions only; by the causal mask they do not depend on later ones."""
        mask = self.call["attention_mask"]
        return Run(
            streams=[rows[:, :length] for rows in self.streams],
            attn=[rows[:, :length] for rows in self.attn],
            mlp=[rows[:, :length] for rows in self.mlp],
            call=self.call | {"attention_mask": None if mask is None else mask[..., :length, :length]},
        )


class Ends(NamedTuple):
    """Where the encoders are read: the stream before the last layer and after it, each (N, T, D)."""

    before: Tensor
    after: Tensor


@torch.no_grad()
def run_of(reading: Reading, noise: Tensor | None = None) -> Run:
    """Run an encoder once and keep what every component gives.

    Args:
        reading: the prompt.
        noise: added to the token embeddings (see ``subject_noise``); the clean run without it.

    Shapes:
        noise (1, T, D)
    """
    parts = {kind: sites(reading.encoder, [kind]) for kind in TEXT_KINDS}
    first: dict[str, Any] = {}

    def remember(_module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        first.update(kwargs | dict(zip(("hidden_states", "attention_mask"), args, strict=False)))

    with ExitStack() as stack:
        if noise is not None:
            stack.enter_context(noised(reading, noise))
        handle = parts["block"][0].module.register_forward_pre_hook(remember, with_kwargs=True)
        stack.callback(handle.remove)
        streams = stack.enter_context(taps(parts["block"], inputs=True))
        given = stack.enter_context(taps([*parts["attn"], *parts["mlp"], parts["block"][-1]]))
        reading.encoder(reading.ids, attention_mask=reading.mask)
    del first["hidden_states"]
    return Run(
        streams=[*(streams[site.name][0] for site in parts["block"]), given[parts["block"][-1].name][0]],
        attn=[given[site.name][0] for site in parts["attn"]],
        mlp=[given[site.name][0] for site in parts["mlp"]],
        call={"attention_mask": None} | first,
    )


@torch.no_grad()
def restore(
    reading: Reading, states: Sequence[State], clean: Run, corrupted: Run, *, rows: int = ROWS
) -> Ends:
    """Run the corrupted prompt once for each state, with that state's output as in the clean run.

    Args:
        reading: the prompt as the traced encoder reads it.
        states: of this encoder, in any order.
        clean: its clean run.
        corrupted: its corrupted run.
        rows: most states that are carried through the layers at once.

    Returns:
        One row for each state, in the order given.

    Reference:
        Meng et al., Locating and Editing Factual Associations in GPT, 2022, section 2.1; Basu et al., Localizing
        and Editing Knowledge in Text-to-Image Generative Models, ICLR 2024.
    """
    order = sorted(range(len(states)), key=lambda number: states[number].layer)
    ends = [
        _walk(reading, [states[number] for number in order[start : start + rows]], clean, corrupted)
        for start in range(0, len(order), rows)
    ]
    back = torch.tensor(order, dtype=torch.long).argsort()
    empty = clean.streams[0][:0]
    return Ends(
        *(torch.cat([empty, *part])[back] for part in zip(*ends, strict=True)) if ends else (empty,) * 2
    )


def _walk(reading: Reading, states: list[State], clean: Run, corrupted: Run) -> Ends:
    """Carry states, sorted by layer, from the layer of the first one to the end."""
    layers = sites(reading.encoder, TEXT_KINDS)
    parts = {kind: [site for site in layers if site.kind == kind] for kind in TEXT_KINDS}
    depth = len(parts["block"])
    stream, inside = clean.streams[0][:0], list[State]()
    before = stream
    for layer in range(states[0].layer, depth):
        entering = [state for state in states if state.layer == layer]
        if layer == depth - 1:
            before = torch.cat([stream, corrupted.streams[layer].expand(len(entering), -1, -1)])
        if inside:
            stream = _forward([parts[kind][layer] for kind in TEXT_KINDS], layer, stream, inside, clean)
        stream = torch.cat([stream, _enter(parts["block"][layer].module, layer, entering, clean, corrupted)])
        inside += entering
    return Ends(before, stream)


def _forward(places: list[Site], layer: int, stream: Tensor, inside: list[State], clean: Run) -> Tensor:
    """Run one layer over the states inside; those whose window is still open are restored in it too."""
    with ExitStack() as stack:
        for site in places:
            open_ = [n for n, s in enumerate(inside) if s.kind == site.kind and layer < s.layer + s.window]
            if open_:
                tokens = [inside[n].token for n in open_]
                wanted = clean.output(site.kind, layer)[0, tokens]
                stack.enter_context(replaced(site, _put(open_, tokens, wanted)))
        output = places[-1].module(stream, **clean.call)
    return output[0] if isinstance(output, tuple) else output


def _put(rows: list[int], tokens: list[int | None], wanted: Tensor) -> Any:
    def change(output: Tensor) -> Tensor:
        changed = output.clone()
        changed[rows, tokens] = wanted
        return changed

    return change


def _enter(block: Any, layer: int, states: list[State], clean: Run, corrupted: Run) -> Tensor:
    """Give the stream after a layer for the states that begin there: the corrupted one, but for one row each.

    With x the corrupted stream before the layer, a and f the outputs of attention and MLP, and + for clean:
    attn x + a⁺ + MLP(LN(x + a⁺)); mlp x + a + f⁺; block the clean stream.
    """
    stream = corrupted.streams[layer + 1].repeat(len(states), 1, 1)  # (n, T, D)
    for kind in TEXT_KINDS:
        rows = [n for n, state in enumerate(states) if state.kind == kind]
        if not rows:
            continue
        tokens = [states[n].token for n in rows]
        x, wanted = corrupted.streams[layer][0, tokens], clean.output(kind, layer)[0, tokens]  # (k, D)
        if kind == "attn":
            middle = x + wanted
            new = middle + block.mlp(block.layer_norm2(middle))
        elif kind == "mlp":
            new = x + corrupted.attn[layer][0, tokens] + wanted
        else:
            new = wanted
        stream[rows, tokens] = new
    return stream


@torch.no_grad()
def conditions(pipe: Any, readings: Sequence[Reading], ends: Sequence[Ends]) -> Encoded:
    """Turn the ends of all encoders into what the UNet reads, by the conventions of the layout.

    Stable Diffusion 1 and 2 take the last stream, normalised; XL takes the stream before the last layer of both
    encoders side by side, and the second one's projected end token.

    Args:
        pipe: the pipeline.
        readings: the prompt as each encoder reads it.
        ends: of each encoder; a single row is repeated to the number of the others.

    Shapes:
        -> encodings (N, T, D), pooled (N, P) or None
    """
    count = max(len(end.after) for end in ends)
    if len(readings) == 1:
        return _norm(readings[0])(ends[0].after), None
    beside = torch.cat([end.before.expand(count, -1, -1) for end in ends], dim=-1)
    last = _norm(readings[1])(ends[1].after[:, readings[1].end])
    return beside, pipe.text_encoder_2.text_projection(last).expand(count, -1)


def ends_of(run: Run) -> Ends:
    """Give the ends of a run that nothing was restored in."""
    return Ends(run.streams[-2], run.streams[-1])


def check_conventions(pipe: Any, prompt: str, readings: Sequence[Reading], runs: Sequence[Run]) -> None:
    """Make sure that our reading of the clean runs is the pipeline's own encoding of the prompt.

    Raises:
        UnsupportedBackbone: it is not, for example because an adapter or another pipeline is in the way.
    """
    ours, theirs = conditions(pipe, readings, list(map(ends_of, runs))), encode_pooled(pipe, [prompt])
    for mine, own in zip(ours, theirs, strict=True):
        if mine is not None and own is not None:
            error = float((mine.float() - own.float()).norm() / own.float().norm().clamp_min(1e-12))
            if error > 1e-2:
                raise UnsupportedBackbone(
                    f"The text encoders are read otherwise than in Stable Diffusion 1, 2 or XL (relative "
                    f"difference {error:.1e}); unload adapters, or trace a stock pipeline."
                )


def _norm(reading: Reading) -> Any:
    for path, module in reading.encoder.named_modules():
        if f".{path}".endswith(".final_layer_norm") and "vision_model" not in path:
            return module
    raise UnsupportedBackbone(
        f"{type(reading.encoder).__name__} has no final_layer_norm; trace a CLIP text encoder."
    )
