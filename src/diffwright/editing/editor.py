"""``ImageEditor``: set a picture once, edit it many times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
from torch import Tensor

from diffwright.core.checks import text
from diffwright.core.errors import Cancelled, InputError, WeightsMissing
from diffwright.core.geometry import Point
from diffwright.core.images import load_image, to_pil
from diffwright.core.progress import Progress, report
from diffwright.core.results import Stopwatch
from diffwright.diffusion.backbones import require
from diffwright.editing.engine import Engine, Picture, Task
from diffwright.editing.image_prompt import TOWER, ImagePrompt, ImageTower
from diffwright.editing.masks import check_area, choose
from diffwright.editing.operations import Drag, Move, Operation, Paste, Placement, Remove, Replace, Resize
from diffwright.editing.presets import Preset, preset
from diffwright.editing.requests import latents_of, placements_of, points_of, previewed, seeds_of, unreached
from diffwright.editing.result import EditResult, read_edit
from diffwright.metrics.pictures import psnr
from diffwright.weights.fingerprint import fingerprint
from diffwright.weights.hub import fetch
from diffwright.weights.load import load
from diffwright.weights.names import is_hub_id, is_pocket, resolve, shipped_names

LEAST_CELLS = 8
OWN_WORLD_DB = {
    "pocket": 25.0,
    "sd": 20.0,
}  # round trips below this are of pictures that a model does not know

StepCallback = Callable[["ImageEditor", int, int, dict[str, Any]], Any]
"""``callback(editor, step, timestep, {"latents": z})``; may give back such a dictionary, or True to stop the run."""


class ImageEditor:
    """Moves, resizes, drags, replaces, pastes and removes objects of a picture by score guidance.

    Args:
        pipe: a pipeline that the table of backbones lists for ``edit``; its weights stay as they are.
        preset: ``reference``, ``dragon``, ``balanced``, ``fast``, or a ``Preset`` of your own.
        image_prompt: trained for this pipeline; what ``load_ip_adapter`` put into it without one.
        tower: what the image prompt reads pictures with; the pipeline's own ``image_encoder`` without it.

    Raises:
        UnsupportedBackbone: the layout is not supported, or the image prompt does not fit.

    Reference:
        Mou et al., DiffEditor, CVPR 2024; Mou et al., DragonDiffusion, ICLR 2024.
    """

    def __init__(
        self,
        pipe: Any,
        preset: str | Preset = "balanced",
        image_prompt: ImagePrompt | None = None,
        tower: ImageTower | None = None,
    ) -> None:
        self.layout = require(pipe, "edit").layout
        self.preset = _preset(preset)
        self.pipe = pipe
        prompt = image_prompt or ImagePrompt.of(pipe)
        tower = tower or ImageTower.of(pipe)
        if prompt is not None:
            prompt.check_fit(pipe.unet, tower)
        self._engine = Engine(pipe, prompt, tower)
        self._picture: Picture | None = None
        self._model = ""

    @property
    def image_prompt(self) -> ImagePrompt | None:
        """The image prompt in use, if any."""
        return self._engine.image_prompt

    @property
    def tower(self) -> ImageTower | None:
        """What the image prompt reads pictures with, if anything."""
        return self._engine.tower

    @property
    def has_image_prompt(self) -> bool:
        """Whether pictures can speak beside the text; an image prompt without a tower stays silent."""
        return self.image_prompt is not None and self.tower is not None

    @classmethod
    def from_pretrained(
        cls,
        source: str | PathLike[str] = "pocket",
        *,
        preset: str | Preset = "balanced",
        image_prompt: str | PathLike[str] | None = None,
        image_encoder: str | PathLike[str] | None = None,
        **options: Any,
    ) -> ImageEditor:
        """Load a model and its image prompt.

        Args:
            source: a pocket name, a directory saved by diffusers, or a hub id.
            preset: as in the constructor.
            image_prompt: a pocket name, directory or safetensors file in the layout of ``load_ip_adapter``;
                ``SOURCE-image-prompt`` where it is shipped.
            image_encoder: directory with the ``image_encoder`` folder that the image prompt reads; the model's own
                without it.
            options: passed to ``diffwright.load``: device, dtype, revision, variant, offline.

        Raises:
            WeightsError: a part is missing, damaged, unsafe or not supported, or there is an image prompt and no
                image encoder that it could read.
        """
        _preset(preset)
        pipe = load(source, **options)
        shipped = f"{source}-image-prompt"
        if image_prompt is None and is_pocket(source) and shipped in shipped_names():
            image_prompt = shipped
        if image_prompt is None:
            return cls(pipe, preset)
        if is_hub_id(source) and not is_pocket(source):
            root = fetch(
                str(source), **{k: v for k, v in options.items() if k in ("revision", "variant", "offline")}
            )
        else:
            root = resolve(source)
        if image_encoder is not None:
            tower = ImageTower.load(image_encoder)
        elif (root / TOWER).is_dir():
            tower = ImageTower.load(root)
        elif (tower := ImageTower.of(pipe)) is None:
            raise WeightsMissing(
                f"{source} has no {TOWER}, so the image prompt {image_prompt} could not see; give image_encoder "
                f"(--image-encoder), a directory with the {TOWER} that it was trained with"
            )
        return cls(pipe, preset, ImagePrompt.from_pretrained(image_prompt), tower)

    def set_image(self, image: Any, prompt: str = "") -> ImageEditor:
        """Choose the picture that the edits start from.

        What its inversion costs is spent at the first edit and kept for those that follow.

        Args:
            image: path, PIL image, uint8 array (H, W, 3) or tensor in [-1, 1].
            prompt: what it shows, in the words of the model; may be empty.

        Returns:
            The editor itself.

        Raises:
            InputError: the picture or the prompt cannot be used.
        """
        text("prompt", prompt)
        self._picture = Picture(load_image(image), prompt)
        self._model = fingerprint(self.pipe)
        self._engine.forget()
        return self

    def move(self, region: Any, by: tuple[float, float], *, scale: float = 1.0, **options: Any) -> EditResult:
        """Move an object.

        Args:
            region: a mask of the object, a box (x0, y0, x1, y1) around it or a point (x, y) on it.
            by: shift to the right and down, pixels.
            scale: size afterwards relative to now.
            options: as in ``edit``.
        """
        return self.edit([Move(self.select(region), by, scale)], **options)

    def resize(self, region: Any, scale: float, **options: Any) -> EditResult:
        """Make an object larger or smaller.

        Args:
            region: as in ``move``.
            scale: size afterwards relative to now.
            options: as in ``edit``.
        """
        return self.edit([Resize(self.select(region), scale)], **options)

    def drag(
        self, points: Sequence[Point], to: Sequence[Point], region: Any = None, **options: Any
    ) -> EditResult:
        """Drag points to new places.

        Args:
            points: where the content is now, (x, y) in pixels.
            to: where it shall be, as many.
            region: what may change, as in ``move``; chosen around the points without it.
            options: as in ``edit``.
        """
        mask = None if region is None else self.select(region)
        return self.edit([Drag(points_of(points), points_of(to), mask)], **options)

    def replace(self, region: Any, reference: Any, reference_region: Any, **options: Any) -> EditResult:
        """Give an object the look of one in another picture.

        Args:
            region: as in ``move``.
            reference: the other picture.
            reference_region: the object in it, as in ``move``.
            options: as in ``edit``.
        """
        other = load_image(reference)
        return self.edit([Replace(self.select(region), other, choose(other, reference_region))], **options)

    def paste(
        self, reference: Any, reference_region: Any, at: Point, *, scale: float = 1.0, **options: Any
    ) -> EditResult:
        """Put an object of another picture into this one.

        Args:
            reference: the other picture.
            reference_region: the object in it, as in ``move``.
            at: where its middle goes, (x, y) in pixels.
            scale: pixels of this picture for each pixel of the other.
            options: as in ``edit``.
        """
        other = load_image(reference)
        return self.edit([Paste(other, choose(other, reference_region), at, scale)], **options)

    def remove(self, region: Any, **options: Any) -> EditResult:
        """Take an object away.

        Args:
            region: as in ``move``.
            options: as in ``edit``.
        """
        return self.edit([Remove(self.select(region))], **options)

    def select(self, region: Any) -> np.ndarray:
        """Find the object that a mask, a box or a point means in the picture, bool (H, W)."""
        return choose(self._current().pixels, region)

    def preview(self, operations: Sequence[Operation]) -> Any:
        """Show at once, without the model, where everything will be.

        Args:
            operations: as in ``edit``.

        Returns:
            A PIL image.
        """
        return to_pil(previewed(self._current().pixels, operations, self.preset))

    def edit(
        self,
        operations: Sequence[Operation],
        *,
        seed: int | Sequence[int] = 0,
        preset: str | Preset | None = None,
        keep_outside: bool = True,
        callback_on_step_end: StepCallback | None = None,
        progress: Progress | None = None,
        command: str = "",
    ) -> EditResult:
        """Do one or several operations in one pass.

        Args:
            operations: what to do; masks of the picture's size.
            seed: of all noise; several give as many pictures.
            preset: other settings than the editor's own.
            keep_outside: hand pixels outside the feathered edit back bit by bit.
            callback_on_step_end: called after every sampling step as ``callback(editor, step, timestep,
                {"latents": z})``; a dictionary that it returns replaces the latents, True stops the run.
            progress: is told the steps done; returning True stops the run.
            command: recorded in the result.

        Returns:
            The pictures in their own size, with figures, warnings and all that is needed to replay the edit.

        Raises:
            InputError: no picture is set, a mask is empty or does not fit, a target lies off the picture.
            Cancelled: a callback stopped the run.
        """
        chosen = self.preset if preset is None else _preset(preset)
        seeds = seeds_of(seed)
        picture = self._current()
        placements = placements_of(operations, picture.pixels, chosen)
        task = Task(picture, placements, chosen, keep_outside)
        watch, before = Stopwatch(), self._engine.passes
        total = len(seeds) * len(chosen.steps_taken())
        on_step = self._on_step(callback_on_step_end, progress, total)
        images = self._engine.run(task, seeds, watch, on_step, progress)
        frame = self._engine.frame(task)
        coded = self._engine.coded(picture, frame)
        round_trip = float(psnr(coded.decoded.clamp(-1, 1), coded.seen))
        unchanged = all(np.array_equal(image, picture.pixels) for image in images)
        return EditResult(
            images=[to_pil(image) for image in images],
            names=[f"edited-{s}" for s in seeds],
            figures={
                "round_trip_psnr": min(round_trip, 99.0),
                "unet_passes": self._engine.passes - before,
                "model_width": frame.canvas[1],
                "model_height": frame.canvas[0],
            },
            warnings=self._warnings(placements, frame.cell_px, round_trip, unchanged),
            timings=watch.timings,
            command=command,
            seeds=seeds,
            model=self._model,
            image_prompt=self._prompted(chosen),
            operations=_with_masks(operations, placements),
            preset=chosen,
            prompt=picture.prompt,
            source=picture.pixels,
            keep_outside=keep_outside,
        )

    def replay(self, folder: str | PathLike[str], **options: Any) -> EditResult:
        """Do a saved edit again; with the same model on the same machine the pictures are equal bit by bit.

        Args:
            folder: what ``EditResult.save`` wrote.
            options: as in ``edit``.

        Raises:
            InputError: the folder holds no saved edit.
        """
        saved = read_edit(folder)
        self.set_image(saved.source, saved.prompt)
        given = {"seed": saved.seeds, "preset": saved.preset, "keep_outside": saved.keep_outside, **options}
        result = self.edit(saved.operations, **given)
        if (
            not set(options) & {"seed", "preset", "keep_outside"}
            and result.pixels_sha256 != saved.pixels_sha256
        ):
            why = "on another machine, or its files were changed since"
            if saved.model != self._model:
                why = "with another model"
            elif saved.image_prompt != result.image_prompt:
                why = "with another image prompt"
            warning = f"the pictures differ from the saved ones: the edit was saved {why}"
            result = replace(result, warnings=[*result.warnings, warning])
        return result

    def _prompted(self, p: Preset) -> str:
        """Fingerprint of the image prompt where it speaks, or nothing."""
        speaks = self.has_image_prompt and p.image_prompt > 0
        return fingerprint(self.image_prompt) if speaks else ""

    def _current(self) -> Picture:
        if self._picture is None:
            raise InputError("no picture is set; call set_image(image) first")
        return self._picture

    def _on_step(self, callback: StepCallback | None, progress: Progress | None, total: int) -> Any:
        done = 0

        def on_step(number: int, timestep: int, z: Tensor) -> Tensor:
            nonlocal done
            done += 1
            report(progress, "editing", done, total)
            answer = callback(self, number, timestep, {"latents": z}) if callback else None
            if isinstance(answer, bool | np.bool_) and answer:
                raise Cancelled(f"stopped by the callback after step {number + 1}")
            return latents_of(answer, z) if isinstance(answer, dict) else z

        return on_step

    def _warnings(
        self, placements: Sequence[Placement], cell_px: float, round_trip: float, unchanged: bool
    ) -> list[str]:
        said = []
        for p in placements:
            if p.off > 0:
                said.append(f"{p.off:.0%} of the object lies off the picture after the {p.task}")
            if p.task == "drag":
                said += unreached(p)
            seen = (
                [p.source, p.destination]
                if p.task == "resize"
                else [p.destination if p.task == "paste" else p.source]
            )
            small = check_area(min(seen, key=np.count_nonzero), cell_px, LEAST_CELLS)
            said += [small] if small else []
        if round_trip < OWN_WORLD_DB[self.layout]:
            said.append(
                f"the model's autoencoder keeps this picture only to {round_trip:.1f} dB: it is unlike what the model"
                " knows, so expect artifacts; the preview shows the same edit without the model"
            )
        if unchanged:
            said.append("the edit changed nothing")
        return said


def _preset(name: str | Preset) -> Preset:
    return preset(name)


def _with_masks(operations: Sequence[Operation], placements: Sequence[Placement]) -> tuple[Operation, ...]:
    """Write the masks that were chosen for drags into them."""
    return tuple(
        replace(operation, mask=place.source) if isinstance(operation, Drag) else operation
        for operation, place in zip(operations, placements, strict=True)
    )
