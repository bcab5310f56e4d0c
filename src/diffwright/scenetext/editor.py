"""``SceneTextEditor``: write, change and erase words in pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffwright.core.checks import in_range, whole
from diffwright.core.errors import Cancelled, ConfigError, InputError, UnsupportedBackbone
from diffwright.core.images import load_image, to_pil, to_tensor, to_u8
from diffwright.core.progress import Progress, report
from diffwright.core.results import Stopwatch
from diffwright.core.seeding import generator, generators
from diffwright.scenetext.json_edits import Edit
from diffwright.scenetext.model import SceneTextModel
from diffwright.scenetext.output import BEST, EditsOutput, WriteOutput
from diffwright.scenetext.reading import read, score
from diffwright.scenetext.region import Region, choose, put_back, strip_mask, strip_of
from diffwright.scenetext.request import Request, request
from diffwright.scenetext.sampling import write
from diffwright.scenetext.sd import PLAIN, SdSceneText, wrap
from diffwright.weights.components import load_network
from diffwright.weights.fingerprint import fingerprint
from diffwright.weights.folder import Folder
from diffwright.weights.module import move_to
from diffwright.weights.names import is_hub_id, resolve

MOST_CANDIDATES = 64
SOFT = 3.0  # pixels for each strip pixel from which the written letters look soft
TINY = 0.4  # and below which they are hardly legible
NARROW, BROAD = 0.2, 3.0  # width of a letter in heights of the region

StepCallback = Callable[["SceneTextEditor", int, int, dict[str, Any]], Any]
"""``callback(editor, step, steps, {})`` after each denoising step, counted from 0; True stops the run."""


class SceneTextEditor:
    """Writes, changes and erases words in a picture, in the style of the surroundings or as told.

    Args:
        model: a ``SceneTextModel``, or what ``sd.wrap`` gives.
        vae: the autoencoder that the model was trained on.
        reader: ranks the candidates; the model's own without it.
        enlarge: pixels of the model's pictures for each pixel of a strip; as the model was trained without it.

    Raises:
        ConfigError: the model has no reader and none was given, or ``enlarge`` is out of range.

    Reference:
        Ji et al., Improving Diffusion Models for Scene Text Editing with Dual Encoders, TMLR 2024.
    """

    def __init__(
        self,
        model: SceneTextModel | SdSceneText,
        vae: nn.Module,
        reader: nn.Module | None = None,
        enlarge: int | None = None,
    ) -> None:
        times: int = getattr(model, "enlarge", 1) if enlarge is None else enlarge
        whole("enlarge", times, 1, 16)
        found = getattr(model, "reader", None) if reader is None else reader
        if found is None:
            raise ConfigError(
                "the model has no reader to rank candidates; give one, such as SceneTextModel.from_pretrained().reader"
            )
        self.model = model.eval().requires_grad_(False)
        self.vae = vae.eval().requires_grad_(False)
        self.reader = found.eval().requires_grad_(False)
        self.enlarge = times
        self._fingerprint = ""

    @classmethod
    def from_pretrained(
        cls,
        source: str | PathLike[str] = "pocket-text",
        device: str | torch.device | None = None,
        *,
        vae: str | PathLike[str] = "pocket",
        base: str | PathLike[str] | None = None,
    ) -> Self:
        """Load an editor.

        Args:
            source: a pocket name, or a directory that recipe ``scenetext`` or ``scenetext-sd`` wrote.
            device: where it computes, such as ``cuda``; the CPU without it.
            vae: the model whose autoencoder it works with: a pocket name or a directory.
            base: for what ``scenetext-sd`` wrote: the inpainting checkpoint that it was trained on, a directory or a
                hub id. Its own autoencoder is used, and ``pocket-text`` reads.

        Raises:
            WeightsError: the files are missing, damaged, unsafe, or of another model.
            UnsupportedBackbone: a plain Stable Diffusion checkpoint was given, which cannot spell.
            ConfigError: the device is not known.
        """
        if base is not None:
            from diffwright.weights.load import load

            wrapped = wrap(load(base), source)
            return cls(wrapped, wrapped.vae, SceneTextModel.from_pretrained().reader).to(device or "cpu")
        if is_hub_id(source) or (resolve(source) / "model_index.json").is_file():
            raise UnsupportedBackbone(PLAIN)
        model = SceneTextModel.from_pretrained(source)
        coder = load_network(Folder(resolve(vae)), "vae", "AutoencoderKL", torch.float32, None)
        return cls(model, coder).to(device or "cpu")

    def to(self, device: str | torch.device) -> Self:
        """Move the networks.

        Raises:
            ConfigError: the device cannot be used here.
        """
        move_to(device, self.model, self.vae, self.reader)
        return self

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.model.parameters()).device

    @torch.no_grad()
    def write(
        self,
        image: Any,
        region: Any,
        text: str,
        font: str | None = None,
        color: str | None = None,
        instruction: str | None = None,
        candidates: int = 4,
        *,
        bold: bool = False,
        italic: bool = False,
        seed: int = 0,
        mix: tuple[str, float] | None = None,
        guidance: tuple[float, float] | None = None,
        steps: int | None = None,
        callback_on_step_end: StepCallback | None = None,
        progress: Progress | None = None,
        command: str = "",
    ) -> WriteOutput:
        """Write a word into a region, whatever stood there before.

        Args:
            image: path, PIL image, uint8 array (H, W, 3) or tensor in [-1, 1].
            region: a box (x0, y0, x1, y1); a polygon, four points of which are the word's corners clockwise from its
                top left; or a mask. Pixels outside it keep their bytes.
            text: the word; empty erases what is there.
            font: a family, or a kind such as "serif"; that of the surroundings without it.
            color: a name, a modifier and a name ("dark teal"), or "#RRGGBB"; as the surroundings without it.
            instruction: free words about word and look, in place of font, color, bold, italic and mix.
            candidates: how many to draw; the reader ranks them.
            bold: heavy strokes.
            italic: leaning letters.
            seed: of the first candidate; the next ones follow.
            mix: another font to mix with ``font``, and its weight from 0 to 1.
            guidance: weights of the characters and of the instruction; those of the model without it.
            steps: of denoising; as many as the model was made for without it.
            callback_on_step_end: called after each step, see ``StepCallback``; returning True stops the run.
            progress: is told the steps done; returning True stops the run.
            command: recorded in the result.

        Returns:
            The picture with each candidate, the best first, with confidences, figures and warnings.

        Raises:
            InputError: the region is empty, off the picture or too small, or the word cannot be written.
            ConfigError: a style is not known, or contradicts another.
            Cancelled: a callback stopped the run.
        """
        whole("candidates", candidates, 1, MOST_CANDIDATES)
        generator(seed)
        asked = request(text, font, color, instruction, bold=bold, italic=italic, mix=mix)
        options = _options(guidance, steps)
        watch = Stopwatch()
        with watch("rectify"):
            picture = load_image(image)
            place = choose(region, (picture.shape[0], picture.shape[1]))
            strip, mask = strip_of(picture, place), strip_mask(place)
        seeds = [seed + k for k in range(candidates)]
        with watch("write"):
            made = self._written(strip, mask, asked, seeds, options, callback_on_step_end, progress)
        with watch("read"):
            sure = [float(value) for value in score(self.reader, made, [text] * candidates)]
            readings = [found for found, _ in read(self.reader, made)]
        best = sorted(range(candidates), key=lambda k: -sure[k])
        strips = to_u8(made)[best]
        with watch("put back"):
            pictures = [put_back(picture, each, place, strip) for each in strips]
        return WriteOutput(
            images=[to_pil(each) for each in pictures],
            names=[BEST, *(f"candidate-{k}" for k in range(2, candidates + 1))],
            candidates=strips,
            confidences=tuple(min(max(sure[k], 0.0), 1.0) for k in best),
            readings=tuple(readings[k] for k in best),
            text=text,
            instruction=asked.sentence,
            region=place,
            source=picture,
            figures=_figures(picture, pictures[0], place),
            warnings=_warnings(picture, pictures[0], place, text, readings[best[0]]),
            timings=watch.timings,
            command=command,
            seeds=[seeds[k] for k in best],
            model=self._name(),
        )

    def write_all(
        self,
        image: Any,
        edits: Sequence[Edit],
        *,
        candidates: int = 4,
        seed: int = 0,
        guidance: tuple[float, float] | None = None,
        steps: int | None = None,
        progress: Progress | None = None,
        command: str = "",
    ) -> EditsOutput:
        """Do several edits of one picture, one after another; each starts from the best candidate of the one before.

        Args:
            image: as in ``write``.
            edits: what to do; ``read_edits`` reads them from a file.
            candidates: where an edit does not say.
            seed: where an edit does not say.
            guidance: as in ``write``.
            steps: as in ``write``.
            progress: is told the edits done.
            command: recorded in the result.

        Raises:
            InputError: there is no edit, or one of them cannot be done; nothing is written before all regions and
                words are checked.
            ConfigError: as in ``write``.
        """
        if not edits:
            raise InputError("no edit was given; give at least one, such as Edit((40, 60, 210, 120), 'OPEN')")
        picture = source = load_image(image)
        for edit in edits:
            choose(edit.region, (source.shape[0], source.shape[1]))
            request(
                edit.text, edit.font, edit.color, edit.instruction, bold=edit.bold, italic=edit.italic, mix=edit.mix
            )  # fmt: skip
        done: list[WriteOutput] = []
        for number, e in enumerate(edits):
            report(progress, "writing", number, len(edits))
            done.append(
                self.write(
                    picture, e.region, e.text, e.font, e.color, e.instruction,
                    candidates if e.candidates is None else e.candidates,
                    bold=e.bold, italic=e.italic, mix=e.mix, seed=seed if e.seed is None else e.seed,
                    guidance=guidance, steps=steps,
                )
            )  # fmt: skip
            picture = np.asarray(done[-1].images[0])
        report(progress, "writing", len(edits), len(edits))
        timings: dict[str, float] = {}
        for step in done:
            for name, seconds in step.timings.items():
                timings[name] = timings.get(name, 0.0) + seconds
        return EditsOutput(
            images=[to_pil(picture)],
            names=[BEST],
            steps=tuple(done),
            source=source,
            figures={"edits": len(done), "least_confidence": min(step.confidence for step in done)},
            warnings=[f"edit {n}: {said}" for n, step in enumerate(done, 1) for said in step.warnings],
            timings=timings,
            command=command,
            seeds=[step.seeds[0] for step in done],
            model=self._name(),
        )

    @torch.no_grad()
    def read(self, image: Any, region: Any) -> tuple[str, float]:
        """Read what stands in a region.

        Args:
            image: as in ``write``.
            region: as in ``write``.

        Returns:
            The text, and how sure the reader is of it, 0 to 1.

        Raises:
            InputError: the picture or the region cannot be used.
        """
        picture = load_image(image)
        place = choose(region, (picture.shape[0], picture.shape[1]))
        return read(self.reader, to_tensor(strip_of(picture, place)).to(self.device))[0]

    def _written(
        self,
        strip: np.ndarray,
        mask: np.ndarray,
        asked: Request,
        seeds: Sequence[int],
        options: dict[str, Any],
        callback: StepCallback | None,
        progress: Progress | None,
    ) -> Tensor:
        """One strip for each seed, float (K, 3, 32, 128) in [-1, 1]."""
        count = len(seeds)
        known = to_tensor(strip).expand(count, -1, -1, -1).to(self.device)
        hole = torch.from_numpy(mask)[None, None].expand(count, -1, -1, -1).to(self.device)
        if asked.other is not None:
            options = {**options, "others": [asked.other] * count, "mix": asked.weight}
        times = self.enlarge
        made = write(
            self.model,
            self.vae,
            F.interpolate(known, scale_factor=times, mode="bicubic").clamp(-1, 1) if times > 1 else known,
            hole.repeat_interleave(times, 2).repeat_interleave(times, 3),
            [asked.text] * count,
            [asked.sentence] * count,
            generators=generators(seeds),
            progress=self._on_step(callback, progress),
            **options,
        )
        return torch.where(hole, F.avg_pool2d(made.clamp(-1, 1), times), known)

    def _on_step(self, callback: StepCallback | None, progress: Progress | None) -> Progress:
        def told(what: str, done: int, total: int) -> bool | None:
            if callback is not None and done > 0 and callback(self, done - 1, total, {}) is True:
                raise Cancelled(f"stopped by the callback after step {done}")
            return None if progress is None else progress(what, done, total)

        return told

    def _name(self) -> str:
        self._fingerprint = self._fingerprint or fingerprint(self.model)
        return self._fingerprint


def _options(guidance: tuple[float, float] | None, steps: int | None) -> dict[str, Any]:
    """What of the sampler's settings was given."""
    options: dict[str, Any] = {}
    if steps is not None:
        whole("steps", steps, 1, 1000)
        options["steps"] = steps
    if guidance is not None:
        if not isinstance(guidance, tuple | list) or len(guidance) != 2:
            raise ConfigError(
                f"guidance is {guidance!r}, expected two weights: of characters and of instruction"
            )
        for value in guidance:
            in_range("guidance", value, 0, 100)
        options["guidance"] = (float(guidance[0]), float(guidance[1]))
    return options


def _figures(before: np.ndarray, after: np.ndarray, place: Region) -> dict[str, Any]:
    height, width = place.size
    changed = (before != after).any(axis=2)
    return {
        "region_width_px": round(width, 2),
        "region_height_px": round(height, 2),
        "changed_share": round(float(changed[place.mask].mean()), 4),
        "outside_changed_px": int(changed[~place.mask].sum()),
    }


def _warnings(before: np.ndarray, after: np.ndarray, place: Region, text: str, reading: str) -> list[str]:
    said = []
    height, width = place.size
    if np.array_equal(before, after):
        said.append("the edit changed nothing")
    if reading != text:
        asked = f"{text!r}" if text else "no letters"
        said.append(
            f"the reader finds {reading!r} in the best candidate, not {asked}; try more candidates or a seed"
        )
    if place.scale > SOFT:
        said.append(
            f"the region is {height:.0f} pixels high and the model writes 24 rows, so the letters are soft; its text is"
            " sharpest in regions of 20 to 60 pixels"
        )
    if place.scale < TINY:
        said.append(
            f"letters in a region of {height:.0f} pixels are hardly legible; enlarge the picture first"
        )
    each = width / height / len(text) if text else 0.5
    if not NARROW <= each <= BROAD:
        what = "narrow" if each < NARROW else "stretched"
        said.append(
            f"{len(text)} letters in {width:.0f} x {height:.0f} pixels are {what}; choose another region"
        )
    return said
