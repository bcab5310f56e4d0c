"""The tool: flow between anyone's own two pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from os import PathLike
from typing import Any, Self, overload

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.core.checks import one_of
from diffwright.core.errors import InputError
from diffwright.core.images import load_image, to_tensor
from diffwright.core.results import Stopwatch
from diffwright.core.seeding import generator
from diffwright.matching.assembly import Job, assemble, batch, judge, square
from diffwright.matching.cascade import run
from diffwright.matching.diffusion import Level
from diffwright.matching.fields import field_of_flow, size_of, spread_known
from diffwright.matching.files import UNKNOWN
from diffwright.matching.hypotheses import UPRIGHT, Turned, choose, turn, turned_field
from diffwright.matching.model import FINE, MatchModel
from diffwright.matching.nets import Features
from diffwright.matching.output import MatchOutput
from diffwright.matching.stages import MatchOptions
from diffwright.weights.fingerprint import fingerprint
from diffwright.weights.load import DTYPES
from diffwright.weights.module import move_to

OnStepEnd = Callable[["Matcher", int, float, dict[str, Any]], Any]
"""``callback(matcher, step, time, {"stage": 1, "field": ...})``; what it returns is ignored."""

Coder = Callable[[Tensor, Tensor | None], tuple[Tensor, ...]]
"""Gives coarse levels of pictures in [-1, 1] from another network; the second argument says where they show."""


class Matcher:
    """Finds, for each pixel of picture A, its place in picture B.

    Args:
        model: The networks.
        coder: Coarse features of another network, such as a diffusion backbone's, in place of the model's own.
        dtype: ``torch.float16`` or ``torch.bfloat16`` let products run at half precision.

    Example:
        >>> from diffwright.matching.model import MatchConfig, MatchModel
        >>> matcher = Matcher(MatchModel(MatchConfig(size=64, stages=0)))
        >>> a = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        >>> matcher.match(a, a).flow.shape
        (48, 64, 2)
    """

    def __init__(
        self, model: MatchModel, coder: Coder | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        self.model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.coder, self.dtype = coder, dtype
        self._fingerprint = ""

    @classmethod
    def from_pretrained(
        cls,
        source: str | PathLike[str] = "pocket-match",
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        *,
        features: str | PathLike[str] | None = None,
        revision: str | None = None,
        variant: str | None = None,
        offline: bool = False,
    ) -> Self:
        """Load a matcher.

        Args:
            source: A pocket name or a directory that ``save_pretrained`` wrote.
            device: Where it computes, such as ``cuda``; the CPU without it.
            dtype: ``float32`` (also without it), ``float16`` or ``bfloat16``.
            features: A text-to-image model, as ``diffwright.load`` takes it, whose decoder features replace the
                matcher's own in the cost volume.
            revision: Branch, tag or commit of a hub id given as ``features``.
            variant: Such as ``fp16``, of its weight files.
            offline: Never connect; a hub id must be in the local cache.

        Raises:
            WeightsError: The files are missing, damaged, unsafe, or of another model.
            ConfigError: The device or dtype is not known.
        """
        coder = None
        if features is not None:
            from diffwright.matching.features import DecoderFeatures
            from diffwright.weights.load import load

            hub = {"revision": revision, "variant": variant, "offline": offline}
            coder = DecoderFeatures(load(features, device=device, dtype=dtype, **hub))
        return cls(MatchModel.from_pretrained(source), coder, _dtype(dtype)).to(device or "cpu")

    def save_pretrained(self, directory: str | PathLike[str], card: str | None = None) -> None:
        """Write the model, see ``MatchModel.save_pretrained``."""
        self.model.save_pretrained(directory, card)

    def to(self, device: str | torch.device) -> Self:
        """Move the networks.

        Raises:
            ConfigError: the device cannot be used here.
        """
        move_to(device, self.model)
        return self

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.features.log_scale.device

    @overload
    def match(self, image_a: Sequence[Any], image_b: Sequence[Any], options: MatchOptions | None = None, *,
              samples: int | None = None, seed: int = 0,
              callback_on_step_end: OnStepEnd | None = None) -> list[MatchOutput]: ...  # fmt: skip
    @overload
    def match(self, image_a: Any, image_b: Any, options: MatchOptions | None = None, *,
              samples: int | None = None, seed: int = 0,
              callback_on_step_end: OnStepEnd | None = None) -> MatchOutput: ...  # fmt: skip
    def match(
        self,
        image_a: Any,
        image_b: Any,
        options: MatchOptions | None = None,
        *,
        samples: int | None = None,
        seed: int = 0,
        callback_on_step_end: OnStepEnd | None = None,
    ) -> Any:
        """Match two pictures, or as many pairs.

        Pictures may differ in size and proportions. A pair's result depends on nothing but itself and the seed.

        Args:
            image_a: A path, a PIL image, a uint8 array (H, W, 3) or a tensor in [-1, 1]; or a list of them.
            image_b: The same; a list as long as ``image_a``.
            options: What to switch; the improved matcher without it, ``MatchOptions.faithful()`` for the paper's.
            samples: K, in place of that of the options; all samples are kept in the result then.
            seed: Of the initial noises, the same for each pair.
            callback_on_step_end: Called as in diffusers after each denoising step, with the fields of all samples.

        Returns:
            A :class:`MatchOutput`, or a list of them.

        Raises:
            InputError: a picture is missing, damaged or too small, or the lists differ in length.
            ConfigError: an option is out of range.

        Reference:
            Nam et al., Diffusion Model for Dense Matching, ICLR 2024.
        """
        options = options or MatchOptions()
        if samples is not None:
            options = replace(options, samples=samples, keep_samples=True)
        firsts, seconds = _several(image_a), _several(image_b)
        if firsts is None and seconds is None:
            return self._match([image_a], [image_b], options, seed, None, callback_on_step_end)[0]
        if firsts is None or seconds is None or not 0 < len(firsts) == len(seconds):
            counts = " and ".join("one" if many is None else str(len(many)) for many in (firsts, seconds))
            raise InputError(f"{counts} pictures A and B were given; give two pictures or two lists as long")
        return self._match(firsts, seconds, options, seed, None, callback_on_step_end)

    def refine(
        self,
        flow: np.ndarray | Tensor,
        image_a: Any,
        image_b: Any,
        options: MatchOptions | None = None,
        *,
        seed: int = 0,
    ) -> MatchOutput:
        """Improve flow that another matcher gave; it is the start of the diffusion where the features support it.

        Args:
            flow: From A to B in pixels; NaN or values over 1e9 mean unknown.
            image_a: Picture A, see ``match``.
            image_b: Picture B.
            options: What to switch.
            seed: Of the initial noises.

        Shapes:
            flow (H, W, 2) array, or (2, H, W) or (1, 2, H, W) tensor, of A's size

        Raises:
            InputError: the flow does not fit A, or a picture cannot be read.
        """
        return self._match([image_a], [image_b], options or MatchOptions(), seed, _as_flow(flow), None)[0]

    @torch.no_grad()
    def _match(
        self,
        firsts: list[Any],
        seconds: list[Any],
        options: MatchOptions,
        seed: int,
        given: Tensor | None,
        callback: OnStepEnd | None,
    ) -> list[MatchOutput]:
        generator(seed)
        watch = Stopwatch()
        with watch("read"):
            pairs = [(load_image(a), load_image(b)) for a, b in zip(firsts, seconds, strict=True)]
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            with watch("hypotheses"):
                jobs = [self._prepared(a, b, options, given) for a, b in pairs]
            groups: dict[tuple[int, ...], list[int]] = {}
            for number, job in enumerate(jobs):
                groups.setdefault(tuple(job.turned.image.shape), []).append(number)
            outputs: dict[int, MatchOutput] = {}
            for numbers in groups.values():
                group = [jobs[number] for number in numbers]
                found = self._run(group, options, seed, callback, watch)
                outputs |= dict(zip(numbers, found, strict=True))
        shared = {"timings": watch.timings, "seeds": (seed,), "model": self.fingerprint()}
        return [replace(outputs[number], **shared) for number in range(len(jobs))]

    def _prepared(
        self, image_a: np.ndarray, image_b: np.ndarray, options: MatchOptions, given: Tensor | None
    ) -> Job:
        """Choose the hypothesis of a pair and turn B."""
        size = self.model.config.size
        a, b = (to_tensor(image).to(self.device) for image in (image_a, image_b))
        b = _at_most(b, 2 * size)
        aspects = image_a.shape[1] / image_a.shape[0], image_b.shape[1] / image_b.shape[0]
        guess, turned = UPRIGHT, turn(b, UPRIGHT, size)
        if options.hypotheses:
            guess, _ = choose(self.model.features, square(a, size), b, *aspects)
            turned = turn(b, guess, size, *aspects)
        if given is not None:
            given = self._start(given, image_a.shape, image_b.shape, turned)
        return Job(image_a, image_b, square(a, size), guess, turned, given)

    def _start(
        self, flow: Tensor, shape_a: tuple[int, ...], shape_b: tuple[int, ...], turned: Turned
    ) -> Tensor:
        """Another matcher's flow on the fine grid, towards B as it was turned."""
        if size_of(flow) != shape_a[:2]:
            raise InputError(
                f"flow of {flow.shape[-1]} x {flow.shape[-2]} was given for a picture A of {shape_a[1]} x"
                f" {shape_a[0]} pixels; give one vector a pixel of A"
            )
        if not bool(flow.isfinite().any()):
            raise InputError("the flow to refine is unknown everywhere; give one with known vectors")
        side = self.model.config.size // FINE
        filled = spread_known(flow.to(self.device), (side, side))
        field = field_of_flow(filled, (side, side), (shape_b[0], shape_b[1]))
        return turned_field(field, turned.linear)

    def _run(
        self,
        jobs: list[Job],
        options: MatchOptions,
        seed: int,
        callback: OnStepEnd | None,
        watch: Stopwatch,
    ) -> list[MatchOutput]:
        """Match jobs whose turned pictures have one size, as one batch."""
        steps = count()

        def on_field(stage: int, _step: int, level: Level, fields: Tensor) -> None:
            if callback is not None:
                callback(self, next(steps), level.time, {"stage": stage, "field": fields})

        with watch("features"):
            image_a, image_b, inside = batch(jobs)
            a, b = self._features(image_a, None), self._features(image_b, inside)
        starts = [job.given for job in jobs if job.given is not None]
        given = torch.cat(starts) if starts else None
        with watch("diffusion"):
            draws = [generator(seed) for _ in jobs]
            found = run(self.model, a, b, draws, options, given, on_field)
        with watch("output"):
            sure, hidden = judge(jobs, found, self.model.config)
            return [
                assemble(job, found.row(n), sure[n : n + 1], hidden[n : n + 1], options.keep_samples)
                for n, job in enumerate(jobs)
            ]

    def _features(self, image: Tensor, inside: Tensor | None) -> Features:
        found = self.model.features(image.contiguous(memory_format=torch.channels_last), inside)
        return found if self.coder is None else found._replace(coarse=self.coder(image, inside))

    def fingerprint(self) -> str:
        """Name the exact weights: those of the model, and where it compares by another network's, those too."""
        if not self._fingerprint:
            parts = [self.model] if self.coder is None else [self.model, getattr(self.coder, "pipe", None)]
            self._fingerprint = "+".join(fingerprint(part) for part in parts if part is not None)
        return self._fingerprint


def _at_most(image: Tensor, side: int) -> Tensor:
    """Shrink a picture whose shorter side is longer than that, in its own proportions."""
    shrink = side / min(image.shape[-2:])
    if shrink >= 1:
        return image
    high, wide = size_of(image)
    size = round(high * shrink), round(wide * shrink)
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True).clamp(-1, 1)


def _as_flow(flow: np.ndarray | Tensor) -> Tensor:
    """Flow (H, W, 2), (2, H, W) or (1, 2, H, W) as float32 (1, 2, H, W), NaN where unknown."""
    expected = "expected a float array (H, W, 2) or tensor (2, H, W)"
    if not isinstance(flow, np.ndarray | Tensor):
        raise InputError(f"a {type(flow).__name__} was given as flow; {expected}")
    values = torch.as_tensor(flow)
    if isinstance(flow, np.ndarray) and values.ndim == 3:
        values = values.movedim(-1, 0)
    values = values[None] if values.ndim == 3 else values
    if values.ndim != 4 or values.shape[:2] != (1, 2) or not values.is_floating_point():
        raise InputError(f"flow {values.dtype}{tuple(flow.shape)} was given; {expected}")
    unknown = ~(values.abs() <= UNKNOWN).all(dim=1, keepdim=True)
    return values.float().masked_fill(unknown, float("nan"))


def _several(pictures: Any) -> list[Any] | None:
    """Give a list or a batch as a list of pictures; None for a single picture."""
    if isinstance(pictures, Tensor):
        return list(pictures) if pictures.ndim == 4 and len(pictures) != 1 else None
    return list(pictures) if isinstance(pictures, list | tuple) else None


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    name = "float32" if dtype is None else str(dtype).removeprefix("torch.")
    one_of("dtype", name, DTYPES)
    return getattr(torch, DTYPES[name])
