"""Whatever is asked for ends in a picture or in a typed error, and leaves the outside alone."""

import math

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffwright.core.errors import DiffwrightError
from tests.support import text_standins as standins

WILD = (0.0, float("nan"), float("inf"), -1e9, 1e9, -3.0, 0.5)
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!?&"
TEXTS = st.one_of(
    *[st.text(LETTERS, min_size=1, max_size=length) for length in (3, 8, 14, 22)],
    st.sampled_from(["", "two words", "A" * 22, "it's", '"', " ", "\n", "naïve", "日本", "A" * 23, "\0"]),
    st.text(max_size=30),
)
STYLES = {
    "font": (["Lato", "serif", "lato "], ["Comic Nothing", "", "x" * 200]),
    "color": (["teal", "dark teal", "#12aB9f"], ["#12", "octarine", ""]),
    "bold": ([True, False], [None]),
    "italic": ([True, False], [None]),
    "instruction": ([None], ["like the sky", " ", "x" * 2000]),
    "mix": ([None], [("Karla", 0.5), ("Karla", 0.1), ("Karla", 7), ("none", 0.5), "Karla", ()]),
    "guidance": ([None, (1, 1), (3.0, 1.5)], [(3.0,), 2.0, (-1, 1), (float("nan"), 1)]),
    "steps": ([None, 1, 2], [0, -1, 2.5]),
}


class Wish:
    """Draws regions of which most can be written in, and some in no way.

    Args:
        seed: of everything drawn.
    """

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def number(self, low, high):
        return (
            float(self.rng.choice(WILD)) if self.rng.random() < 0.01 else float(self.rng.uniform(low, high))
        )

    def size(self):
        return (15, 40) if self.rng.random() < 0.03 else tuple(self.rng.integers(16, 90, 2).tolist())

    def style(self):
        """Of each kind often nothing, mostly something possible, rarely nonsense."""
        chosen = {}
        for name, (fine, odd) in STYLES.items():
            values = odd if self.rng.random() < 0.05 else fine
            if self.rng.random() < 0.4:
                chosen[name] = values[int(self.rng.integers(len(values)))]
        return chosen

    def region(self, size):
        height, width = size
        kind = self.rng.choice(["box", "turned", "turned", "quad", "many", "mask", "odd"])
        if kind == "box":
            x, y = sorted(self.rng.integers(0, width + 1, 2)), sorted(self.rng.integers(0, height + 1, 2))
            return (int(x[0]), int(y[0]), int(x[1]), int(y[1]))
        if kind == "turned":
            reach, angle = min(height, width) * 0.45, self.number(-math.pi, math.pi)
            a, b = reach * self.rng.uniform(0.3, 1), reach * self.rng.uniform(0.05, 0.6)
            u, v = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
            corners = [s * a * u + t * b * v for s, t in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
            return [tuple(np.array([width / 2, height / 2]) + c) for c in corners]
        if kind in ("quad", "many"):
            count = 4 if kind == "quad" else int(self.rng.integers(0, 9))
            return [(self.number(0, width - 1), self.number(0, height - 1)) for _ in range(count)]
        if kind == "mask":
            mask = np.zeros(size, bool)
            x, y = self.rng.integers(width), self.rng.integers(height)
            mask[y : y + self.rng.integers(1, height), x : x + self.rng.integers(1, width)] = True
            return mask & (self.rng.random(size) < self.rng.choice([1.0, 0.5, 0.02]))
        return [None, "nowhere.png", (1, 2, 3), np.ones((3, 3), bool), [], [(0, 0), (1, "x"), (2, 2)]][
            int(self.rng.integers(6))
        ]


def test_a_hundred_and_fifty_requests_end_in_a_picture_or_a_typed_error(monkeypatch):
    editor, done = standins.editor(monkeypatch), []

    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(TEXTS, st.integers(1, 2), st.integers(0, 2**32 - 1))
    def check(text, candidates, seed):
        wish = Wish(seed)
        size = wish.size()
        picture = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        try:
            result = editor.write(picture, wish.region(size), text, candidates=candidates, **wish.style())
        except DiffwrightError:
            done.append(False)
            return
        for image in result.images:
            out = np.asarray(image)
            assert out.shape == picture.shape
            np.testing.assert_array_equal(out[~result.region.mask], picture[~result.region.mask])
        done.append(True)

    check()
    assert len(done) >= 150
    assert 25 < sum(done) < len(done) - 25


def test_regions_alone_are_drawn_or_refused_too():
    """Many more regions than requests, for they are the cheaper part."""
    from diffwright.scenetext.region import choose, put_back, strip_mask, strip_of

    done = 0
    for seed in range(400):
        wish = Wish(seed)
        size = (int(wish.rng.integers(16, 120)), int(wish.rng.integers(16, 120)))
        picture = wish.rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        try:
            region = choose(wish.region(size), size)
        except DiffwrightError:
            continue
        strip = strip_of(picture, region)
        assert strip.shape == (32, 128, 3)
        assert strip_mask(region).any()
        out = put_back(picture, 255 - strip, region)
        np.testing.assert_array_equal(out[~region.mask], picture[~region.mask])
        done += 1
    assert done > 150
