import numpy as np
import pytest
import torch

from diffwright.core.errors import InputError
from diffwright.world.body import Rows, body_of, unbend
from diffwright.world.edits import HANDLES, dilated, drag_points, edit, handles
from diffwright.world.kinds import SHAPES
from diffwright.world.render import render
from diffwright.world.sample import sample
from diffwright.world.scene import Camera, Scene, Thing


@pytest.fixture(scope="module")
def scenes():
    return sample(list(range(600, 610)), style="photo")


def edited(scene, number):
    first = scene.things[0]
    changes = (
        {"x": first.x + 0.25},
        {"color": "blue" if first.color != "blue" else "red"},
        {"stem": 1.3, "lean": 0.15},
        {"yaw": first.yaw + 0.5, "size": 0.8},
    )
    if number == len(changes):
        return scene.without(0) if len(scene.things) > 1 else scene.with_(0, pose="floating")
    return scene.with_(0, **changes[number])


@pytest.mark.parametrize("number", range(5))
def test_an_edited_scene_equals_the_first_outside_things_and_shadows(scenes, number):
    for scene in scenes:
        truth = edit(scene, edited(scene, number))
        difference = (truth.before.image - truth.after.image)[0].abs().amax(0) * 127.5
        outside = ~dilated(truth.touched, 1)
        assert outside.any()
        assert difference[outside].max() <= 1, scene.seed


def test_vacated_is_what_a_thing_left():
    camera = Camera(target=(0.0, 0.5, 0.0), distance=5.0)
    scene = Scene(
        things=(Thing(kind="cube", color="red"), Thing(kind="mug", color="blue", x=1.0)), camera=camera
    )
    moved = edit(scene, scene.with_(0, x=-0.4))
    assert moved.removed == moved.placed == (0,)
    assert (moved.vacated == moved.before.masks[0, 0] & ~moved.after.masks[0, 0]).all()
    gone = edit(scene, scene.without(0))
    assert gone.removed == (0,)
    assert gone.placed == ()
    assert (gone.vacated == gone.before.masks[0, 0]).all()
    assert not edit(scene, scene).touched.any()


def test_other_changes_are_no_edit():
    scene = Scene(things=(Thing(kind="cube", color="red"),))
    with pytest.raises(InputError, match="change only things"):
        edit(scene, scene.with_(place="moon"))


def test_dilation_grows_by_whole_pixels():
    mask = torch.zeros(7, 7, dtype=torch.bool)
    mask[3, 3] = True
    assert int(dilated(mask, 1).sum()) == 9
    assert int(dilated(mask, 2).sum()) == 25


@pytest.mark.parametrize("kind", SHAPES)
def test_handle_tracks_match_their_closed_form(kind):
    plain = Thing(kind=kind, color="red", x=0.3, z=-0.2, size=1.2)
    shape = SHAPES[kind]
    at = dict(zip(HANDLES, handles(plain), strict=True))
    assert np.allclose(at["base"], [0.3, 0, -0.2])
    assert np.allclose(at["top"], [0.3, 1.2 * shape.height, -0.2])
    tall = dict(zip(HANDLES, handles(Thing(kind=kind, color="red", stem=1.5)), strict=True))
    assert np.allclose(tall["top"], [0, shape.height * (1 + 0.5 * 0.45), 0])
    wide = dict(zip(HANDLES, handles(Thing(kind=kind, color="red", width=1.3)), strict=True))
    assert np.allclose(wide["right"], [1.3 * shape.half_width, shape.height / 2, 0])
    leaning = dict(zip(HANDLES, handles(Thing(kind=kind, color="red", lean=0.2)), strict=True))
    assert np.allclose(leaning["top"], [0.2 * shape.height, shape.height, 0])


def test_world_and_object_coordinates_are_inverse():
    thing = Thing(
        kind="tree", color="red", pose="tilted", yaw=0.7, stem=1.4, lean=-0.2, width=0.8, size=0.9, x=1.0
    )
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3)) + np.array([0, 1, 0])
    body = body_of(thing)
    rows = Rows(torch.tensor(body.row())[:, None].expand(-1, 50))
    back = unbend(rows.point_to_object(torch.from_numpy(body.to_world(points)).T), rows.warp)
    assert np.allclose(torch.stack(back, 1).numpy(), points, atol=1e-9)


def test_drag_points_lie_on_the_thing_before_and_after(scenes):
    found = 0
    for scene in scenes[:5]:
        after = scene.with_(0, stem=1.2, lean=0.1)
        start, end = drag_points(scene, after, 0)
        for picture, points in ((render(scene), start), (render(after), end)):
            grown = dilated(picture.masks[0, 0], 1)
            assert all(grown[round(y), round(x)] for x, y in points)
        found += len(start)
    assert found >= 10
