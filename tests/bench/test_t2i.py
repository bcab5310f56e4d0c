import math

import numpy as np
import pytest
import torch

from diffwright.bench import t2i
from diffwright.bench.t2i import linear_code, macro, share_right
from diffwright.core.errors import InputError
from diffwright.core.images import save_png
from diffwright.world.captions import from_values


def test_the_linear_code_keeps_eight_numbers_a_patch_exactly_where_that_is_enough():
    flat = torch.rand(4, 3, 16, 16)[..., ::4, ::4].repeat_interleave(4, 2).repeat_interleave(4, 3) * 2 - 1
    assert (linear_code(flat, flat) - flat).abs().max() < 1e-5
    noise = torch.rand(4, 3, 16, 16) * 2 - 1
    assert (linear_code(noise, noise) - noise).abs().mean() > 0.1


def test_each_stated_value_weighs_equally():
    prompts = [from_values(kind="mug")] * 3 + [from_values(kind="duck")]
    answers = [{"kind": "mug"}] * 3 + [{"kind": "mug"}]
    assert share_right("kind", prompts, answers) == 0.5


def test_each_true_value_weighs_equally():
    truth = [{"color": "red"}] * 9 + [{"color": "blue"}]
    assert macro("color", [{"color": "red"}] * 10, truth) == 0.5


@pytest.mark.parametrize("name", ["nowhere", "notes.txt", "empty"])
def test_a_folder_without_photographs_is_refused_before_anything_is_loaded(tmp_path, monkeypatch, name):
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr("diffwright.weights.load.load", lambda *_: pytest.fail("a model was loaded"))
    with pytest.raises(InputError, match="JPEG or PNG"):
        t2i.run(quick=True, photos=tmp_path / name)


def test_photographs_are_cut_to_whole_patches_and_their_figures_averaged(tmp_path, monkeypatch):
    for name, level in (("a", 0), ("b", 100)):
        save_png(np.full((17, 22, 3), level, np.uint8), tmp_path / f"{name}.png")
    seen = []

    def wrong(_, image):
        seen.append(tuple(image.shape))
        return image + 0.2 * (len(seen) == 1) + 0.02 * (len(seen) == 2)

    monkeypatch.setattr(t2i, "round_trip", wrong)
    figure = t2i._photo_psnr(None, t2i._photos(tmp_path), 8)
    assert seen == [(1, 3, 16, 20)] * 2
    assert math.isclose(figure.value, 30, abs_tol=1e-3), "mean of 20 dB and 40 dB"
    assert figure.note.startswith("2 photographs")
