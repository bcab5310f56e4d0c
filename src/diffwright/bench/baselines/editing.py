"""What object editing is compared with: nothing at all, scissors and paste, re-noising, latent optimisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.bench.editing_cases import Case
from diffwright.core.errors import MissingExtra
from diffwright.core.seeding import generator
from diffwright.diffusion.features import features
from diffwright.diffusion.guidance import Denoiser
from diffwright.diffusion.inversion import invert
from diffwright.diffusion.prompts import encode
from diffwright.diffusion.schedules import Schedule
from diffwright.editing.cache import Coder
from diffwright.editing.collage import collage
from diffwright.editing.composition import composed
from diffwright.editing.frame import Frame, Sight, choose_frame
from diffwright.editing.operations import Drag, Placement

RADIUS = 3  # of OpenCV's inpaintings, pixels
STEPS, STRENGTH = 50, 0.4  # levels of the controls that use the model; share that re-noising goes through
DRAG_LEVEL, UPDATES = 0.3, 40  # level that latent optimisation works at, and its gradient steps
Editor = Callable[[Case], np.ndarray]
"""From a case to the edited picture, uint8."""


def identity(case: Case) -> np.ndarray:
    """Change nothing."""
    return case.picture.copy()


@dataclass(frozen=True)
class CutAndPaste:
    """Cut the object out, inpaint its hole with OpenCV, lay it at its place.

    Args:
        method: ``telea`` or ``ns``.
        ring: pixels around the object that the hole includes.
    """

    method: str = "telea"
    ring: int = 1

    def __call__(self, case: Case) -> np.ndarray:
        """Edit."""
        return collage(case.picture, _placements(case), self._fill, self.ring)

    def _fill(self, picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
        try:
            import cv2
        except ImportError as error:
            raise MissingExtra(
                "the editing bench needs OpenCV for its baseline: pip install 'diffwright[bench]'"
            ) from error
        flag = cv2.INPAINT_TELEA if self.method == "telea" else cv2.INPAINT_NS
        return cv2.inpaint(picture, hole.astype(np.uint8) * 255, RADIUS, flag)


CUT_AND_PASTES = tuple(CutAndPaste(method, ring) for method in ("telea", "ns") for ring in (0, 1, 2, 3))
"""Among these the development cases choose."""


class Renoised:
    """SDEdit: the collage, noised to a level and denoised with fresh noise.

    Args:
        pipe: the model.
        strength: share of the levels that are gone through, 0 to 1.
        steps: levels.
        keep_outside: whether pixels outside the edit are kept.

    Reference:
        Meng et al., SDEdit, ICLR 2022, algorithm 1.
    """

    def __init__(
        self, pipe: Any, strength: float = STRENGTH, steps: int = STEPS, keep_outside: bool = True
    ) -> None:
        self.pipe, self.strength, self.keep_outside = pipe, strength, keep_outside
        self.schedule = Schedule.of(pipe.scheduler, steps)

    @torch.no_grad()
    def __call__(self, case: Case) -> np.ndarray:
        """Edit."""
        places, coder = _placements(case), Coder(self.pipe.vae)
        frame, draw = _frame(case, places, self.pipe), generator(0)
        z0 = coder.encode(frame.seen(collage(case.picture, places)))
        start = round((1 - self.strength) * len(self.schedule))
        denoiser = Denoiser(self.pipe.unet, self.schedule, encode(self.pipe, [case.caption]))
        z = self.schedule.noised(z0, torch.randn(z0.shape, generator=draw), start)
        for i in range(start, len(self.schedule)):
            noise = torch.randn(z.shape, generator=draw)
            z = self.schedule.step(z, denoiser(z, i), i, eta=1.0, noise=noise)
        return composed(case.picture, coder.decode(z), frame, places, keep_outside=self.keep_outside)


class LatentDrag:
    """Dragging by optimising the latents of one level, without fine-tuning the model.

    Each step moves the features around every handle a cell's part towards its target, holds the latents outside the
    mask, and follows the handles by their first features.

    Args:
        pipe: the model.
        level: share of the levels that are left out at the noisy end.
        updates: gradient steps.
        lr: their size.
        mask_weight: how strongly the rest is held.

    Reference:
        Shi et al., DragDiffusion, CVPR 2024, equations 2 to 4; its fine-tuning is left out.
    """

    def __init__(
        self,
        pipe: Any,
        level: float = DRAG_LEVEL,
        updates: int = UPDATES,
        lr: float = 0.02,
        mask_weight: float = 0.1,
    ) -> None:
        self.pipe, self.level, self.updates, self.lr, self.mask_weight = pipe, level, updates, lr, mask_weight
        self.schedule = Schedule.of(pipe.scheduler, STEPS)

    def __call__(self, case: Case) -> np.ndarray:
        """Edit."""
        assert isinstance(case.operation, Drag)
        places, coder = _placements(case), Coder(self.pipe.vae)
        frame = _frame(case, places, self.pipe)
        z0 = coder.encode(frame.seen(case.picture))
        denoiser = Denoiser(self.pipe.unet, self.schedule, encode(self.pipe, [case.caption]))
        start = round(self.level * len(self.schedule))
        path = invert(denoiser, z0, self.schedule, start=start)
        z = self._optimised(path.at(start), start, denoiser, case.operation, frame, places[0])
        with torch.no_grad():
            for i in range(start, len(self.schedule)):
                z = self.schedule.step(z, denoiser(z, i), i) + path.residual(i)
        return composed(case.picture, coder.decode(z), frame, places)

    def _optimised(
        self, z_start: Tensor, i: int, denoiser: Denoiser, drag: Drag, frame: Frame, place: Placement
    ) -> Tensor:
        free = frame.touched(place.zone, frame.latent)
        scale = np.array(frame.canvas[::-1]) / np.array(frame.pixels[::-1])
        corner = np.array(frame.box[:2], float)
        targets = torch.tensor((np.array(drag.to) - corner) * scale)
        handles = torch.tensor((np.array(drag.points) - corner) * scale)
        cell = frame.canvas[0] / frame.latent[0]
        with torch.no_grad():
            first = self._map(z_start, i, denoiser, frame)
            wanted = _around(first, handles)
        z = z_start.clone().requires_grad_()
        optimizer = torch.optim.Adam([z], lr=self.lr)
        for _ in range(self.updates):
            way = targets - handles
            left = way.norm(dim=1, keepdim=True)
            if bool((left < 0.5).all()):
                break
            step = way / left.clamp_min(1e-6) * left.clamp_max(cell / 2)
            f = self._map(z, i, denoiser, frame)
            loss = (_around(f, handles + step) - _around(f, handles).detach()).abs().mean()
            loss = loss + self.mask_weight * ((z - z_start) * ~free).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                handles = _tracked(self._map(z, i, denoiser, frame), wanted, handles, cell)
        return z.detach()

    def _map(self, z: Tensor, i: int, denoiser: Denoiser, frame: Frame) -> Tensor:
        _, fine = features(self.pipe.unet, lambda: denoiser.raw(z, i, denoiser.context))
        return F.interpolate(fine, size=frame.canvas, mode="bilinear", align_corners=False)


def _around(f: Tensor, points: Tensor, radius: int = 2) -> Tensor:
    """Features on a square of pixels around points: (1, C, H, W), (N, 2) -> (C, N, S)."""
    side = torch.arange(-radius, radius + 1, dtype=torch.float64)
    offsets = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1).reshape(-1, 2)
    at = (points[:, None] + offsets + 0.5) / torch.tensor([f.shape[3], f.shape[2]]) * 2 - 1
    return F.grid_sample(f, at[None].to(f), align_corners=False, padding_mode="border")[0]


def _tracked(f: Tensor, wanted: Tensor, handles: Tensor, reach: float) -> Tensor:
    """Where around each handle its first features are found again."""
    side = torch.arange(-int(reach), int(reach) + 1, dtype=torch.float64)
    moves = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1).reshape(-1, 2)
    away = torch.stack([(_around(f, handles + m) - wanted).abs().mean(dim=(0, 2)) for m in moves])
    return handles + moves[away.argmin(0)]


def _placements(case: Case) -> list[Placement]:
    height, width = case.picture.shape[:2]
    return [case.operation.place((height, width))]


def _frame(case: Case, places: list[Placement], pipe: Any) -> Frame:
    height, width = case.picture.shape[:2]
    return choose_frame((height, width), (0, 0, width, height), Sight.of(pipe))
