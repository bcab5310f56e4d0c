"""A scene as plain numbers: what stands where, seen from where, lit from where."""

import math
from dataclasses import dataclass, replace
from typing import Any

from diffwright.core.errors import ConfigError
from diffwright.world.vocabulary import COLORS, KINDS, MATERIALS, PLACES, POSES, RELATIONS, STYLES, VIEWPOINTS

POSE_DEGREES = {"standing": 0.0, "lying": 88.0, "tilted": 27.0, "floating": 0.0}
FLOAT_HEIGHT = 0.42


def _one_of(name: str, value: object, allowed: Any) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} {value!r} is unknown; choose one of {', '.join(map(str, allowed))}.")


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One object on the ground.

    Args:
        kind: Shape, one of ``KINDS``.
        color: Named color of the main parts.
        material: Surface finish.
        pose: How it is held; a leaning direction is the sign of ``side``.
        x: Ground position to the right, world units (a thing is about one unit tall).
        z: Ground position towards the camera.
        size: Scale, 1 = about one unit.
        yaw: Turn about the vertical, radians.
        side: +1 or -1, the side to which it lies or tilts.
        lift: Height of the support under it, world units.
        stem: Stretch of the lower part along the height.
        lean: Sideways shear per unit of height.
        width: Stretch along its own x axis.
    """

    kind: str
    color: str
    material: str = "matte"
    pose: str = "standing"
    x: float = 0.0
    z: float = 0.0
    size: float = 1.0
    yaw: float = 0.0
    side: int = 1
    lift: float = 0.0
    stem: float = 1.0
    lean: float = 0.0
    width: float = 1.0

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, KINDS)
        _one_of("color", self.color, COLORS)
        _one_of("material", self.material, MATERIALS)
        _one_of("pose", self.pose, POSES)
        if not (self.size > 0 and self.stem > 0 and self.width > 0):
            raise ConfigError(
                f"size, stem and width are {self.size}, {self.stem}, {self.width}; each must be above 0."
            )

    @property
    def tilt(self) -> float:
        """Rotation in the picture plane, radians."""
        return self.side * math.radians(POSE_DEGREES[self.pose])


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera that looks at a point.

    Args:
        viewpoint: Its name, one of ``VIEWPOINTS``.
        target: Point looked at, world units.
        distance: From the target, world units.
        pitch: Downward angle, radians; negative looks up.
        yaw: Turn about the vertical through the target, radians.
        fov: Full field of view, radians.
    """

    viewpoint: str = "eye level"
    target: tuple[float, float, float] = (0.0, 0.5, 0.0)
    distance: float = 4.0
    pitch: float = 0.12
    yaw: float = 0.0
    fov: float = 0.5

    def __post_init__(self) -> None:
        _one_of("viewpoint", self.viewpoint, VIEWPOINTS)


@dataclass(frozen=True, kw_only=True)
class Lamp:
    """A far light: azimuth from the camera's side (0 = behind the camera) and elevation, radians."""

    azimuth: float = 0.7
    elevation: float = 0.9
    softness: float = 0.12


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that decides a picture.

    Args:
        things: One to three objects; the first is the subject.
        place: Ground and background.
        style: Rendering style.
        camera: Where it is seen from.
        lamp: Where the light comes from.
        relation: How the first thing stands to the second, or None.
        seed: Seed it was sampled from, or None.
    """

    things: tuple[Thing, ...]
    place: str = "grass"
    style: str = "photo"
    camera: Camera = Camera()
    lamp: Lamp = Lamp()
    relation: str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        _one_of("place", self.place, PLACES)
        _one_of("style", self.style, STYLES)
        if self.relation is not None:
            _one_of("relation", self.relation, RELATIONS)

    def with_(self, thing: int | None = None, **changes: Any) -> "Scene":
        """Return the edited scene.

        Args:
            thing: Number of the thing that changes; None changes the scene itself.
            **changes: Fields of ``Thing`` or of ``Scene`` and their new values.

        Example:
            >>> scene = Scene(things=(Thing(kind="mug", color="red"),))
            >>> scene.with_(0, color="blue").things[0].color
            'blue'
        """
        if thing is None:
            return replace(self, **changes)
        if not 0 <= thing < len(self.things):
            raise ConfigError(f"thing {thing} was asked for, but the scene holds {len(self.things)}.")
        things = list(self.things)
        things[thing] = replace(things[thing], **changes)
        return replace(self, things=tuple(things))

    def without(self, thing: int) -> "Scene":
        """Return the scene with one thing removed; camera and lamp stay, a relation is gone."""
        return replace(self, things=self.things[:thing] + self.things[thing + 1 :], relation=None)
