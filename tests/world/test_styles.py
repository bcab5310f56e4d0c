import colorsys

import torch

from diffwright.world.render import render
from diffwright.world.scene import Camera, Scene, Thing
from diffwright.world.vocabulary import COLORS, STYLES

CHROMATIC = [name for name in COLORS if name not in ("white", "black", "brown")]
CAMERA = Camera(target=(0.0, 0.5, 0.0), distance=3.2, pitch=0.25)


def hue(rgb):
    return colorsys.rgb_to_hsv(*rgb)[0]


def nearest(rgb):
    def gap(name):
        d = abs(hue(rgb) - hue(COLORS[name]))
        return min(d, 1 - d)

    return min(CHROMATIC, key=gap)


def test_styles_keep_the_hue_of_things():
    kinds = ("sphere", "cube", "torus")
    cells = [(kind, color, style) for style in STYLES for color in CHROMATIC for kind in kinds]
    scenes = [
        Scene(things=(Thing(kind=kind, color=color, yaw=0.5),), style=style, camera=CAMERA, place="snow")
        for kind, color, style in cells
    ]
    drawn = render(scenes, 32)
    right = dict.fromkeys(STYLES, 0)
    for i, (_, color, style) in enumerate(cells):
        inside = drawn.image[i][:, drawn.masks[i, 0]]
        right[style] += nearest(((inside.mean(1) + 1) / 2).tolist()) == color
    assert min(right.values()) >= 0.85 * len(CHROMATIC) * len(kinds), right


def test_white_and_black_stay_the_lightest_and_darkest():
    for style in STYLES:
        scenes = [
            Scene(things=(Thing(kind="cube", color=color),), style=style, camera=CAMERA)
            for color in ("white", "red", "black")
        ]
        drawn = render(scenes, 32)
        white, red, black = (drawn.image[i][:, drawn.masks[i, 0]].mean() for i in range(3))
        assert white > red > black, style


def test_a_styled_picture_stays_in_range():
    scene = Scene(things=(Thing(kind="cube", color="white", material="shiny"),), camera=CAMERA)
    assert all(torch.isfinite(render(scene.with_(style=s), 32).image).all() for s in STYLES)
