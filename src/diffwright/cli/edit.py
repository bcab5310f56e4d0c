"""``diffwright edit``: move, resize, drag, replace, paste or remove an object, or replay a saved edit."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from diffwright.cli.bars import shown
from diffwright.cli.flags import ModelFlags, OutputFlags, SeedFlags, command_line
from diffwright.cli.places import check_places, is_picture
from diffwright.core.checks import whole
from diffwright.core.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from diffwright.editing.editor import ImageEditor
    from diffwright.editing.operations import Operation
    from diffwright.editing.result import EditResult

Two = tuple[float, float]
Four = tuple[int, int, int, int]
Repeated = tyro.conf.UseAppendAction


@dataclass(frozen=True, kw_only=True)
class EditFlags(ModelFlags, SeedFlags):
    """How pictures are edited."""

    preset: Literal["reference", "dragon", "balanced", "fast"] = "balanced"
    """reference and dragon as published, balanced and fast ours."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Levels between noise and picture; those of the preset without it."""
    image_prompt: Annotated[str | None, tyro.conf.arg(metavar="MODEL")] = None
    """Image prompt: pocket name, directory or safetensors file that load_ip_adapter reads."""
    image_encoder: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder with the image_encoder that the image prompt reads, where the model has none of its own."""
    count: int = 1
    """Pictures, with seeds SEED, SEED + 1 and so on."""
    everything: bool = False
    """Hand back all of what the model made; without it, pixels away from the edit keep their bytes."""


@dataclass(frozen=True, kw_only=True)
class _Common(EditFlags):
    """What all edits of one picture share."""

    prompt: str = ""
    """What the picture shows, in the model's words; may be left out."""
    preview: bool = False
    """Only the instant collage, without the model."""
    out: Path = Path("runs/edit")
    """Folder for pictures, masks and result.json; or OUT.png, with such a folder OUT beside it."""

    def picture(self, image: Path, *others: Path | None) -> np.ndarray:
        """Refuse a bad place for the output early, and read the picture.

        Args:
            image: the picture.
            others: files that are read too and must not be written over.
        """
        whole("count", self.count, 1, 64)
        check_places(self.out, self.json, image, *others)

        from diffwright.core.images import load_image

        return load_image(image)

    def finish(self, picture: np.ndarray, operation: Operation) -> None:
        """Edit, save and say what was done; what cannot be asked is said before the model is loaded."""
        from diffwright.editing.presets import preset
        from diffwright.editing.requests import previewed

        settings = preset(self.preset)
        if self.steps is not None:
            settings = replace(settings, steps=self.steps)
        operation.place((picture.shape[0], picture.shape[1]))
        if self.preview:
            self._save_preview(previewed(picture, [operation], settings))
            return
        editor = _editor(self, self.image_prompt, self.image_encoder).set_image(picture, self.prompt)
        with shown() as progress:
            result = editor.edit(
                [operation],
                seed=[self.seed + k for k in range(self.count)],
                preset=settings,
                keep_outside=not self.everything,
                progress=progress,
                command=command_line(),
            )
        _save(self, result)

    def _save_preview(self, collage: np.ndarray) -> None:
        from diffwright.core.atomic import directory
        from diffwright.core.images import save_png

        path = self.out if is_picture(self.out) else self.out / "preview.png"
        if is_picture(self.out):
            save_png(collage, path)
        else:
            with directory(self.out) as folder:
                save_png(collage, folder / path.name)
        self.say({"preview": str(path)}, f"collage in {path}; leave --preview out for the edit itself")


@dataclass(frozen=True, kw_only=True)
class _Region(_Common):
    """Which object of the picture is meant: exactly one of the three."""

    mask: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Mask of the object, white on black, of the picture's size."""
    box: Annotated[Four | None, tyro.conf.arg(metavar="X0 Y0 X1 Y1")] = None
    """Box around the object instead, pixels; the object in it is found offline (needs OpenCV)."""
    point: Annotated[Two | None, tyro.conf.arg(metavar="X Y")] = None
    """Point on the object instead, pixels."""

    def selected(self, image: Path, *others: Path | None, needed: bool = True) -> tuple[np.ndarray, Any]:
        """The picture, and the object that was meant; None where none was and none is needed."""
        region = _one("--mask, --box or --point", (self.mask, self.box, self.point), needed)
        picture = self.picture(image, self.mask, *others)

        from diffwright.editing.masks import choose

        return picture, None if region is None else choose(picture, region)


@dataclass(frozen=True, kw_only=True)
class _Reference:
    """The other picture and the object in it."""

    reference: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The other picture."""
    reference_mask: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Mask of the object in it."""
    reference_box: Annotated[Four | None, tyro.conf.arg(metavar="X0 Y0 X1 Y1")] = None
    """Box around the object in it instead."""
    reference_point: Annotated[Two | None, tyro.conf.arg(metavar="X Y")] = None
    """Point on the object in it instead."""

    def other(self) -> tuple[np.ndarray, np.ndarray]:
        """The other picture and its mask."""
        from diffwright.core.images import load_image
        from diffwright.editing.masks import choose

        picture = load_image(self.reference)
        given = (self.reference_mask, self.reference_box, self.reference_point)
        return picture, choose(picture, _one("--reference-mask, --reference-box or --reference-point", given))


@dataclass(frozen=True, kw_only=True)
class MoveObject(_Region):
    """Move an object, and scale it if wanted.

    diffwright edit move photo.png --mask mug.png --by 40 0 --out moved.png
    """

    image: Annotated[Path, tyro.conf.Positional]
    """The picture."""
    by: Annotated[Two, tyro.conf.arg(metavar="DX DY")]
    """Shift to the right and down, pixels."""
    scale: float = 1.0
    """Size afterwards relative to now."""

    def run(self) -> None:
        """Move it."""
        picture, mask = self.selected(self.image)

        from diffwright.editing.operations import Move

        self.finish(picture, Move(mask, self.by, self.scale))


@dataclass(frozen=True, kw_only=True)
class ResizeObject(_Region):
    """Make an object larger or smaller.

    diffwright edit resize photo.png --box 10 20 60 90 --scale 1.4 --out larger.png
    """

    image: Annotated[Path, tyro.conf.Positional]
    """The picture."""
    scale: float
    """Size afterwards relative to now."""

    def run(self) -> None:
        """Resize it."""
        picture, mask = self.selected(self.image)

        from diffwright.editing.operations import Resize

        self.finish(picture, Resize(mask, self.scale))


@dataclass(frozen=True, kw_only=True)
class DragPoints(_Region):
    """Drag points to new places; what may change is chosen around them without a mask.

    diffwright edit drag photo.png --start 30 12 --end 30 4 --out taller.png
    """

    image: Annotated[Path, tyro.conf.Positional]
    """The picture."""
    start: Annotated[tuple[Two, ...], tyro.conf.arg(metavar="X Y"), Repeated]
    """Where the content is now, pixels; repeat it together with --end."""
    end: Annotated[tuple[Two, ...], tyro.conf.arg(metavar="X Y"), Repeated]
    """Where it shall be."""

    def run(self) -> None:
        """Drag them."""
        picture, mask = self.selected(self.image, needed=False)

        from diffwright.editing.operations import Drag

        self.finish(picture, Drag(self.start, self.end, mask))


@dataclass(frozen=True, kw_only=True)
class ReplaceLook(_Region, _Reference):
    """Give an object the look of one in another picture; its shape stays.

    diffwright edit replace photo.png --point 30 40 --reference other.png --reference-point 20 25 --out new.png
    """

    image: Annotated[Path, tyro.conf.Positional]
    """The picture."""

    def run(self) -> None:
        """Replace it."""
        picture, mask = self.selected(self.image, self.reference, self.reference_mask)

        from diffwright.editing.operations import Replace

        self.finish(picture, Replace(mask, *self.other()))


@dataclass(frozen=True, kw_only=True)
class PasteObject(_Common, _Reference):
    """Put an object of another picture into this one.

    diffwright edit paste photo.png --reference other.png --reference-mask duck.png --at 30 40 --out pasted.png
    """

    image: Annotated[Path, tyro.conf.Positional]
    """The picture."""
    at: Annotated[Two, tyro.conf.arg(metavar="X Y")]
    """Where the object's middle goes, pixels."""
    scale: float = 1.0
    """Pixels of this picture for each pixel of the other."""

    def run(self) -> None:
        """Paste it."""
        from diffwright.editing.operations import Paste

        picture = self.picture(self.image, self.reference, self.reference_mask)
        self.finish(picture, Paste(*self.other(), self.at, self.scale))


@dataclass(frozen=True, kw_only=True)
class RemoveObject(_Region):
    """Take an object away and show what is behind it.

    diffwright edit remove photo.png --mask mug.png --out without.png
    """

    image: Annotated[Path, tyro.conf.Positional]
    """The picture."""

    def run(self) -> None:
        """Remove it."""
        picture, mask = self.selected(self.image)

        from diffwright.editing.operations import Remove

        self.finish(picture, Remove(mask))


@dataclass(frozen=True, kw_only=True)
class Replay(ModelFlags, OutputFlags):
    """Do a saved edit again, bit for bit with the same model on the same machine.

    diffwright edit replay moved --out again.png
    """

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder of a saved edit."""
    image_prompt: Annotated[str | None, tyro.conf.arg(metavar="MODEL")] = None
    """Image prompt, as it was."""
    image_encoder: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """Its image encoder, as it was."""
    seed: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Another seed in place of the saved ones, for another picture of the same edit."""
    out: Path = Path("runs/edit")
    """As for the other edits."""

    def run(self) -> None:
        """Replay it."""
        from diffwright.editing.result import read_edit

        check_places(self.out, self.json, self.folder)
        read_edit(self.folder)
        editor = _editor(self, self.image_prompt, self.image_encoder)
        other = {} if self.seed is None else {"seed": self.seed}
        with shown() as progress:
            result = editor.replay(self.folder, progress=progress, command=command_line(), **other)
        _save(self, result)


def _editor(flags: ModelFlags, image_prompt: str | None, image_encoder: str | None) -> ImageEditor:
    from diffwright.editing.editor import ImageEditor

    return ImageEditor.from_pretrained(
        flags.model,
        image_prompt=image_prompt,
        image_encoder=image_encoder,
        device=flags.device,
        dtype=flags.dtype,
        revision=flags.revision,
        variant=flags.variant,
        offline=flags.offline,
    )


def _save(flags: Any, result: EditResult) -> None:
    from diffwright.editing.result import write_picture

    is_file = is_picture(flags.out)
    folder = write_picture(result, flags.out) if is_file else result.save(flags.out)
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    seconds, figures = sum(result.timings.values()), result.figures
    where = (
        f"{flags.out}, with the selection, the masks and result.json in {folder}" if is_file else f"{folder}"
    )
    flags.say(
        result.record(),
        f"{len(result.images)} edited in {seconds:.1f} s ({figures['unet_passes']} UNet passes; the autoencoder alone"
        f" keeps the picture to {figures['round_trip_psnr']:.1f} dB); see {where}",
    )


def _one(names: str, given: tuple[Any, ...], needed: bool = True) -> Any:
    """The one that was given."""
    found = [value for value in given if value is not None]
    if len(found) > 1 or (needed and not found):
        raise ConfigError(
            f"{len(found)} of {names} were given; give {'exactly' if needed else 'at most'} one"
        )
    return found[0] if found else None
