"""One model at work on pictures: codes, inverts, samples and composes, and remembers what a picture cost."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffwright.core.geometry import box_of
from diffwright.core.progress import Progress
from diffwright.core.results import Stopwatch
from diffwright.core.seeding import generator
from diffwright.diffusion.guidance import Denoiser
from diffwright.diffusion.prompts import encode
from diffwright.diffusion.schedules import Schedule
from diffwright.editing.bank import decoder_attentions
from diffwright.editing.cache import Cache, Coded, Coder, Inverted, invert_picture
from diffwright.editing.collage import collage
from diffwright.editing.composition import composed
from diffwright.editing.frame import Frame, Sight, choose_frame
from diffwright.editing.image_prompt import Dial, ImagePrompt, ImageTower
from diffwright.editing.operations import Placement
from diffwright.editing.presets import Preset
from diffwright.editing.regions import plan
from diffwright.editing.run import Job, OnStep, sample


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels and words.

    Attributes:
        pixels: uint8 (H, W, 3).
        prompt: what it shows; may be empty.
        key: name of both.
    """

    pixels: np.ndarray
    prompt: str = ""
    key: str = field(init=False)

    def __post_init__(self) -> None:
        content = self.pixels.tobytes() + f"{self.pixels.shape}{self.prompt}".encode()
        object.__setattr__(self, "key", hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, eq=False)
class Task:
    """What one call asks for.

    Attributes:
        picture: what is edited.
        placements: the operations.
        preset: the settings.
        keep_outside: whether pixels outside the edit are kept.
    """

    picture: Picture
    placements: tuple[Placement, ...]
    preset: Preset
    keep_outside: bool = True


class Engine:
    """A pipeline made ready for editing; its weights are never changed.

    Args:
        pipe: a pipeline that ``require(pipe, "edit")`` accepts.
        image_prompt: trained for it, or None.
        tower: the image tower that the image prompt reads; without it the prompt stays silent.
    """

    def __init__(self, pipe: Any, image_prompt: ImagePrompt | None, tower: ImageTower | None) -> None:
        self.pipe, self.image_prompt, self.tower = pipe, image_prompt, tower
        self.sight, self.coder = Sight.of(pipe), Coder(pipe.vae)
        self.attentions = decoder_attentions(pipe.unet)
        self.passes = 0
        self._codes, self._inversions, self._words = Cache(), Cache(), Cache(16)

    @property
    def device(self) -> torch.device:
        """Where the UNet is."""
        return next(self.pipe.unet.parameters()).device

    def forget(self) -> None:
        """Drop everything that was computed for earlier pictures."""
        for cache in (self._codes, self._inversions, self._words):
            cache.clear()

    def frame(self, task: Task) -> Frame:
        """What of the picture the model sees for a task."""
        zone = np.logical_or.reduce([p.zone for p in task.placements])
        return choose_frame(task.picture.pixels.shape[:2], box_of(zone), self.sight)  # pyright: ignore

    def coded(self, picture: Picture, frame: Frame) -> Coded:
        """A picture's latents and its round trip, computed once."""
        key = picture.key, frame
        return self._codes.get(key) or self._codes.put(key, self.coder.code(picture.pixels, frame))

    def run(
        self,
        task: Task,
        seeds: Sequence[int],
        watch: Stopwatch,
        on_step: OnStep = lambda *a: a[-1],
        progress: Progress | None = None,
    ) -> list[np.ndarray]:
        """Edit.

        Args:
            task: what is asked for.
            seeds: one for each picture wanted.
            watch: collects the seconds of each stage.
            on_step: called after every sampling step.
            progress: is told the evaluations of the inversions.

        Returns:
            uint8 (H, W, 3) a seed
        """
        frame = self.frame(task)
        with self._ready() as dial:
            job, laid = self._job(task, frame, dial, watch, progress)
            out = []
            for seed in seeds:
                with watch("sample"):
                    latents = sample(job, generator(seed), on_step)
                with watch("compose"):
                    out.append(self._picture(task, frame, latents, laid))
        return out

    def _job(
        self, task: Task, frame: Frame, dial: Dial | None, watch: Stopwatch, progress: Progress | None
    ) -> tuple[Job, Coded | None]:
        """What is sampled, and the collage through the autoencoder where its detail is given back."""
        picture, placements, preset = task.picture, task.placements, task.preset
        guides, own, frames = self._guides(task, frame)
        with watch("encode"):
            codes = [self.coded(g, f) for g, f in zip(guides, own, strict=True)]
            begin = laid = None
            if preset.begin == "collage":
                made = collage(picture.pixels, placements)
                laid = self.coder.code(made, frame) if preset.detail else None
                begin = self.coder.encode(frame.seen(made)) if laid is None else laid.latents
        with watch("invert"):
            inverted = [
                self._inverted(g, f, c, preset, progress) for g, f, c in zip(guides, own, codes, strict=True)
            ]
        schedule = inverted[0].trajectory.schedule
        tokens = [self._tokens(g, f) for g, f in zip(guides, own, strict=True)] if dial else []
        job = Job(
            preset=preset,
            plan=plan(placements, frame, frames, preset.margin).to(self.device),
            denoiser=self._denoiser(schedule, picture.prompt, tokens),
            picture=inverted[0],
            guides=tuple(inverted),
            attentions=self.attentions,
            dial=dial if self.tower is not None else None,
            collage=begin,
        )
        return job, laid

    def _guides(self, task: Task, frame: Frame) -> tuple[list[Picture], list[Frame], list[Frame]]:
        """The picture and the references, what the model sees of each, and by operation what it sees of its guide."""
        guides, own, frames = [task.picture], [frame], []
        for p in task.placements:
            frames.append(frame)
            if p.guide is not None:
                frames[-1] = choose_frame(p.guide.shape[:2], box_of(p.guide_mask), self.sight)  # pyright: ignore
                guides.append(Picture(p.guide))
                own.append(frames[-1])
        return guides, own, frames

    def _inverted(
        self, picture: Picture, frame: Frame, coded: Coded, preset: Preset, progress: Progress | None
    ) -> Inverted:
        key = picture.key, frame, _inversion_settings(preset)
        found = self._inversions.get(key)
        if found is None:
            schedule = Schedule.of(self.pipe.scheduler, preset.steps)
            tokens = [self._tokens(picture, frame)] if self.image_prompt is not None else []
            denoiser = self._denoiser(schedule, picture.prompt, tokens)
            found = invert_picture(coded.latents, denoiser, preset, self.attentions, progress)
            self._inversions.put(key, found)
        return found

    def _denoiser(self, schedule: Schedule, prompt: str, tokens: Sequence[tuple[Tensor, Tensor]]) -> Denoiser:
        """The model with words and, where an image prompt is installed, with image tokens beside them."""
        context, blank = self._encoded(prompt), self._encoded("")
        if tokens:
            context = context, [torch.cat([told for told, _ in tokens], dim=1)]
            blank = blank, [torch.cat([empty for _, empty in tokens], dim=1)]
        return Denoiser(self.pipe.unet, schedule, context, blank)

    def _encoded(self, prompt: str) -> Tensor:
        found = self._words.get(prompt)
        return self._words.put(prompt, encode(self.pipe, [prompt])) if found is None else found

    def _tokens(self, picture: Picture, frame: Frame) -> tuple[Tensor, Tensor]:
        """Image tokens of what a frame shows, and of an empty picture, (1, T, D) each."""
        assert self.image_prompt is not None
        key = "tokens", picture.key, frame
        found = self._words.get(key)
        if found is None:
            found = self.image_prompt.tokens(frame.cut(picture.pixels), self.tower)
        return self._words.put(key, found)

    def _picture(self, task: Task, frame: Frame, latents: Tensor, laid: Coded | None) -> np.ndarray:
        coded = self.coded(task.picture, frame) if task.preset.detail else None
        return composed(
            task.picture.pixels,
            self.coder.decode(latents),
            frame,
            task.placements,
            coded=coded,
            laid=laid,
            keep_outside=task.keep_outside,
        )

    @contextmanager
    def _ready(self) -> Iterator[Dial | None]:
        """Freeze the UNet, count its passes and install the image prompt for one call."""
        unet, dial = self.pipe.unet, None
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(_frozen(unet))
            stack.callback(unet.register_forward_pre_hook(self._count, with_kwargs=True).remove)
            if self.image_prompt is not None:
                parameter = next(unet.parameters())
                self.image_prompt.to(parameter.device, parameter.dtype)
                if self.tower is not None:
                    self.tower.model.to(parameter.device)
                dial = stack.enter_context(self.image_prompt.installed(unet))
            yield dial

    def _count(self, _module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self.passes += len(args[0] if args else kwargs["sample"])


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Keep no gradients for weights while the block runs."""
    trained = [p for p in module.parameters() if p.requires_grad]
    for p in trained:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in trained:
            p.requires_grad_(True)


def _inversion_settings(p: Preset) -> tuple[Any, ...]:
    """What an inversion depends on."""
    return p.steps, p.first, p.own_level, p.bank, p.guided, p.every, p.energy > 0
