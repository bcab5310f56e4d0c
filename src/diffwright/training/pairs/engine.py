"""Pairs of pictures with exact flow, made while a training runs: a warped ground and objects that move on it.

Picture B is cut from a canvas; picture A is the same canvas seen through the analytic map from A to B, so that both are
interpolated once and equally. Up to three objects lie on the ground, each with its own affine motion. Drawing the
numbers of a pair is cheap and done on the CPU; rendering is batched torch on any device.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.core.checks import whole
from diffwright.training.pairs import photometric, warps
from diffwright.training.pairs.photometric import Looks, color_matrix, recolored
from diffwright.training.pairs.warps import Ranges, Warps, linear_part, places_of, transport

OBJECT_SHARES = (0.4, 0.25, 0.2, 0.15)  # none, one, two, three
SMALL = 0.25  # radius of an object under which its sprite is half as fine


class Pairs(NamedTuple):
    """B pairs of pictures.

    Shapes (H = W = size):
        image_a, image_b (B, 3, H, W) in [-1, 1]; flow (B, 2, H, W) from A to B in pixels, channel 0 = x;
        visible (B, H, W) bool, where the point of A is inside B and not covered there; rotation (B,) degrees
        and scale (B,) of the main map from A to B, a positive rotation turns x towards y
    """

    image_a: Tensor
    image_b: Tensor
    flow: Tensor
    visible: Tensor
    rotation: Tensor
    scale: Tensor


class Objects(NamedTuple):
    """M objects of all pairs of a batch, each pair's from back to front.

    Shapes:
        motion (M, 2, 3) places of A to places of B; settle (M, 2, 3) places of B to places of the sprite;
        tint (M, 3, 4) color; the lists name pair, layer (1 is the lowest), canvas with the sprite's corner
        (canvas, top, left, side), silhouette, and the boxes (x0, y0, x1, y1) in pixels of A and of B that hold it
    """

    motion: Tensor
    settle: Tensor
    tint: Tensor
    pair: list[int]
    layer: list[int]
    sprite: list[list[int]]
    silhouette: list[int]
    box_a: list[list[int]]
    box_b: list[list[int]]


class Draw(NamedTuple):
    """All that decides a batch: maps, canvases with their place and color, objects, photometric changes.

    Shapes (two canvases a pair, the second one blended over the first):
        canvas (B, 2) numbers; settle (B, 2, 2, 3) places of B to places of the canvas; tint (B, 3, 4)
    """

    warps: Warps
    canvas: Tensor
    settle: Tensor
    tint: Tensor
    blend: Tensor
    blended: list[int]
    objects: Objects
    looks: Looks | None


class Engine:
    """An endless row of pairs; the same number is the same pair.

    Args:
        canvases: Pictures to warp, uint8 (N, 3, C, C), from :class:`~diffwright.training.pairs.bank.Bank`.
        silhouettes: Shapes of the objects, uint8 (M, 1, c, c), of :func:`~diffwright.training.pairs.bank.silhouettes`.
        size: Side of the pictures, a multiple of 8 from 32 to 1024 pixels.
        ranges: How strong the maps are.
        photometric: Spoil both pictures.
        objects: Most moving objects, 0 to 3.
        seed: Another row.
    """

    def __init__(
        self, canvases: Tensor, silhouettes: Tensor, size: int = 256, ranges: Ranges | None = None, *,
        photometric: bool = True, objects: int = 3, seed: int = 0,
    ) -> None:  # fmt: skip
        whole("size / 8", size // 8 if size % 8 == 0 else -size, 4, 128)
        whole("objects", objects, 0, 3)
        self.canvases, self.silhouettes, self.size = canvases, silhouettes, size
        self.ranges, self.seed = ranges or Ranges(), seed
        self.photometric, self.objects = photometric, objects

    def pair(self, number: int) -> Pairs:
        """Make one pair on the CPU."""
        return self.batch([number])

    def batch(self, numbers: Sequence[int]) -> Pairs:
        """Make the pairs of several numbers on the CPU."""
        return self.render(self.draw(numbers))

    def draw(self, numbers: Sequence[int]) -> Draw:
        """Draw everything at random about the pairs of several numbers."""
        rngs = self._rngs(numbers, 0)
        maps = warps.draw(rngs, self.ranges)
        canvas, settle, tint, blend = zip(
            *(self._draw_ground(rng, float(s)) for rng, s in zip(rngs, maps.scale, strict=True)), strict=True
        )
        looks = None
        if self.photometric:
            looks = photometric.draw([*self._rngs(numbers, 1), *self._rngs(numbers, 2)])
        return Draw(
            warps=maps,
            canvas=torch.from_numpy(np.stack(canvas)),
            settle=_tensor(settle),
            tint=_tensor(tint),
            blend=_tensor(blend),
            blended=[i for i, amount in enumerate(blend) if amount > 0],
            objects=self._draw_objects(rngs, maps),
            looks=looks,
        )

    @torch.no_grad()
    def render(self, draw: Draw, rows: Sequence[int] = (), others: Pairs | None = None) -> Pairs:
        """Make the pairs, on the device of the draw.

        Args:
            draw: What :meth:`draw` gave.
            rows: Pairs of the batch in whose place others are shown.
            others: As many pairs of pictures that nothing has spoiled yet.
        """
        pairs = self._plain(draw)
        if others is not None and rows:
            for ours, theirs in zip(pairs, others, strict=True):
                ours[list(rows)] = theirs.to(ours)
        if draw.looks is None:
            return pairs
        both = photometric.apply(draw.looks, torch.cat([pairs.image_a, pairs.image_b]))
        a, b = both.chunk(2)
        return pairs._replace(image_a=a, image_b=b)

    def _plain(self, draw: Draw) -> Pairs:
        device, count, size = draw.tint.device, len(draw.tint), self.size
        self.canvases, self.silhouettes = self.canvases.to(device), self.silhouettes.to(device)
        places = places_of(size, device)
        landed = transport(draw.warps, places)
        a = self._ground(draw, landed)
        b = self._ground(draw, places)
        layers = torch.zeros(2, count, 1, size, size, device=device)
        for i in range(len(draw.objects.pair)):
            self._put(draw.objects, i, places, landed, a, b, layers)
        seen = F.grid_sample(layers[1], _grid(landed), mode="nearest", align_corners=False)
        edge = 1 - 1 / size  # places of the outermost pixel centers
        visible = (landed.abs() <= edge).all(1) & (seen == layers[0])[:, 0]
        flow = (landed - places) * (size / 2)
        return Pairs(a, b, flow, visible, draw.warps.rotation.clone(), draw.warps.scale.clone())

    def _ground(self, draw: Draw, places: Tensor) -> Tensor:
        """Sample the canvases where places of B come to lie on them."""
        ground = self._sampled(draw.canvas[:, 0], draw.settle[:, 0], places)
        if rows := draw.blended:
            its = places if len(places) == 1 else places[rows]
            over = self._sampled(draw.canvas[rows, 1], draw.settle[rows, 1], its)
            ground[rows] = ground[rows].lerp(over, draw.blend[rows, None, None, None])
        return recolored(ground, draw.tint).clamp_(0, 1).mul_(2).sub_(1)

    def _sampled(self, canvas: Tensor, settle: Tensor, places: Tensor) -> Tensor:
        picture = self.canvases.index_select(0, canvas).float().div_(255)
        grid = _grid(warps.affine(places, settle))
        return F.grid_sample(picture, grid, mode="bilinear", padding_mode="reflection", align_corners=False)

    def _put(
        self, objects: Objects, i: int, places: Tensor, landed: Tensor, a: Tensor, b: Tensor, layers: Tensor
    ) -> None:
        """Paint object i over both pictures of its pair; note its layer, and in A where its points go."""
        pair, layer = objects.pair[i], objects.layer[i]
        sprite = self._sprite(objects, i)
        for picture, box, which in ((a, objects.box_a[i], 0), (b, objects.box_b[i], 1)):
            x0, y0, x1, y1 = box
            if x1 <= x0 or y1 <= y0:
                continue
            here = (slice(None), slice(y0, y1), slice(x0, x1))
            target = places[(slice(None), *here)]
            if which == 0:
                target = warps.affine(target, objects.motion[i : i + 1])
            grid = _grid(warps.affine(target, objects.settle[i : i + 1]))
            color, cover = F.grid_sample(sprite, grid, align_corners=False)[0].split((3, 1))
            picture[pair][here] = picture[pair][here].lerp(color, cover)
            mine = cover > 0.5
            layers[which, pair][here] = layers[which, pair][here].masked_fill(mine, layer)
            if which == 0:
                landed[pair][here] = torch.where(mine, target[0], landed[pair][here])

    def _sprite(self, objects: Objects, i: int) -> Tensor:
        """Color in [-1, 1] and coverage of an object, (1, 4, side, side)."""
        canvas, top, left, side = objects.sprite[i]
        cut = self.canvases[canvas, :, top : top + side, left : left + side].float()[None] / 255
        color = recolored(cut.contiguous(), objects.tint[i : i + 1]).clamp_(0, 1) * 2 - 1
        cover = self.silhouettes[objects.silhouette[i]].float()[None] / 255
        return torch.cat([color, F.adaptive_avg_pool2d(cover, side)], dim=1)

    def _rngs(self, numbers: Sequence[int], stream: int) -> list[np.random.Generator]:
        return [np.random.Generator(np.random.PCG64([self.seed, int(n), stream, 24])) for n in numbers]

    def _draw_ground(
        self, rng: np.random.Generator, scale: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """Canvases, their settling, a color change and a blend; B is cut finer the more A sees of it."""
        share = self.size / self.canvases.shape[-1] * scale**-0.5
        settle = []
        for _ in range(2):
            matrix = linear_part(rng.uniform(0, 360), share) @ np.diag([rng.choice((-1, 1)), 1])
            room = max(0.0, 1 - np.abs(matrix).sum(1).max())
            settle.append(np.concatenate([matrix, rng.uniform(-room, room, (2, 1))], axis=1))
        blend = rng.uniform(0.15, 0.85) if rng.random() < 0.3 else 0.0
        return rng.integers(0, len(self.canvases), 2), np.stack(settle), _tint(rng), blend

    def _draw_objects(self, rngs: list[np.random.Generator], maps: Warps) -> Objects:
        pair, layer = [], []
        for i, rng in enumerate(rngs):
            count = min(self.objects, int(rng.choice(4, p=OBJECT_SHARES)))
            pair += [i] * count
            layer += range(1, count + 1)
        origin = [rngs[i].uniform(-0.85, 0.85, 2) for i in pair]
        carried = np.zeros((len(pair), 2))
        if pair:
            starts = _tensor(origin)[:, :, None, None]
            carried = transport(warps.select(maps, pair), starts)[:, :, 0, 0].double().numpy()
        drawn = [
            self._draw_object(rngs[i], maps.affine[i, :, :2].double().numpy(), origin[m], carried[m])
            for m, i in enumerate(pair)
        ]
        columns = [list(column) for column in zip(*drawn, strict=True)] if drawn else [[] for _ in range(7)]
        motion, settle, tint, *lists = columns
        shape = (len(pair), 2, 3)
        return Objects(_tensor(motion).view(shape), _tensor(settle).view(shape),
                       _tensor(tint).view(-1, 3, 4), pair, layer, *lists)  # fmt: skip

    def _draw_object(
        self, rng: np.random.Generator, main: np.ndarray, origin: np.ndarray, carried: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int], int, list[int], list[int]]:
        """Motion, settling, color, sprite, silhouette and boxes of an object that starts at ``origin`` in A."""
        calm = rng.uniform(0.05, 0.4) if rng.random() < 0.4 else 1.0
        own = linear_part(rng.uniform(-25, 25) * calm, np.exp(rng.uniform(-0.25, 0.25) * calm))
        linear = own @ main
        goal = carried.clip(-1.2, 1.2) + rng.uniform(-0.35, 0.35, 2) * calm
        motion = np.concatenate([linear, (goal - linear @ origin)[:, None]], axis=1)
        size_b = np.sqrt(abs(np.linalg.det(linear)))
        radius = np.exp(rng.uniform(np.log(0.12), np.log(0.5))) / np.sqrt(size_b)
        settle = linear_part(rng.uniform(0, 360), 1 / (radius * size_b))
        settle = np.concatenate([settle, -(settle @ goal)[:, None]], axis=1)
        side = self.silhouettes.shape[-1] // (2 if radius * size_b < SMALL else 1)
        top, left = rng.integers(0, self.canvases.shape[-1] - side + 1, 2).tolist()
        sprite = [int(rng.integers(len(self.canvases))), top, left, side]
        boxes = _box(settle @ np.vstack([motion, [0, 0, 1]]), self.size), _box(settle, self.size)
        return motion, settle, _tint(rng), sprite, int(rng.integers(len(self.silhouettes))), *boxes


def _box(matrix: np.ndarray, size: int) -> list[int]:
    """Pixels (x0, y0, x1, y1) that a matrix (2, 3) takes into the square from -1 to 1."""
    corners = np.array([[-1, -1, 1, 1], [-1, 1, -1, 1]]) - matrix[:, 2:]
    pixels = (np.linalg.solve(matrix[:, :2], corners) + 1) * size / 2 - 0.5
    low, high = np.floor(pixels.min(1)), np.ceil(pixels.max(1)) + 1
    return np.concatenate([low, high]).clip(0, size).astype(int).tolist()


def _tint(rng: np.random.Generator) -> np.ndarray:
    """Half of the canvases keep their colors; others get other hues, or are turned into their negative."""
    if rng.random() < 0.5:
        return color_matrix(1, 0, 1, 0)
    contrast = rng.uniform(0.7, 1.2) * (-1 if rng.random() < 0.2 else 1)
    return color_matrix(rng.uniform(0.4, 1.3), rng.uniform(-180, 180), contrast, rng.uniform(-0.15, 0.15))


def _grid(places: Tensor) -> Tensor:
    return places.permute(0, 2, 3, 1)


def _tensor(rows: Sequence[object]) -> Tensor:
    return torch.from_numpy(np.asarray(rows, dtype=np.float32))
