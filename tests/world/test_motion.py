import numpy as np
import pytest
import torch

from diffwright.core.errors import InputError
from diffwright.core.geometry import warp
from diffwright.world.edits import dilated, handles
from diffwright.world.motion import camera_moved, follow, motion
from diffwright.world.rays import project
from diffwright.world.render import render
from diffwright.world.sample import sample
from diffwright.world.scene import Camera, Lamp, Scene, Thing

SIZE = 64
MOVES = (
    lambda thing: {"x": thing.x + 0.2},
    lambda thing: {"z": thing.z - 0.3},
    lambda thing: {"size": 0.85 * thing.size},
    lambda thing: {"stem": 1.3, "lean": 0.15},
    lambda thing: {"width": 0.8},
)


@pytest.fixture(scope="module")
def scenes():
    return sample(list(range(500, 520)), style="photo", material="matte", relation=None)


def warped_psnr(before, after, ignore_shadows):
    a, b = render(before, SIZE), render(after, SIZE)
    moved = motion(before, after, SIZE)
    back, _ = warp(b.image, moved.flow)
    skip = dilated(moved.occluded, 2)
    if ignore_shadows:
        there, _ = warp(b.shadows.any(1, keepdim=True).float(), moved.flow)
        skip |= dilated(a.shadows.any(1) | (there[:, 0] > 0), 1)
    scores = []
    for i in range(len(before)):
        error = ((back[i] - a.image[i]) / 2)[:, ~skip[i]]
        scores.append(float(-10 * error.square().mean().log10()))
    return np.array(scores)


def test_warping_reproduces_the_view_of_another_camera(scenes):
    rng = np.random.default_rng(0)
    scores = warped_psnr(scenes, [camera_moved(scene, rng) for scene in scenes], False)
    assert np.median(scores) >= 30
    assert scores.min() >= 24


def test_warping_reproduces_moved_and_deformed_things(scenes):
    after = [scene.with_(0, **MOVES[i % len(MOVES)](scene.things[0])) for i, scene in enumerate(scenes)]
    assert np.median(warped_psnr(scenes, after, True)) >= 30


def test_nothing_moves_between_equal_scenes(scenes):
    still = motion(scenes[:4], scenes[:4], SIZE)
    assert still.flow.abs().max() <= 2e-4
    assert still.occluded.float().mean() < 0.01


def test_flow_there_and_back_returns(scenes):
    before = scenes[:6]
    rng = np.random.default_rng(1)
    after = [camera_moved(scene, rng).with_(0, x=scene.things[0].x + 0.1) for scene in before]
    gaps = []
    for a, b in zip(before, after, strict=True):
        moved = motion(a, b, SIZE)
        y, x = np.nonzero(~moved.occluded[0].numpy())
        there = np.stack([x, y], 1) + moved.flow[0, :, y, x].T.numpy()
        back, seen = follow(b, a, there, SIZE)
        gaps.append(np.linalg.norm(back - np.stack([x, y], 1), axis=1)[seen])
        assert seen.mean() > 0.97
    assert np.quantile(np.concatenate(gaps), 0.99) < 0.1


def test_follow_agrees_with_flow_and_with_geometry():
    camera = Camera(target=(0.0, 0.52, 0.0), distance=5.0, pitch=0.0)
    scene = Scene(things=(Thing(kind="sphere", color="red"),), camera=camera)
    after = scene.with_(0, x=0.3)
    moved = motion(scene, after, SIZE)
    points = np.array([(31.0, 31.0), (25.0, 36.0), (2.0, 60.0)])
    end, seen = follow(scene, after, points, SIZE)
    flow = np.stack([moved.flow[0, :, int(y), int(x)].numpy() for x, y in points])
    assert np.allclose(end - points, flow, atol=1e-3)
    assert seen.all()
    depth = 5 - 0.52  # the nearest point of the ball
    assert abs(flow[0, 0] - 0.3 / depth * SIZE / 2 / np.tan(0.25)) < 0.1
    assert np.allclose(flow[2], 0, atol=1e-3)


def test_handles_move_as_the_surface_under_them_does():
    camera = Camera(target=(0.0, 0.6, 0.0), distance=6.0, pitch=0.3)
    thing = Thing(kind="cone", color="red", yaw=0.4)  # its tip is its top handle
    scene = Scene(things=(thing,), camera=camera)
    for change in ({"stem": 1.4}, {"lean": 0.3}, {"pose": "tilted"}, {"x": 0.4, "z": -0.5}, {"size": 0.8}):
        after = scene.with_(0, **change)
        start = project(camera, handles(thing)[:1] - [[0, 0.02, 0]], 256)
        end = project(camera, handles(after.things[0])[:1], 256)
        landed, _ = follow(scene, after, start, 256)
        assert np.linalg.norm(landed - end) < 4, change


def test_what_hides_is_occluded_and_what_leaves_is_too():
    camera = Camera(target=(0.0, 0.5, 0.0), distance=5.0, pitch=0.1)
    ball = Thing(kind="sphere", color="red", x=-1.2, z=1.0, size=0.6)
    scene = Scene(things=(Thing(kind="cube", color="blue"), ball), camera=camera)
    hidden = motion(scene, scene.with_(1, x=0.0), SIZE).occluded[0]
    cube = render(scene, SIZE).masks[0, 0]
    assert 0.1 < hidden[cube].float().mean() < 0.7
    gone = motion(scene, scene.with_(1, x=-9.0), SIZE).occluded[0]
    assert gone[render(scene, SIZE).masks[0, 1]].all()


def test_the_light_stays_when_the_camera_moves():
    scene = Scene(things=(Thing(kind="cube", color="red"),), lamp=Lamp(azimuth=0.4))
    moved = camera_moved(scene, 3)
    assert moved.camera != scene.camera
    assert moved.lamp.azimuth + moved.camera.yaw == pytest.approx(0.4)
    assert camera_moved(scene, 3) == moved


def test_different_things_are_refused():
    scene = Scene(things=(Thing(kind="cube", color="red"),))
    with pytest.raises(InputError, match="same things"):
        motion(scene, scene.with_(0, kind="mug"), 16)
    with pytest.raises(InputError, match="pairs"):
        motion([scene, scene], scene, 16)
    with pytest.raises(InputError, match="points"):
        follow(scene, scene, np.zeros(2), 16)
    assert torch.isfinite(motion(scene, scene.with_(0, z=50.0), 16).flow).all()
