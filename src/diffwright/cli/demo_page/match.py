"""Chapter of the demo: two views of a scene matched, beside the exact flow that the renderer knows."""

import shlex
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from diffwright.cli.demo_page.page import Chapter, Figure, Shot
from diffwright.core.geometry import warp
from diffwright.core.images import load_image, to_pil, to_tensor, to_u8
from diffwright.core.progress import Progress, report
from diffwright.matching.matcher import Matcher
from diffwright.matching.output import MatchOutput
from diffwright.matching.pictures import confidence_picture, flow_picture
from diffwright.world.motion import camera_moved, motion
from diffwright.world.render import render
from diffwright.world.sample import sample
from diffwright.world.splits import seeds

VIEWS = 4
SIZE = 256
FIRST = 200_000  # of the test seeds
WIDEST = 512  # of the user's pictures on the page
TURN = 1.3  # how far the camera goes; 1 is up to 14 degrees


@dataclass(frozen=True)
class Views:
    """Two rendered views, the truth between them, and what the matcher found.

    Attributes:
        a: uint8 (H, W, 3).
        b: The other view.
        flow: True flow from A to B, float32 (H, W, 2).
        seen: bool (H, W), where the point of A is visible in B.
        found: What the matcher gave.
    """

    a: np.ndarray
    b: np.ndarray
    flow: np.ndarray
    seen: np.ndarray
    found: MatchOutput

    def error(self, flow: np.ndarray) -> float:
        """Mean distance from the truth over the visible points, pixels."""
        return float(np.linalg.norm(flow - self.flow, axis=2)[self.seen].mean())


def match(
    matcher: Matcher,
    *,
    pair: tuple[Path, Path] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Chapter:
    """Match rendered views with exact flow, and the user's two pictures if there are any.

    Args:
        matcher: Finds the flow.
        pair: The user's own pictures A and B.
        seed: Of the scenes and of the diffusion.
        progress: Told the pairs.

    Returns:
        The chapter.

    Raises:
        InputError: A picture of the user cannot be read.
    """
    own = None if pair is None else (load_image(pair[0]), load_image(pair[1]))
    start = time.perf_counter()
    drawn = [_drawn(number) for number in seeds("test", VIEWS, start=FIRST + seed * VIEWS)]
    rendered = time.perf_counter() - start
    views, start = [], time.perf_counter()
    for done, (a, b, flow, seen) in enumerate(drawn):
        report(progress, "matching", done, VIEWS)
        views.append(Views(a, b, flow, seen, matcher.match(a, b, seed=seed)))
    each = (time.perf_counter() - start) / VIEWS
    report(progress, "matching", VIEWS, VIEWS)
    rows = [(f"Pair {n} of {VIEWS}", _shots(view)) for n, view in enumerate(views, 1)]
    command = "diffwright match a.jpg b.jpg --out matched"
    if own is not None and pair is not None:
        rows.insert(0, ("Your two pictures", _own_shots(matcher.match(*own, seed=seed))))
        command = f"diffwright match {shlex.quote(str(pair[0]))} {shlex.quote(str(pair[1]))} --out matched"
    return _chapter(views, rows, command, matcher, each, rendered)


def _drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    before = sample([seed], style="photo")[0]
    after = camera_moved(before, seed, TURN)
    a, b = render([before, after], SIZE).image_u8.numpy()
    moved = motion(before, after, SIZE)
    return a, b, moved.flow[0].permute(1, 2, 0).numpy(), ~moved.occluded[0].numpy()


def _chapter(
    views: list[Views],
    rows: list[tuple[str, list[Shot]]],
    command: str,
    matcher: Matcher,
    each: float,
    rendered: float,
) -> Chapter:
    ours = float(np.mean([view.error(view.found.flow) for view in views]))
    before = float(np.mean([view.error(view.found.initial) for view in views]))
    still = float(np.mean([view.error(np.zeros_like(view.flow)) for view in views]))
    shown = views[int(np.argmax([np.linalg.norm(view.flow, axis=2)[view.seen].mean() for view in views]))]
    config = matcher.model.config
    return Chapter(
        key="match",
        title="Two views matched",
        before=Shot("another view of the scene", shown.b),
        ours=Shot(
            "the same view, brought here by the flow that was found", _carried(shown, shown.found.flow)
        ),
        truth=Shot("brought here by the renderer's exact flow", _carried(shown, shown.flow)),
        figure=Figure(
            f"{ours:.1f} px",
            f"mean error over the visible points of {VIEWS} pairs, {SIZE} pixels wide",
            f"{before:.1f} px",
            f"before diffusion; {still:.1f} px for no motion at all",
        ),
        command=command,
        text="For each pixel of one view, its place in the other. Features of both pictures are compared, all "
        "cells with all cells; a conditional diffusion model turns that evidence into a plausible field, and a "
        "second one refines it. The renderer knows the exact flow, so the error is measured, not guessed. Gray is "
        "what the other view does not show.",
        rows=rows,
        facts=[
            ("seconds a pair", f"{each:.1f}"),
            ("seconds for rendering", f"{rendered:.1f}"),
            ("parameters", f"{sum(p.numel() for p in matcher.model.parameters()) / 1e6:.1f} million"),
            ("denoising", f"{config.stages} stages of {config.steps} steps, three samples each"),
        ],
    )


def _carried(view: Views, flow: np.ndarray) -> np.ndarray:
    """Picture B seen from A by a flow; gray where the point is not visible in B."""
    there = torch.from_numpy(np.ascontiguousarray(flow, dtype=np.float32)).permute(2, 0, 1)[None]
    carried = to_u8(warp(to_tensor(view.b), there)[0])[0]
    return np.where(view.seen[..., None], carried, np.uint8(128))


def _shots(view: Views) -> list[Shot]:
    reach = float(np.percentile(np.linalg.norm(view.flow, axis=2)[view.seen], 98))
    found = view.found
    return [
        Shot("A", view.a),
        Shot("B", view.b),
        Shot(f"flow found, off by {view.error(found.flow):.1f} px", flow_picture(found.flow, reach=reach)),
        Shot("true flow; gray is not visible in B", flow_picture(view.flow, view.seen, reach=reach)),
        Shot("confidence, yellow is sure", confidence_picture(found.confidence, found.occlusion)),
    ]


def _own_shots(found: MatchOutput) -> list[Shot]:
    drawn = found.pictures()
    shown = {
        "A": found.image_a,
        "B": found.image_b,
        "B seen from A": drawn["warped"],
        f"confidence, {found.confidence.mean():.2f} on average": drawn["confidence"],
        "single matches": drawn["matches"],
    }
    return [Shot(caption, _at_most(image, WIDEST)) for caption, image in shown.items()]


def _at_most(image: np.ndarray, side: int) -> np.ndarray:
    """Shrink a picture whose longer side is longer than that."""
    picture = to_pil(image)
    picture.thumbnail((side, side))
    return np.asarray(picture)
