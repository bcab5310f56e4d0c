"""Whatever is asked for ends in a picture or in a typed error."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffwright.core.errors import DiffwrightError
from diffwright.editing.editor import ImageEditor
from diffwright.editing.operations import TASKS, Drag, Move, Paste, Remove, Replace, Resize
from diffwright.editing.presets import PRESETS
from tests.editing.conftest import quick
from tests.editing.test_image_prompt import tower, trained
from tests.support.tiny import pipeline

WILD = (0.0, float("nan"), float("inf"), -1e9, 1e9, -1.0, 60.0)
SIDES = st.one_of(st.integers(16, 40), st.integers(16, 40), st.sampled_from([15, 16, 97, 120]))


class Wish:
    """Draws operations of which most can be done, and some in no way.

    Args:
        seed: of everything drawn.
    """

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def odd(self, share=0.04):
        return self.rng.random() < share

    def number(self, low, high):
        return float(self.rng.choice(WILD)) if self.odd(0.02) else float(self.rng.uniform(low, high))

    def point(self, size):
        return self.number(0, size[1] - 1), self.number(0, size[0] - 1)

    def picture(self, size):
        return self.rng.integers(0, 256, (*size, 3)).astype(np.uint8)

    def mask(self, size):
        """A box, often; scattered pixels, one pixel, everything; rarely nothing, or another size."""
        height, width = size
        if self.odd():
            return np.ones((height + 1, width), bool) if self.odd(0.5) else np.zeros(size, bool)
        kind = self.rng.choice(["box", "box", "box", "speck", "scatter", "all"])
        if kind == "scatter":
            return self.rng.random(size) < 0.1
        mask = np.zeros(size, bool)
        x, y = self.rng.integers(width), self.rng.integers(height)
        w, h = (1, 1) if kind == "speck" else (self.rng.integers(1, width), self.rng.integers(1, height))
        mask[y : y + h, x : x + w] = True
        return mask if kind != "all" else np.ones(size, bool)

    def operation(self, task, size):
        by = (self.number(-12, 12), self.number(-12, 12))
        scale = self.number(0.2, 3)
        if task == "drag":
            count = 0 if self.odd() else int(self.rng.integers(1, 5))
            starts, ends = (tuple(self.point(size) for _ in range(count)) for _ in range(2))
            return Drag(starts, ends, None if self.odd(0.5) else self.mask(size))
        if task in ("replace", "paste"):
            shape = tuple(self.rng.integers(16, 48, 2).tolist())
            other, theirs = self.picture(shape), self.mask(shape)
            if task == "replace":
                return Replace(self.mask(size), other, theirs)
            return Paste(other, theirs, self.point(size), scale)
        if task == "move":
            return Move(self.mask(size), by, 1.0 if self.odd(0.5) else scale)
        return Resize(self.mask(size), scale) if task == "resize" else Remove(self.mask(size))


@pytest.mark.slow
def test_five_hundred_requests_end_in_a_picture_or_a_typed_error():
    pipe, done = pipeline("sd1"), []
    look = ((None, None), (trained(pipe.unet), tower()))
    assert (
        max(step.passes for step in quick("reference", steps=4, passes=2, travel=(0.0, 1.0)).steps_taken())
        == 2
    )

    @settings(max_examples=500, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        st.tuples(SIDES, SIDES),
        st.lists(st.sampled_from(TASKS), min_size=1, max_size=3),
        st.sampled_from(sorted(PRESETS)),
        st.booleans(),
        st.integers(0, 2**32 - 1),
    )
    def check(size, tasks, name, keep_outside, seed):
        wish = Wish(seed)
        window = {"travel": (0.0, 1.0), "noisy": (0.0, 1.0), "bank_from": 0.0, "begin_at": 0.0}
        editor = ImageEditor(pipe, quick(name, steps=4, guidance=1.0, passes=2, **window), *look[seed % 2])
        picture = wish.picture(size)
        try:
            editor.set_image(picture)
            result = editor.edit([wish.operation(task, size) for task in tasks], keep_outside=keep_outside)
        except DiffwrightError:
            done.append(False)
            return
        out = np.asarray(result.images[0])
        assert out.shape == picture.shape
        assert out.dtype == np.uint8
        done.append(True)

    check()
    assert len(done) >= 500
    assert 50 < sum(done) < len(done) - 50
