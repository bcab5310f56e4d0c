"""Render a scene and its exact edit, and check that nothing else changed."""

import sys
from dataclasses import replace

from torch.nn.functional import max_pool2d

from diffwright.metrics.pictures import psnr
from diffwright.viz.strips import strip
from diffwright.world.render import render
from diffwright.world.sample import sample


def main(out: str = "exact_edit.png") -> None:
    (scene,) = sample([3], core=True, count=1, style="photo", relation=None)
    edited = replace(scene, things=(replace(scene.things[0], color="purple"),))
    before, after = render(scene), render(edited)
    touched = before.whole.any(1) | after.whole.any(1) | before.shadows.any(1) | after.shadows.any(1)
    touched = (
        max_pool2d(touched[:, None].float(), 3, stride=1, padding=1)[:, 0] > 0
    )  # a pixel of antialiasing
    print("PSNR outside the object and its shadow:", psnr(before.image, after.image, ~touched).item(), "dB")
    pictures = [before.image_u8.numpy()[0], after.image_u8.numpy()[0]]
    strip(pictures, ["before", "the exact truth of the edit"]).save(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
