"""What the tracing claims are tested on: prompts, their subjects, and seeds, fixed before anything was measured.

Cost of the full bench on ``pocket`` (6 text layers; 36 UNet layers and 11 resnet branches). A UNet row took 8.8 ms
of one core in bfloat16, 96 rows at once, decoding and judging included:

| what | runs | UNet rows a run | rows | minutes of one core |
|---|---|---|---|---|
| clean and corrupted, to find samples that lose something | 48 prompts x 3 seeds x 2 words | 60 | 17,280 | 3 |
| text states, attention and MLP, about 6 tokens | 48 x 3 | 2,250 | 324,000 | 48 |
| UNet layers and branches | 48 x 3 | 1,500 | 216,000 | 32 |
| pictures of the best states | 48 | 120 | 5,760 | 1 |
| UNet layers and branches at random weights | 12 x 1 | 1,500 | 18,000 | 3 |
| the same of the trained model, on another word and on the subject (`controls`) | 12 x 2 | 1,500 | 36,000 | 6 |
| text embedding, with two controls (no UNet) | 48 x 3 x 3 | 0 | 0 | 2 |

That is an upper end, 89 minutes of one core: samples in which the noise takes nothing away are not traced. Speed and
exactness take 3 minutes more. ``--quick`` takes one prompt an attribute, one seed and 4 steps: 6,500 rows, 1 minute.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A prompt whose subject states one value that the judge reads.

    Attributes:
        attribute: ``kind`` (the paper's object), ``color``, ``style``, ``viewpoint``, ``count`` or ``pose``
            (its action).
        value: what the judge should see.
        prompt: the text.
        subject: its words that are corrupted.
        other: a word that does not state the value, corrupted instead as a control.
    """

    attribute: str
    value: str
    prompt: str
    subject: str
    other: str


SEEDS = (11, 12, 13)
STEPS = 15
NOISE = 3.0

CASES = (
    Case("kind", "mug", "a photo of a mug on grass", "mug", "grass"),
    Case("kind", "snowman", "an image of a blue snowman, on grass", "blue snowman", "grass"),
    Case("kind", "house", "a house on snow from above", "house", "snow"),
    Case("kind", "car", "a photo of a red car on sand", "red car", "sand"),
    Case("kind", "rocket", "there is a rocket on sand, at eye level", "rocket", "sand"),
    Case("kind", "mushroom", "a watercolor painting of a yellow mushroom on snow", "yellow mushroom", "snow"),
    Case("kind", "duck", "a pencil drawing of a duck on tiles", "duck", "tiles"),
    Case("kind", "tree", "a photo of a green tree on the moon", "green tree", "moon"),
    Case("color", "red", "a photo of a red mug on grass", "red", "grass"),
    Case("color", "green", "a photo of a green house on sand", "green house", "sand"),
    Case("color", "blue", "a blue cube on sand from above", "blue", "sand"),
    Case("color", "pink", "an image of a pink mushroom, on grass", "pink mushroom", "grass"),
    Case("color", "yellow", "there is a yellow cone on snow", "yellow", "snow"),
    Case("color", "orange", "a watercolor painting of an orange torus on snow", "orange torus", "snow"),
    Case("color", "purple", "a pencil drawing of a purple sphere on tiles", "purple", "tiles"),
    Case("color", "white", "a photo of a white rocket on the moon", "white rocket", "moon"),
    Case("style", "pencil", "a pencil drawing of a red mug on grass", "pencil drawing", "grass"),
    Case("style", "watercolor", "a watercolor painting of a green tree on sand", "watercolor painting", "sand"),
    Case("style", "pixel art", "pixel art of a purple car on grass", "pixel art", "grass"),
    Case("style", "photo", "a photo of a white snowman on sand", "photo", "sand"),
    Case("style", "pencil", "a blue house on snow, drawn in pencil", "drawn in pencil", "snow"),
    Case("style", "watercolor", "a yellow cone on tiles, painted in watercolor", "painted in watercolor", "tiles"),
    Case("style", "pixel art", "a pink duck on snow in the style of pixel art", "pixel art", "snow"),
    Case("style", "pencil", "a pencil sketch of an orange cube on the moon", "pencil sketch", "moon"),
    Case("viewpoint", "from above", "a photo of a red mug on grass from above", "from above", "grass"),
    Case("viewpoint", "low angle", "a blue house on sand from a low angle", "from a low angle", "sand"),
    Case("viewpoint", "eye level", "a green tree on snow at eye level", "at eye level", "snow"),
    Case("viewpoint", "from above", "a view from above of a yellow cone on tiles", "view from above", "tiles"),
    Case("viewpoint", "low angle", "a low angle view of a purple car on grass", "low angle view", "grass"),
    Case("viewpoint", "eye level", "an eye level view of a white rocket on sand", "eye level view", "sand"),
    Case("viewpoint", "from above", "an image of an orange torus, on snow, seen from above", "seen from above", "snow"),
    Case("viewpoint", "low angle", "a red snowman on tiles, seen from a low angle", "seen from a low angle", "tiles"),
    Case("count", "2", "a photo of two red cones on grass", "two", "grass"),
    Case("count", "2", "there are two green trees on snow", "two green trees", "snow"),
    Case("count", "3", "three blue spheres on sand", "three", "sand"),
    Case("count", "3", "an image of three yellow cones, on tiles", "three yellow cones", "tiles"),
    Case("count", "2", "a photo of two purple cars on grass", "two purple cars", "grass"),
    Case("count", "3", "three white tori on snow", "three white tori", "snow"),
    Case("count", "2", "two orange houses on the moon", "two orange houses", "moon"),
    Case("count", "3", "a photo of three red snowmen on grass", "three red snowmen", "grass"),
    Case("pose", "lying", "a red mug lying on its side on grass", "lying on its side", "grass"),
    Case("pose", "tilted", "a photo of a blue house tilted to one side on sand", "tilted to one side", "sand"),
    Case("pose", "floating", "a green cone floating above grass", "floating", "grass"),
    Case("pose", "standing", "a yellow rocket standing on snow", "standing", "snow"),
    Case("pose", "lying", "a picture of a purple car that is lying on its side on tiles", "lying on its side", "tiles"),
    Case("pose", "floating", "a photo of a pink duck floating above sand", "floating above", "sand"),
    Case("pose", "tilted", "a white snowman tilted to one side on the moon", "tilted to one side", "moon"),
    Case("pose", "lying", "an orange tree lying on its side on snow", "lying on its side", "snow"),
)  # fmt: skip
