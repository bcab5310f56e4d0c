"""Pictures of scenes with their masks, shadows and depth."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffwright.world.body import Rows
from diffwright.world.kinds import MAIN, PAINTS
from diffwright.world.marching import normal, paint, shade_of
from diffwright.world.places import ground, sky
from diffwright.world.rays import GROUND, SKY, Hits, by_kind, shoot
from diffwright.world.scene import Lamp, Scene
from diffwright.world.styles import stylize
from diffwright.world.vocabulary import COLORS

AMBIENT, DIRECT = 0.42, 0.72
BATCH = 16  # scenes rendered together: the working set stays in cache


@dataclass(frozen=True)
class Render:
    """What the renderer knows of a batch of scenes.

    Shapes (B scenes, K things at most, H = W = size):
        image (B, 3, H, W) in [-1, 1]; masks (B, K, H, W) bool, the visible pixels of each thing;
        whole (B, K, H, W) bool, its pixels as if it stood alone; shadows (B, K, H, W) bool, where it takes light;
        depth (B, H, W) world units from the camera
    """

    image: Tensor
    masks: Tensor
    whole: Tensor
    shadows: Tensor
    depth: Tensor

    @property
    def image_u8(self) -> Tensor:
        """uint8 (B, H, W, 3)."""
        return ((self.image.permute(0, 2, 3, 1) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def render(scenes: Scene | list[Scene], size: int = 64, supersample: int = 2,
           device: torch.device | str = "cpu") -> Render:  # fmt: skip
    """Draw scenes.

    Args:
        scenes: One scene or many.
        size: Side of the square picture, pixels.
        supersample: Rays per pixel and axis; 2 antialiases.
        device: Where to compute.

    Returns:
        A :class:`Render` on the CPU.

    Example:
        >>> from diffwright.world.scene import Scene, Thing
        >>> render(Scene(things=(Thing(kind="duck", color="yellow"),)), size=16).image.shape
        torch.Size([1, 3, 16, 16])
    """
    scenes = [scenes] if isinstance(scenes, Scene) else list(scenes)
    k = max(1, *(len(scene.things) for scene in scenes))
    parts = [
        _render(scenes[i : i + BATCH], k, size, supersample, device) for i in range(0, len(scenes), BATCH)
    ]
    return Render(*(torch.cat([getattr(p, f) for p in parts]) for f in Render.__dataclass_fields__))


@torch.no_grad()
def _render(scenes: list[Scene], k: int, size: int, supersample: int, device: torch.device | str) -> Render:
    hits = shoot(scenes, size * supersample, device)
    color, light = shade(scenes, hits, size)
    b, s = len(scenes), supersample

    def pixels(x: Tensor) -> Tensor:
        x = x.float().reshape(b, -1, size, s, size, s)
        return x.mean(dim=(3, 5))

    slots = torch.arange(hits.alone.shape[1], device=device)[None, :, None]
    share = pixels(hits.thing[:, None] == slots)
    whole = pixels(hits.alone < 1e9)
    shadows = pixels(1 - light)
    photo = pixels(color)
    image = stylize([scene.style for scene in scenes], photo, share)
    pad = (0, 0, 0, 0, 0, k - share.shape[1])
    return Render(
        image=(image.clamp(0, 1) * 2 - 1).cpu(),
        masks=torch.nn.functional.pad(share > 0.5, pad).cpu(),
        whole=torch.nn.functional.pad(whole > 0.5, pad).cpu(),
        shadows=torch.nn.functional.pad(shadows > 2e-3, pad).cpu(),
        depth=pixels(hits.t[:, None])[:, 0].cpu(),
    )


def lamp_direction(lamp: Lamp, camera_yaw: float) -> list[float]:
    """Unit world direction towards the lamp."""
    azimuth, elevation = torch.tensor(lamp.azimuth + camera_yaw), torch.tensor(lamp.elevation)
    flat = elevation.cos()
    return [float(flat * azimuth.sin()), float(elevation.sin()), float(flat * azimuth.cos())]


def shade(scenes: list[Scene], hits: Hits, size: int) -> tuple[Tensor, Tensor]:
    """Linear color in [0, 1] of each ray, and the light that each thing lets through to it.

    Shapes:
        -> color (B, 3, N), light (B, K, N) in [0, 1], 1 where the thing takes nothing away
    """
    point = hits.origin[..., None] + hits.t[:, None] * hits.direction
    toward = hits.t.new_tensor([lamp_direction(s.lamp, s.camera.yaw) for s in scenes])
    up = torch.zeros_like(point)
    up[:, 1] = 1.0
    albedo, normals = _surface_of_places(scenes, hits, point, size), up
    gloss = torch.zeros_like(hits.t)
    for kind, members in by_kind(scenes).items():
        _surface_of_things(kind, members, scenes, hits, point, albedo, normals, gloss)

    light = _light(scenes, hits, point, normals, toward)
    facing = (normals * toward[..., None]).sum(1).clamp_min(0)
    fill = 0.80 + 0.20 * normals[:, 1]
    lit = light.prod(1)
    color = albedo * (AMBIENT * fill * (0.55 + 0.45 * lit) + DIRECT * facing * lit)[:, None]
    half = torch.nn.functional.normalize(toward[..., None] - hits.direction, dim=1)
    shine = (normals * half).sum(1).clamp_min(0) ** 40
    color = color + (gloss * shine * (0.15 + 0.85 * lit))[:, None]

    backdrop = torch.stack([sky(s.place, d) for s, d in zip(scenes, hits.direction, strict=True)])
    haze = torch.where(hits.thing == GROUND, ((hits.t - 9) / 22).clamp(0, 1), torch.zeros_like(hits.t))
    haze = torch.where(hits.thing == SKY, torch.ones_like(haze), haze)[:, None]
    return color * (1 - haze) + backdrop * haze, light


def _surface_of_places(scenes: list[Scene], hits: Hits, point: Tensor, size: int) -> Tensor:
    albedo = torch.zeros_like(point)
    for i, scene in enumerate(scenes):
        flat = (hits.thing[i] == GROUND).nonzero().squeeze(1)
        slant = (-hits.direction[i, 1, flat]).clamp_min(0.02)
        footprint = hits.t[i, flat] * scene.camera.fov / size / slant
        albedo[i][:, flat] = ground(scene.place, point[i, 0, flat], point[i, 2, flat], footprint)
    return albedo


def _surface_of_things(kind: str, members: list[tuple[int, int]], scenes: list[Scene], hits: Hits, point: Tensor,
                       albedo: Tensor, normals: Tensor, gloss: Tensor) -> None:  # fmt: skip
    scene_of, ray_of, rows, slot = _select(members, hits, lambda i, j: hits.thing[i] == j)
    if scene_of.numel() == 0:
        return
    p = rows.point_to_object(point[scene_of, :, ray_of].T)
    n = rows.turn_to_world(normal(kind, p, rows.warp))
    normals[scene_of, :, ray_of] = n.T
    part = paint(kind, p, rows.warp)
    paints, plain = p.new_tensor(PAINTS)[part].T, part == MAIN
    for i, j in members:
        mine = (scene_of == i) & (slot == j)
        thing = scenes[i].things[j]
        main = p.new_tensor(COLORS[thing.color]).unsqueeze(1)
        tone, shininess = _finish(thing.material, p[:, mine], n[:, mine], hits.direction[i][:, ray_of[mine]])
        painted = (main * tone[0] + tone[1]) * plain[mine] + paints[:, mine] * ~plain[mine]
        albedo[i][:, ray_of[mine]] = painted
        gloss[i, ray_of[mine]] = shininess * plain[mine]


def _finish(material: str, p: Tensor, n: Tensor, view: Tensor) -> tuple[tuple[Tensor, Tensor], float]:
    """Factor and offset of the albedo, and the strength of the highlight."""
    one, zero = torch.ones_like(p[:1]), torch.zeros_like(p[:1])
    if material == "shiny":
        return (one, zero), 0.75
    if material == "metallic":
        mirror = view - 2 * (view * n).sum(0) * n
        band = torch.sin(mirror[1:2] * 5.0 + 0.6) * 0.5 + 0.5
        return (0.45 + 0.95 * band, 0.16 * band**3), 0.9
    if material == "striped":
        stripe = (torch.sin(p[1:2] * 21.0) * 5).tanh() * 0.5 + 0.5
        return (1 - 0.62 * stripe, 0.0 * zero), 0.0
    return (one, zero), 0.06


def _light(scenes: list[Scene], hits: Hits, point: Tensor, normals: Tensor, toward: Tensor) -> Tensor:
    b, k, n = hits.alone.shape
    light = torch.ones(b, k, n, device=point.device)
    start = point + 0.012 * normals
    for kind, members in by_kind(scenes).items():
        for group in (members[i : i + 8] for i in range(0, len(members), 8)):
            scene_of, ray_of, rows, slot = _select(
                group, hits, lambda i, j: _may_shade(hits, start, toward, i, j)
            )
            if scene_of.numel() == 0:
                continue
            o = rows.point_to_object(start[scene_of, :, ray_of].T)
            d = rows.turn_to_object(toward[scene_of].T)
            soft = o.new_tensor([s.lamp.softness for s in scenes])[scene_of]
            light[scene_of, slot, ray_of] = shade_of(kind, o, d, rows, soft)
    return light


def _may_shade(hits: Hits, start: Tensor, toward: Tensor, i: int, j: int) -> Tensor:
    row = hits.bodies[i, j]
    center, size = row[9:12].clone(), row[12]
    center[1] += size * row[13]
    to = center[:, None] - start[i]
    along = (to * toward[i][:, None]).sum(0)
    aside = (to * to).sum(0) - along * along
    reach = size * (row[14] + 0.12)
    return (aside < reach**2) & (along > -reach) & (hits.thing[i] != SKY)


def _select(members: list[tuple[int, int]], hits: Hits,
            chosen: Callable[[int, int], Tensor]) -> tuple[Tensor, Tensor, Rows, Tensor]:  # fmt: skip
    """Gather the chosen rays of several things: scene, ray, body row and thing number of each."""
    rays = [chosen(i, j).nonzero().squeeze(1) for i, j in members]
    counts = torch.tensor([r.numel() for r in rays], device=hits.t.device)
    scene_of, slot = torch.tensor(members, device=hits.t.device).T.repeat_interleave(counts, dim=1)
    return scene_of, torch.cat(rays), Rows(hits.bodies[scene_of, slot].T), slot
