import pytest
import torch

from diffwright.world import render as rendering
from diffwright.world.rays import camera_rays, cast
from diffwright.world.render import render
from diffwright.world.sample import sample
from diffwright.world.scene import Camera, Scene, Thing
from diffwright.world.vocabulary import STYLES


@pytest.fixture(scope="module")
def scenes():
    return [scene for i, style in enumerate(STYLES) for scene in sample([10 + i, 20 + i], style=style)]


def shoot_in_double(scenes, size, device="cpu"):
    torch.set_default_dtype(torch.float64)
    frames = [camera_rays(scene.camera, size) for scene in scenes]
    origin, direction = (torch.tensor([f[i].tolist() for f in frames]) for i in (0, 1))
    return cast(scenes, origin, direction)


def agreement(a, b):
    return ((a.image - b.image).abs() * 127.5 <= 1).all(1).float().mean()


def test_double_precision_agrees(scenes, monkeypatch):
    single = render(scenes, 64)
    style = rendering.stylize

    def stylize_in_single(*given):
        torch.set_default_dtype(torch.float32)
        return style(*given)

    monkeypatch.setattr(rendering, "shoot", shoot_in_double)
    monkeypatch.setattr(rendering, "stylize", stylize_in_single)
    try:
        double = render(scenes, 64)
    finally:
        torch.set_default_dtype(torch.float32)
    assert agreement(single, double) >= 0.995
    assert (single.masks == double.masks).float().mean() >= 0.999


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_agrees(scenes):
    assert agreement(render(scenes, 64), render(scenes, 64, device="cuda")) >= 0.995


def test_batch_size_and_threads_do_not_matter(scenes):
    together = render(scenes, 32)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        apart = [render(scene, 32) for scene in scenes[::3]]
    finally:
        torch.set_num_threads(threads)
    for i, one in zip(range(0, len(scenes), 3), apart, strict=True):
        k = one.masks.shape[1]
        assert ((one.image[0] - together.image[i]).abs() * 127.5 <= 1).all(0).float().mean() >= 0.995
        assert (one.masks[0] == together.masks[i, :k]).float().mean() >= 0.999


def test_shapes_and_ranges(scenes):
    drawn = render(scenes[:3], 24)
    k = max(len(scene.things) for scene in scenes[:3])
    assert drawn.image.shape == (3, 3, 24, 24)
    assert drawn.masks.shape == drawn.whole.shape == drawn.shadows.shape == (3, k, 24, 24)
    assert drawn.depth.shape == (3, 24, 24)
    assert drawn.image.abs().max() <= 1
    assert drawn.image_u8.dtype == torch.uint8
    assert drawn.image_u8.shape == (3, 24, 24, 3)


def test_a_ball_is_where_geometry_says():
    camera = Camera(target=(0.0, 0.52, 0.0), distance=5.0, pitch=0.0)
    drawn = render(Scene(things=(Thing(kind="sphere", color="red"),), camera=camera), 64, 4)
    assert abs(float(drawn.depth[0, 32, 32]) - (5 - 0.52)) < 0.01
    radius = 0.52 / (25 - 0.52**2) ** 0.5 / torch.tensor(0.25).tan() * 32
    assert abs(float(drawn.masks.sum()) / (torch.pi * float(radius) ** 2) - 1) < 0.02


def test_a_shadow_falls_away_from_the_lamp():
    scene = Scene(things=(Thing(kind="cube", color="red"),), camera=Camera(pitch=0.7))
    shadow = render(scene, 32).shadows[0, 0] & ~render(scene, 32).masks[0, 0]
    assert shadow.any()
    x = torch.arange(32).expand(32, 32)[shadow].float().mean()
    assert x < 15  # the lamp stands to the right


def test_style_changes_the_picture_and_not_the_geometry(scenes):
    photo = render(scenes[0].with_(style="photo"), 32)
    for style in STYLES[1:]:
        styled = render(scenes[0].with_(style=style), 32)
        assert (styled.image - photo.image).abs().mean() > 0.05
        assert (styled.masks == photo.masks).all()
