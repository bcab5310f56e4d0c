"""Edits with known truth: a render, an operation, and the re-render of the edited scene.

A case holds what an editor is given (picture, operation, caption) and what it is measured against (the true picture,
masks, the picture without the object). One third of the cases of each task are hard: two or three things, and the
edited one touches or hides another before or after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from diffwright.core.checks import one_of
from diffwright.core.errors import JobFailed
from diffwright.core.geometry import box_of
from diffwright.core.progress import Progress, report
from diffwright.editing.operations import Drag, Move, Operation, Paste, Remove, Replace, Resize
from diffwright.world.captions import caption
from diffwright.world.edits import dilated, drag_points
from diffwright.world.render import Render, render
from diffwright.world.sample import sample
from diffwright.world.scene import Scene
from diffwright.world.splits import seeds
from diffwright.world.vocabulary import CORE_COLORS, MATERIALS, PLACES

SIZE = 64
TASKS = ("move", "resize", "drag", "replace", "paste", "remove")
COUNTS = {"development": 30, "test": 60}
BLOCK = 12  # scenes drawn and judged together
STREAM = 1_000_000  # seeds between the streams of two tasks
PATIENCE = 60  # blocks
SMALL = 32  # side at which a draw is judged
RELATIONS = ("left of", "right of", "in front of", "behind")


@dataclass(frozen=True, eq=False)
class Case:
    """One edit with its truth.

    Attributes:
        name: such as ``move-test-004``.
        task: one of ``TASKS``.
        hard: whether the object touches or hides others.
        picture: what is edited, uint8 (64, 64, 3).
        truth: what it should become.
        operation: what is asked for.
        caption: what the picture shows.
        source: visible pixels of the object before.
        destination: visible pixels of the object afterwards.
        vacated: pixels that it left.
        shadows: shadows that it casts before or afterwards.
        empty: the scene without the object; where it is meant to change its look, as before.

    Shapes:
        picture, truth, empty uint8 (64, 64, 3); masks bool (64, 64)
    """

    name: str
    task: str
    hard: bool
    picture: np.ndarray
    truth: np.ndarray
    operation: Operation
    caption: str
    source: np.ndarray
    destination: np.ndarray
    vacated: np.ndarray
    shadows: np.ndarray
    empty: np.ndarray

    @property
    def touched(self) -> np.ndarray:
        """Everything that an edit may change: both places and both shadows, grown by two pixels."""
        zone = torch.from_numpy(self.source | self.destination | self.shadows)
        return dilated(zone, 2).numpy()


@dataclass(frozen=True)
class Draft:
    """Scenes of a case before they are rendered.

    Attributes:
        before: what is edited.
        after: what it becomes.
        thing: number of the edited thing in ``before``, or in ``after`` where it is pasted.
        other: the scene that a reference shows; its first thing is meant.
    """

    before: Scene
    after: Scene
    thing: int
    other: Scene | None = None


def cases(task: str, split: str, count: int | None = None, progress: Progress | None = None) -> list[Case]:
    """Make the cases of a task; the same everywhere and every time.

    Args:
        task: one of ``TASKS``.
        split: ``development`` or ``test``.
        count: how many; 30 for development and 60 for the test by default. Fewer are the first of them.
        progress: is told the cases done; may cancel.

    Raises:
        ConfigError: there is no such task or split.
        JobFailed: too few scenes fit.
    """
    one_of("task", task, TASKS)
    one_of("split", split, COUNTS)
    count = COUNTS[split] if count is None else count
    streams = {hard: _drafts(task, split, hard) for hard in (False, True)}
    found = []
    for number in range(count):
        report(progress, f"cases of {task}", number, count)
        hard = number % 3 == 2
        found.append(_case(f"{task}-{split}-{number:03d}", task, hard, next(streams[hard])))
    return found


def _drafts(task: str, split: str, hard: bool) -> Iterator[Draft]:
    """Endless drafts that fit, from seeds of their own."""
    stream = STREAM * (2 * TASKS.index(task) + hard + 1)
    for block in range(PATIENCE):
        numbers = seeds(split, BLOCK, stream + block * BLOCK)
        drafts = []
        for number, scene in zip(numbers, _scenes(numbers, hard), strict=True):
            rng = np.random.Generator(np.random.PCG64([number, 77]))
            drafts.append(EDITS[task](_stepped_back(scene, rng), rng))
        yield from _fitting(task, hard, drafts)
    raise JobFailed(f"the {PATIENCE} blocks of seeds hold too few scenes for {task}; ask for fewer cases")


def _scenes(numbers: list[int], hard: bool) -> list[Scene]:
    if not hard:
        return sample(numbers, core=True, style="photo", count=1, relation=None)
    half = len(numbers) // 2
    pairs = [sample([n], core=True, style="photo", relation=RELATIONS[n % 4])[0] for n in numbers[:half]]
    return pairs + sample(numbers[half:], core=True, style="photo", count=2, relation=None)


def _stepped_back(scene: Scene, rng: np.random.Generator) -> Scene:
    """See it from farther away, so that there is room to move things."""
    low, high = (1.3, 1.6) if len(scene.things) == 1 else (1.05, 1.25)
    camera = replace(scene.camera, distance=scene.camera.distance * float(rng.uniform(low, high)))
    return replace(scene, camera=camera, relation=None)


def _moved(scene: Scene, rng: np.random.Generator) -> Draft:
    thing = int(rng.integers(len(scene.things)))
    old, side = scene.things[thing], float(rng.choice((-1.0, 1.0)))
    depth = float(rng.uniform(-0.8, 0.8)) if rng.random() < 0.5 else 0.0
    after = scene.with_(thing, x=old.x + side * float(rng.uniform(0.25, 0.8)), z=old.z + depth)
    return Draft(scene, after, thing)


def _resized(scene: Scene, rng: np.random.Generator) -> Draft:
    thing = int(rng.integers(len(scene.things)))
    factor = float(rng.uniform(0.55, 0.8)) if rng.random() < 0.5 else float(rng.uniform(1.2, 1.5))
    return Draft(scene, scene.with_(thing, size=scene.things[thing].size * factor), thing)


def _dragged(scene: Scene, rng: np.random.Generator) -> Draft:
    thing = int(rng.integers(len(scene.things)))
    change = (
        {"stem": float(rng.uniform(1.3, 1.7))},
        {"lean": float(rng.choice((-1, 1)) * rng.uniform(0.25, 0.5))},
        {"width": float(rng.uniform(1.3, 1.6))},
    )[int(rng.integers(3))]
    return Draft(scene, scene.with_(thing, **change), thing)


def _replaced(scene: Scene, rng: np.random.Generator) -> Draft:
    thing = int(rng.integers(len(scene.things)))
    old = scene.things[thing]
    if rng.random() < 0.7:
        look = {"color": str(rng.choice([c for c in CORE_COLORS if c != old.color]))}
    else:
        look = {"material": str(rng.choice([m for m in MATERIALS if m != old.material]))}
    new = replace(old, **look)
    shown = replace(new, x=0.0, z=0.0, yaw=new.yaw + float(rng.uniform(-0.4, 0.4)))
    return Draft(scene, scene.with_(thing, **look), thing, _elsewhere(scene, shown, rng))


def _pasted(scene: Scene, rng: np.random.Generator) -> Draft:
    thing = int(rng.integers(len(scene.things)))
    put = scene.things[thing]
    before = scene.without(thing) if len(scene.things) > 1 else scene
    if len(scene.things) == 1:
        side = float(rng.choice((-1.0, 1.0)))
        first = replace(put, x=put.x - side * 0.5)
        put = replace(put, x=put.x + side * float(rng.uniform(0.5, 0.7)), color=_another(put.color, rng))
        before = replace(scene, things=(first,))
    after = replace(before, things=(*before.things, put))
    return Draft(before, after, len(before.things), _elsewhere(scene, put, rng))


def _removed(scene: Scene, rng: np.random.Generator) -> Draft:
    thing = int(rng.integers(len(scene.things)))
    return Draft(scene, scene.without(thing), thing)


def _another(color: str, rng: np.random.Generator) -> str:
    return str(rng.choice([c for c in CORE_COLORS if c != color]))


def _elsewhere(scene: Scene, thing: object, rng: np.random.Generator) -> Scene:
    """The thing alone in another place, under a lamp of its own."""
    place = str(rng.choice([p for p in PLACES if p != scene.place]))
    lamp = replace(scene.lamp, azimuth=scene.lamp.azimuth + float(rng.uniform(-0.3, 0.3)))
    return replace(scene, things=(thing,), place=place, lamp=lamp)


EDITS: dict[str, Callable[[Scene, np.random.Generator], Draft]] = {
    "move": _moved,
    "resize": _resized,
    "drag": _dragged,
    "replace": _replaced,
    "paste": _pasted,
    "remove": _removed,
}


def _fitting(task: str, hard: bool, drafts: list[Draft]) -> Iterator[Draft]:
    """Those whose object is large enough, inside the picture and visible, before and afterwards."""
    before, after = (render(s, SMALL, 1) for s in ([d.before for d in drafts], [d.after for d in drafts]))
    others = iter(render([d.other for d in drafts if d.other], SMALL, 1).masks) if drafts[0].other else None
    for n, draft in enumerate(drafts):
        seen = [_seen(draft, before, after, n, when) for when in _moments(task)]
        fits = all(_stands_well(*pair) for pair in seen)
        if others is not None:
            mask = next(others)[0]
            fits &= _stands_well(mask, mask)
        if len(seen) == 2 and task in ("move", "drag", "resize"):
            fits &= 0.02 < float((seen[0][1] ^ seen[1][1]).float().mean()) < 0.3
        if hard:
            fits &= _touches(draft, before if task != "paste" else after, n)
        if task == "drag" and fits:
            fits = len(_ways(draft)[0]) > 0
        if fits:
            yield draft


def _moments(task: str) -> tuple[str, ...]:
    return {"paste": ("after",), "remove": ("before",)}.get(task, ("before", "after"))


def _seen(
    draft: Draft, before: Render, after: Render, n: int, when: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Visible and whole mask of the edited thing."""
    shot = before if when == "before" else after
    return shot.masks[n, draft.thing], shot.whole[n, draft.thing]


def _stands_well(visible: torch.Tensor, whole: torch.Tensor) -> bool:
    border = int(whole[0].sum() + whole[-1].sum() + whole[:, 0].sum() + whole[:, -1].sum())
    area = float(visible.float().mean())
    return 0.035 <= area <= 0.35 and border == 0 and bool(visible.sum() >= 0.6 * whole.sum())


def _touches(draft: Draft, shot: Render, n: int) -> bool:
    """Whether the thing meets another one, as seen, at least by a pixel's distance."""
    mine = dilated(shot.whole[n, draft.thing], 1)
    rest = [shot.whole[n, k] for k in range(shot.whole.shape[1]) if k != draft.thing]
    return any(bool((mine & other).any()) for other in rest)


def _ways(draft: Draft, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Handles that move by two pixels or more, and where they go."""
    start, end = drag_points(draft.before, draft.after, draft.thing, size)
    far = np.linalg.norm(end - start, axis=1) >= 2.0
    return start[far], end[far]


def _case(name: str, task: str, hard: bool, draft: Draft) -> Case:
    gone = draft.after if task == "remove" else draft.before
    if task not in ("paste", "remove"):
        gone = draft.before.without(draft.thing)
    shots = render([draft.before, draft.after, gone], SIZE)
    picture, truth, empty = (image.numpy() for image in shots.image_u8)
    nothing = np.zeros((SIZE, SIZE), bool)
    source = nothing if task == "paste" else shots.masks[0, draft.thing].numpy()
    destination = nothing if task == "remove" else shots.masks[1, draft.thing].numpy()
    shadows = nothing if task == "paste" else shots.shadows[0, draft.thing].numpy()
    if task != "remove":
        shadows = shadows | shots.shadows[1, draft.thing].numpy()
    last = shots.whole.shape[1] - 1
    before, after = (shots.whole[k, min(draft.thing, last)].numpy() for k in (0, 1))
    return Case(
        name=name,
        task=task,
        hard=hard,
        picture=picture,
        truth=truth,
        operation=_operation(task, draft, source, destination, (before, after)),
        caption=caption(draft.before, 0, full=True).text,
        source=source,
        destination=destination,
        vacated=source & ~destination,
        shadows=shadows,
        empty=empty,
    )


def _operation(
    task: str,
    draft: Draft,
    source: np.ndarray,
    destination: np.ndarray,
    wholes: tuple[np.ndarray, np.ndarray],
) -> Operation:
    """What a user would ask for who sees both pictures: the shift and the scale of the object's box."""
    if task == "remove":
        return Remove(source)
    if task == "drag":
        start, end = _ways(draft)
        region = dilated(torch.from_numpy(source | destination), 2).numpy()
        return Drag(_pairs(start), _pairs(end), region)
    if draft.other is not None:
        shot = render(draft.other, SIZE)
        reference, theirs = shot.image_u8[0].numpy(), shot.masks[0, 0].numpy()
        if task == "replace":
            return Replace(source, reference, theirs)
        scale, _ = _box_change(theirs, wholes[1])
        x, y = _middle(wholes[1])
        return Paste(reference, theirs, (float(x), float(y)), scale)
    scale, _ = _box_change(*wholes)
    own = _middle(source)
    by = _middle(wholes[1]) - ((_middle(wholes[0]) - own) * scale + own)
    if task == "resize" and np.abs(by).max() < 0.5:
        return Resize(source, scale)
    return Move(source, (float(by[0]), float(by[1])), scale)


def _box_change(old: np.ndarray, new: np.ndarray) -> tuple[float, np.ndarray]:
    """Scale of the boxes (geometric mean of both sides) and shift of their middles."""
    a, b = (np.array(box_of(m), float).reshape(2, 2) for m in (old, new))
    ratio = (b[1] - b[0]) / (a[1] - a[0])
    return float(np.sqrt(ratio.prod())), b.mean(0) - a.mean(0)


def _middle(mask: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = box_of(mask)
    return np.array([(x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2])


def _pairs(points: np.ndarray) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in points)
