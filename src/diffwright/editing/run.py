"""The sampling loop of DiffEditor: regional gradient guidance, regional noise, time travel, memory bank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.diffusion.features import features, on_grid
from diffwright.diffusion.guidance import Denoiser, limited
from diffwright.diffusion.sites import Site
from diffwright.editing.bank import Shown, shown
from diffwright.editing.cache import Inverted
from diffwright.editing.energies import content_energy, edit_energy
from diffwright.editing.image_prompt import Dial
from diffwright.editing.presets import Preset, Step
from diffwright.editing.regions import Plan

OnStep = Callable[[int, int, Tensor], Tensor]
"""``on_step(number, timestep, latents)``: may give other latents, or raise to stop."""


@dataclass(frozen=True, eq=False)
class Job:
    """One pass with all its operations.

    Attributes:
        preset: the settings.
        plan: the operations on the model's grids, on its device.
        denoiser: the model with the words of the edit.
        picture: the inverted picture.
        guides: the picture and then each reference, inverted.
        attentions: where the bank is shown.
        dial: strength of the image prompt; None where there is none.
        collage: latents of the collage (1, C, h, w), where the preset begins from it.
    """

    preset: Preset
    plan: Plan
    denoiser: Denoiser
    picture: Inverted
    guides: tuple[Inverted, ...]
    attentions: Sequence[Site]
    dial: Dial | None = None
    collage: Tensor | None = None

    @property
    def tasks(self) -> list[str]:
        """Names of the operations."""
        return [region.task for region in self.plan.regions]


def sample(job: Job, generator: torch.Generator, on_step: OnStep = lambda *_: _[-1]) -> Tensor:
    """Make the edited latents.

    Args:
        job: what is edited and how.
        generator: draws all noise, on the CPU.
        on_step: called after every step.

    Returns:
        Latents (1, C, h, w) of the edited picture.

    Reference:
        Mou et al., DiffEditor, CVPR 2024, algorithm 1.
    """
    schedule, plan, p = job.denoiser.schedule, job.plan, job.preset
    start = begun(job, generator)
    z = start(job.picture.trajectory.start)
    guidance = p.guidance_replace if "replace" in job.tasks else p.guidance
    eta = torch.where(plan.loose, p.eta_in, p.eta_out)[None, None].to(z)
    steps = p.steps_taken(job.tasks)
    for number, step in enumerate(steps):
        i = step.i
        noise = drawn(z, generator) if step.noisy else 0.0
        missed = _carried_residual(job, i) if p.exact else 0.0
        with torch.no_grad():
            for turn in range(step.passes):
                with _strength(job, step), _bank(job, step):
                    epsilon = job.denoiser(z, i, guidance)
                g = limited(_gradient(job, z, i), epsilon, p.limit) if step.guided else 0.0
                new = schedule.step(z, epsilon, i, g, eta if step.noisy else 0.0, noise) + missed
                if p.hold:
                    new = torch.where(plan.free, new, job.picture.trajectory.at(i + 1))
                if p.carry:
                    new = torch.where(plan.carried | plan.near, start(i + 1), new)
                if turn < step.passes - 1:
                    z = schedule.carried(new, job.denoiser(new, i + 1), i + 1, i)
        z = on_step(number, schedule.timesteps[i], new)
    return z


def begun(job: Job, generator: torch.Generator) -> Callable[[int], Tensor]:
    """What sampling starts from, with every object at its new place, as latents at any level.

    Without a collage it is the picture's inverted noise, which exists at the first level alone.
    """
    trajectory, plan = job.picture.trajectory, job.plan
    schedule, begin = trajectory.schedule, job.collage
    if begin is None:
        starts = [guide.trajectory.at(trajectory.start) for guide in job.guides]
        placed = _unrepeated(job, _placed(job, starts), lambda: drawn(starts[0], generator))
        return lambda _: placed
    noises = [_inverted_noise(guide) for guide in job.guides]
    epsilon, fresh = _placed(job, noises), drawn(noises[0], generator)
    epsilon = _unrepeated(job, torch.where(plan.vacated, fresh, epsilon), lambda: fresh)
    return lambda level: schedule.noised(begin, epsilon, level)


def _unrepeated(job: Job, placed: Tensor, fresh: Callable[[], Tensor]) -> Tensor:
    """Put fresh noise where enlarging took a latent twice, so that the noise stays white."""
    again = [
        (to, _repeated(at, job.guides[region.guide].trajectory.latents[-1].shape[-2:]))
        for region, (to, at) in zip(job.plan.regions, job.plan.moves, strict=True)
    ]
    if any(bool(mask.any()) for _, mask in again):
        new = fresh()
        for to, mask in again:
            placed[..., to] = torch.where(mask, new[..., to], placed[..., to])
    return placed


def _inverted_noise(guide: Inverted) -> Tensor:
    """What a picture's noisiest latents hold beside the picture."""
    t = guide.trajectory
    a = t.schedule.alpha_bar[t.start]
    return (t.at(t.start) - a**0.5 * t.latents[-1]) / (1 - a) ** 0.5


def _placed(job: Job, maps: Sequence[Tensor]) -> Tensor:
    """The picture's map with the nearest values of each guide's at the places that take content."""
    out = maps[0].clone()
    for region, (to, at) in zip(job.plan.regions, job.plan.moves, strict=True):
        if len(at):
            taken = F.grid_sample(
                maps[region.guide], at[None, None], mode="nearest", padding_mode="border", align_corners=False
            )
            out[..., to] = taken[:, :, 0]
    return out


def _repeated(at: Tensor, size: torch.Size) -> Tensor:
    """Which of some places fall into a cell that an earlier one took, bool (N,): enlarging repeats noise."""
    height, width = size
    cell = ((at + 1) / 2 * at.new_tensor([width, height])).long()
    flat = (cell[:, 1].clamp(0, height - 1) * width + cell[:, 0].clamp(0, width - 1)).tolist()
    first = {cell: number for number, cell in reversed(list(enumerate(flat)))}
    return torch.tensor([first[cell] != number for number, cell in enumerate(flat)], dtype=torch.bool).to(
        at.device
    )


def _carried_residual(job: Job, i: int) -> Tensor:
    """What step i is known to miss, moved along with the objects; nothing where one was taken away."""
    residuals = [guide.trajectory.residual(i) for guide in job.guides]
    placed = _placed(job, residuals)  # pyright: ignore[reportArgumentType]
    return placed.masked_fill(job.plan.vacated, 0.0)


def drawn(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers from a CPU generator."""
    return torch.randn(like.shape, generator=generator).to(like)


@contextmanager
def _strength(job: Job, step: Step) -> Iterator[None]:
    """Turn the image prompt up for the block, where the step has it."""
    if job.dial is None or not step.prompted:
        yield
        return
    job.dial.set(job.preset.image_prompt)
    try:
        yield
    finally:
        job.dial.set(0.0)


def _bank(job: Job, step: Step) -> Any:
    """Show the pictures' states: replacing the own ones, or beside them for a drag."""
    if not step.bank:
        return nullcontext()
    kept = job.plan.kept & ~job.plan.vacated if job.preset.hold else job.plan.kept
    parts = [Shown(job.picture.bank[step.i], kept)]
    for region in job.plan.regions:
        if region.guide:
            object_there = F.avg_pool2d(region.gud[None].float(), 2)[0] >= 0.5
            parts.append(Shown(job.guides[region.guide].bank[step.i], object_there))
    return shown(job.attentions, parts, own="drag" in job.tasks)


def _gradient(job: Job, z: Tensor, i: int) -> Tensor:
    """G = M ∇E_edit + (1 − M) ∇E_content, or the gradient of their sum."""
    p, plan = job.preset, job.plan
    guides = [on_grid(guide.taps_at(i), guide.grid) for guide in job.guides]
    share = torch.zeros_like(plan.share) if p.hold else plan.share
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        taps = features(job.denoiser.unet, lambda: job.denoiser.raw(z, i, job.denoiser.context))
        f_gen = on_grid(taps, job.picture.grid)
        edit = p.energy * edit_energy(plan.regions, f_gen, guides)
        content = p.energy * content_energy(plan.regions, f_gen, guides[0], share, plan.share)
        if p.regional:
            return torch.where(plan.edited, _slope(edit, z, keep=True), _slope(content, z))
        g = _slope(edit + content, z)
    return torch.where(plan.free, g, 0.0) if p.hold else g


def _slope(energy: Tensor, z: Tensor, keep: bool = False) -> Tensor:
    if not energy.requires_grad:
        return torch.zeros_like(z)
    (g,) = torch.autograd.grad(energy, z, retain_graph=keep, allow_unused=True)
    return torch.zeros_like(z) if g is None else g
