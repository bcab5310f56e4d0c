"""Presets, and what they mean for each step: which mechanisms act when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from diffwright.core import checks
from diffwright.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Preset:
    """All settings of an edit. Windows are shares of the steps: 0.2 is step 10 of 50.

    Attributes:
        steps: levels between noise and picture.
        begin_at: share of the steps that is left out at the noisy end.
        begin: what the sampler starts from there: the picture's ``noise`` with the object's carried to its place,
            as published, or the noised ``collage``.
        own_level: invert with each latent's own timestep; then states are reused exactly, and no pass is needed
            for the guide's features. Otherwise as published.
        exact: add to every step what it is known to miss; needs ``own_level``.
        hold: keep everything but the edited latents and ``margin`` cells around them on the picture's own
            trajectory, in place of the content energy.
        margin: latents around the edited ones that may change too where the rest is held.
        carry: hold what was moved, resized, dragged, recolored or pasted on the collage's trajectory too, so that the
            model paints only around it and what was left; needs ``begin="collage"``.
        shadow: let what is moved, resized or removed take along the shadow that is found beside it.
        guidance: scale of classifier-free guidance; 1 switches it off.
        guidance_replace: the same when a look is replaced.
        energy: factor of the published energy scales; 0 switches the energies off.
        limit: longest gradient, relative to ε̂; None as published.
        guided: end of the guided window.
        every: until here every step is guided, afterwards every second one.
        regional: edit energy only where the edit is, content energy only elsewhere, for two backward passes;
            otherwise their sum, for one.
        bank: show the picture's own self-attention states.
        bank_from: where that begins; for looks and pasted objects it lasts from 0 to ``bank_until`` instead.
        bank_until: see there.
        eta_in: noise in the edited region, as a share of DDPM's.
        eta_out: noise elsewhere.
        noisy: window of the noise, both ends left out.
        passes: how often each step of the time-travel window is taken; 1 switches it off.
        travel: window of time travel, every second step, both ends left out.
        image_prompt: strength; 0 switches it off.
        prompted: window of the image prompt.
        detail: give back what the autoencoder lost, wherever the content is the picture's own.
    """

    steps: int = 50
    begin_at: float = 0.0
    begin: Literal["noise", "collage"] = "noise"
    own_level: bool = False
    exact: bool = False
    hold: bool = False
    margin: int = 1
    carry: bool = False
    shadow: bool = False
    guidance: float = 4.0
    guidance_replace: float = 5.0
    energy: float = 1.0
    limit: float | None = None
    guided: float = 0.6
    every: float = 0.2
    regional: bool = True
    bank: bool = True
    bank_from: float = 0.1
    bank_until: float = 0.72
    eta_in: float = 0.4
    eta_out: float = 0.0
    noisy: tuple[float, float] = (0.2, 0.4)
    passes: int = 3
    travel: tuple[float, float] = (0.4, 0.6)
    image_prompt: float = 0.1
    prompted: tuple[float, float] = (0.2, 0.4)
    detail: bool = False

    def __post_init__(self) -> None:
        checks.whole("steps", self.steps, 2, 333)
        checks.whole("passes", self.passes, 1, 100)
        checks.whole("margin", self.margin, 0, 100)
        checks.one_of("begin", self.begin, ("noise", "collage"))
        for name, low, high in _RANGES:
            checks.in_range(name, getattr(self, name), low, high)
        if self.limit is not None:
            checks.in_range("limit", self.limit, 0, 1e6)
        for name in ("own_level", "exact", "hold", "carry", "shadow", "regional", "bank", "detail"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected True or False")
        for name in ("noisy", "travel", "prompted"):
            window = getattr(self, name)
            if not isinstance(window, tuple) or len(window) != 2:
                raise ConfigError(
                    f"{name} is {window!r}; expected two shares of the steps, such as (0.2, 0.4)"
                )
            low, high = window
            checks.in_range(f"start of {name}", low, 0, 1)
            checks.in_range(f"end of {name}", high, low, 1)
        if self.exact and not self.own_level:
            raise ConfigError(
                "exact is on without own_level; only an inversion at own levels knows what is missed"
            )
        if self.carry and self.begin != "collage":
            raise ConfigError(
                f"carry is on with begin={self.begin!r}; only a collage has a trajectory to hold"
            )

    @property
    def first(self) -> int:
        """The first step that is taken."""
        return min(int(self.begin_at * self.steps + 1e-9), self.steps - 1)

    def steps_taken(self, tasks: Iterable[str] = ()) -> list[Step]:
        """Say what acts in each step, for operations of these names."""
        other_look = bool({"replace", "paste"} & set(tasks))
        return [self._step(i, other_look) for i in range(self.first, self.steps)]

    def _step(self, i: int, other_look: bool) -> Step:
        at, even = i / self.steps, i % 2 == 0
        inside = at < self.guided - 1e-9 and (even or at < self.every - 1e-9)
        shows = at <= self.bank_until - 1e-9 if other_look else at >= self.bank_from - 1e-9
        again = even and _between(at, self.travel) and i < self.steps - 1
        return Step(
            i=i,
            guided=inside and self.energy > 0,
            passes=self.passes if again and self.energy > 0 else 1,
            noisy=_between(at, self.noisy) and max(self.eta_in, self.eta_out) > 0,
            prompted=self.prompted[0] - 1e-9 <= at < self.prompted[1] - 1e-9 and self.image_prompt > 0,
            bank=self.bank and shows,
        )


@dataclass(frozen=True)
class Step:
    """What acts in one step: see ``Preset``."""

    i: int
    guided: bool
    passes: int
    noisy: bool
    prompted: bool
    bank: bool


def _between(at: float, window: tuple[float, float]) -> bool:
    return window[0] + 1e-9 < at < window[1] - 1e-9


_RANGES = (
    ("begin_at", 0, 0.99),
    ("guidance", 0, 100),
    ("guidance_replace", 0, 100),
    ("energy", 0, 1e6),
    ("guided", 0, 1),
    ("every", 0, 1),
    ("bank_from", 0, 1),
    ("bank_until", 0, 1),
    ("eta_in", 0, 1),
    ("eta_out", 0, 1),
    ("image_prompt", 0, 10),
)

_OURS = Preset(
    begin="collage",
    begin_at=0.7,
    own_level=True,
    exact=True,
    hold=True,
    carry=True,
    shadow=True,
    guidance=1.0,
    guidance_replace=1.0,
    limit=0.5,
    guided=1.0,
    regional=False,
    noisy=(0.7, 0.9),
    passes=1,
    travel=(0.7, 0.9),
    prompted=(0.7, 0.9),
    detail=True,
)

PRESETS = {
    "reference": Preset(),
    "dragon": Preset(every=1.0, eta_in=0.0, passes=1, image_prompt=0.0),
    "balanced": _OURS,
    "fast": replace(_OURS, steps=20),
}
"""``reference``: DiffEditor as published; ``dragon``: DragonDiffusion; ``balanced`` and ``fast``: ours."""


def preset(name: str | Preset) -> Preset:
    """Give the preset of a name, or the given one.

    Raises:
        ConfigError: there is none of this name.
    """
    if isinstance(name, Preset):
        return name
    checks.one_of("preset", name, PRESETS)
    return PRESETS[name]
