"""Scenes drawn at random from a seed: framed, visible, legible."""

import math
from dataclasses import replace

import numpy as np

from diffwright.core.checks import one_of
from diffwright.core.errors import JobFailed
from diffwright.world.body import body_of
from diffwright.world.kinds import SHAPES
from diffwright.world.rays import camera_frame, project, shoot
from diffwright.world.scene import Camera, Lamp, Scene, Thing
from diffwright.world.vocabulary import (
    COLORS,
    CORE_COLORS,
    CORE_KINDS,
    CORE_STYLES,
    CORE_VIEWPOINTS,
    FLAT_TOPS,
    KINDS,
    MATERIALS,
    PLACES,
    POSES,
    RELATIONS,
    STYLES,
    VIEWPOINTS,
    poses_of,
)

LEAST_COVER = 0.06  # of the picture, for each thing
LEAST_VISIBLE = 0.70  # of each thing
CHECK_SIZE = 32
FIXABLE = ("kind", "color", "style", "viewpoint", "count", "pose", "place", "material", "relation")
PATIENCE = 6  # arrangements tried before other words are drawn
ATTEMPTS = 60
PITCH = {
    "low angle": (-0.14, -0.09),
    "eye level": (0.06, 0.14),
    "from above": (0.60, 0.78),
    "bird's eye": (1.20, 1.38),
}
# Where the subject sits in the frame: share of the half height by which the target is raised.
AIM = {"low angle": 0.30, "eye level": 0.05, "from above": 0.0, "bird's eye": 0.0}
HIGH = ("from above", "bird's eye")
BOXY = frozenset({"cube", "house", "pyramid", "table", "chair", "car", "boat", "fish", "airplane", "torus"})
WIDE = frozenset({"house", "mug", "car", "duck", "table", "boat", "fish", "airplane"})


def sample(seeds: list[int], core: bool = False, **fixed: object) -> list[Scene]:
    """Draw one legible scene for each seed.

    Args:
        seeds: The same seed gives the same scene on every machine.
        core: Draw from the core vocabulary only.
        **fixed: Values that are not drawn: kind, color, style, viewpoint, count, pose, place, material, relation.

    Raises:
        ConfigError: A fixed name is unknown, or the kind cannot show the pose.
        JobFailed: A seed found no legible scene within the allowed attempts.
    """
    for name in fixed:
        one_of("fixed value", name, FIXABLE)
    if "kind" in fixed and "pose" in fixed:
        one_of(f"pose of a {fixed['kind']}", str(fixed["pose"]), poses_of(str(fixed["kind"])))
    done: dict[int, Scene] = {}
    waiting = list(range(len(seeds)))
    for attempt in range(ATTEMPTS):
        drawn = [propose(seeds[i], attempt, core, fixed) for i in waiting]
        fine = [ok and _keeps(scene, fixed) for scene, ok in zip(drawn, legible(drawn), strict=True)]
        done.update({i: s for i, s, ok in zip(waiting, drawn, fine, strict=True) if ok})
        waiting = [i for i, ok in zip(waiting, fine, strict=True) if not ok]
        if not waiting:
            return [done[i] for i in range(len(seeds))]
    raise JobFailed(
        f"No legible scene was found for seed {seeds[waiting[0]]} with {fixed}; loosen what is fixed."
    )


def _keeps(scene: Scene, fixed: dict) -> bool:
    """Whether a scene shows what was fixed; the arrangement may have overruled it."""
    shown = {
        **{name: getattr(scene.things[0], name) for name in ("kind", "color", "pose", "material")},
        "style": scene.style,
        "viewpoint": scene.camera.viewpoint,
        "place": scene.place,
        "relation": scene.relation,
        "count": 1 if scene.relation else len(scene.things),
    }
    return all(str(shown[name]) == str(value) for name, value in fixed.items())


def propose(seed: int, attempt: int, core: bool, fixed: dict) -> Scene:
    """One draw; the arrangement changes with every attempt, the content after every ``PATIENCE`` attempts."""
    words = np.random.Generator(np.random.PCG64([seed, 0, attempt // PATIENCE]))
    place = np.random.Generator(np.random.PCG64([seed, 1, attempt]))

    def pick(name: str, options: tuple) -> str:
        drawn = options[int(words.integers(len(options)))]
        return fixed.get(name, drawn)  # type: ignore[return-value]

    kinds, colors = (CORE_KINDS, CORE_COLORS) if core else (KINDS, tuple(COLORS))
    kind, color = pick("kind", kinds), pick("color", colors)
    style = pick("style", CORE_STYLES if core else STYLES)
    viewpoint = pick("viewpoint", CORE_VIEWPOINTS if core else VIEWPOINTS)
    ground = pick("place", PLACES)
    material = pick("material", MATERIALS if words.random() < 0.5 else MATERIALS[:1])
    pose = fixed.get("pose", POSES[int(words.integers(4))] if words.random() < 0.5 else "standing")
    if pose not in poses_of(kind):
        pose = "standing"
    layout = words.random()
    count = int(fixed.get("count", 1 + int(words.integers(3)) if layout < 0.45 else 1))  # type: ignore[call-overload]
    relation = fixed.get("relation", RELATIONS[int(words.integers(5))] if layout > 0.8 else None)
    other_kind, other_color = _other(words, kind, kinds), _other(words, color, colors)
    if count > 1:
        relation = None
    viewpoint = _fitting_viewpoint(viewpoint, kind, count, relation, "viewpoint" in fixed)
    if viewpoint in HIGH and relation == "on top of":
        relation = "left of"
    if viewpoint not in HIGH and count == 3 and kind in WIDE:
        count = 2
    if relation is not None:
        pose = "standing"
        if relation == "on top of":
            other_kind = _other(words, kind, tuple(k for k in kinds if k in FLAT_TOPS))

    first = Thing(kind=kind, color=color, material=material, pose=str(pose))
    if relation is not None:
        other = replace(first, kind=other_kind, color=other_color)
        things = _related(place, first, other, str(relation), viewpoint in HIGH)
    else:
        things = _row(place, first, count, viewpoint)
    things = tuple(replace(t, yaw=_yaw(place, t.kind), side=int(place.choice((-1, 1)))) for t in things)
    lamp = Lamp(azimuth=float(place.uniform(-1.2, 1.2)), elevation=float(place.uniform(0.65, 1.15)))
    return Scene(things=things, place=ground, style=style, camera=frame(place, things, viewpoint, attempt),
                 lamp=lamp, relation=relation, seed=seed)  # type: ignore[arg-type]  # fmt: skip


def _fitting_viewpoint(viewpoint: str, kind: str, count: int, relation: object, is_fixed: bool) -> str:
    """A viewpoint from which the arrangement can be read."""
    if is_fixed:
        return viewpoint
    if relation == "on top of" and viewpoint in HIGH:
        return "eye level"
    if relation in ("in front of", "behind") and viewpoint == "low angle":
        return "eye level"
    if count == 3 and kind in WIDE and viewpoint not in HIGH:
        return "from above"
    return viewpoint


def _other(rng: np.random.Generator, value: str, options: tuple[str, ...]) -> str:
    rest = [o for o in options if o != value]
    return rest[int(rng.integers(len(rest)))]


def _yaw(rng: np.random.Generator, kind: str) -> float:
    turn = SHAPES[kind].turn
    flip = math.pi if turn < 0.5 and kind != "snowman" and rng.random() < 0.5 else 0.0
    return flip + float(rng.uniform(-turn, turn))


def _row(rng: np.random.Generator, thing: Thing, count: int, viewpoint: str) -> list[Thing]:
    """Stand copies side by side; seen from above a second row is legible too."""
    reach = SHAPES[thing.kind].height if thing.pose == "lying" else 2 * SHAPES[thing.kind].half_width
    step = reach * 0.95 + 0.12
    high = viewpoint in HIGH
    if count == 3 and high:
        spots = [(-0.55 * step, 0.45 * step), (0.55 * step, 0.45 * step), (0.0, -0.55 * step)]
    elif count == 3:
        spots = [(-0.88 * step, 0.0), (0.0, rng.uniform(-0.2, 0.25)), (0.88 * step, 0.0)]
    else:
        spots = [((i - (count - 1) / 2) * step, 0.0) for i in range(count)]
    jitter = 0.06 if count > 1 else 0.0
    return [
        replace(
            thing,
            x=float(x + rng.uniform(-jitter, jitter)),
            z=float(z + rng.uniform(-1, 1) * (0.25 if high and count < 3 else jitter)),
            size=float(rng.uniform(0.92, 1.08)),
        )
        for x, z in spots
    ]


def _related(rng: np.random.Generator, a: Thing, b: Thing, relation: str, high: bool) -> list[Thing]:
    """Two things of different kinds in a named relation of the first to the second."""
    wa, wb = SHAPES[a.kind].half_width, SHAPES[b.kind].half_width
    da, db = SHAPES[a.kind].half_depth, SHAPES[b.kind].half_depth
    if relation == "on top of":
        scale = min(1.0, 0.95 * wb / wa)
        top = SHAPES[b.kind].height - (0.42 if b.kind == "house" else 0.02 if b.kind == "tower" else 0.0)
        return [replace(a, size=max(scale, 0.72), lift=top), b]
    if relation in ("left of", "right of"):
        sign = -1 if relation == "left of" else 1
        gap = (wa + wb) * 1.0 + float(rng.uniform(0.05, 0.15))
        return [replace(a, x=sign * gap / 2), replace(b, x=-sign * gap / 2)]
    sign = 1 if relation == "in front of" else -1
    depth = da + db + float(rng.uniform(0.7, 1.0) if high else rng.uniform(0.15, 0.4))
    aside = (
        float(rng.choice((-1, 1)))
        * (wa + wb)
        * float(rng.uniform(0.1, 0.5) if high else rng.uniform(0.64, 0.86))
    )
    return [replace(a, x=aside / 2, z=sign * depth / 2), replace(b, x=-aside / 2, z=-sign * depth / 2)]


def frame(rng: np.random.Generator, things: tuple[Thing, ...], viewpoint: str, attempt: int = 0) -> Camera:
    """Place the camera so that the things fill the frame; later attempts come closer."""
    corners = np.concatenate([_corners(thing) for thing in things])
    low, high = corners.min(0), corners.max(0)
    fov = 0.5
    camera = Camera(viewpoint=viewpoint, target=tuple(((low + high) / 2).tolist()),  # type: ignore[arg-type]
                    pitch=float(rng.uniform(*PITCH[viewpoint])), yaw=0.0, fov=fov, distance=8.0)  # fmt: skip
    slack = float(rng.uniform(1.04, 1.30)) if len(things) == 1 else float(rng.uniform(1.0, 1.06))
    slack = max(slack - 0.03 * (attempt % PATIENCE), 1.0)
    for _ in range(4):
        spot = project(camera, corners, 2) - 0.5  # in half widths, center 0
        middle = (spot.min(0) + spot.max(0)) / 2
        extent = (spot.max(0) - spot.min(0)).max() / 2
        _, axes = camera_frame(camera)
        scale = camera.distance * math.tan(fov / 2)
        target = np.asarray(camera.target) + axes[0] * middle[0] * scale - axes[1] * middle[1] * scale
        camera = replace(camera, target=tuple(target.tolist()), distance=camera.distance * extent * slack)
    room = max(0.0, 1 - 1 / slack)
    _, axes = camera_frame(camera)
    scale = camera.distance * math.tan(fov / 2)
    shift_x, shift_y = float(rng.uniform(-1, 1)) * 0.7 * room, AIM[viewpoint] * room
    target = np.asarray(camera.target) + scale * (shift_x * axes[0] + shift_y * axes[1])
    camera = replace(camera, target=tuple(target.tolist()))
    if camera_frame(camera)[0][1] < 0.07:  # stay above the ground
        target[1] += 0.07 - camera_frame(camera)[0][1]
        camera = replace(camera, target=tuple(target.tolist()))
    return camera


def _corners(thing: Thing) -> np.ndarray:
    shape = SHAPES[thing.kind]
    w, h, d = shape.half_width, shape.height, shape.half_depth
    # An octagon instead of a rectangle: most shapes are round, and a box corner would cost a fifth of the frame.
    ring = [(w * math.cos(a), d * math.sin(a)) for a in np.linspace(0, 2 * math.pi, 8, endpoint=False)]
    if thing.kind in BOXY:
        ring = [(w, d), (w, -d), (-w, d), (-w, -d)]
    points = np.array([(x, y, z) for x, z in ring for y in (0.0, h)])
    return body_of(thing).to_world(points)


def legible(scenes: list[Scene]) -> list[bool]:
    """Whether each thing covers enough of the picture, is visible enough and not cut by the border."""
    if not scenes:
        return []
    hits = shoot(scenes, CHECK_SIZE)
    pixels = CHECK_SIZE**2
    verdicts = []
    for i, scene in enumerate(scenes):
        fine = True
        for j in range(len(scene.things)):
            whole = hits.alone[i, j].isfinite()
            seen = hits.thing[i] == j
            grid = whole.reshape(CHECK_SIZE, CHECK_SIZE)
            border = grid[0].sum() + grid[-1].sum() + grid[:, 0].sum() + grid[:, -1].sum()
            fine &= bool(seen.sum() >= (LEAST_COVER + 0.004) * pixels)
            fine &= bool(seen.sum() >= (LEAST_VISIBLE + 0.02) * whole.sum())
            fine &= bool(border <= 3)
        verdicts.append(fine)
    return verdicts
