import math
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch

from diffwright.bench import t2i
from diffwright.bench.t2i import linear_code
from diffwright.core.errors import InputError
from diffwright.core.images import save_png
from diffwright.metrics import judge as metrics
from diffwright.world.captions import labels
from diffwright.world.scene import Scene, Thing


def test_the_linear_code_keeps_eight_numbers_a_patch_exactly_where_that_is_enough():
    flat = torch.rand(4, 3, 16, 16)[..., ::4, ::4].repeat_interleave(4, 2).repeat_interleave(4, 3) * 2 - 1
    assert (linear_code(flat, flat) - flat).abs().max() < 1e-5
    noise = torch.rand(4, 3, 16, 16) * 2 - 1
    assert (linear_code(noise, noise) - noise).abs().mean() > 0.1


class Judge:
    """Knows every picture by its first pixel, but takes each pose for standing and every red for blue."""

    attributes: ClassVar = {
        "color": ("red", "blue"),
        "style": ("photo", "night"),
        "pose": ("standing", "lying"),
    }

    def __init__(self, scenes):
        self.known = [{name: labels(scene)[name] for name in self.attributes} for scene in scenes]

    def answers(self, images):
        told = [self.known[int(image[0, 0, 0])] for image in images]
        return [{**t, "pose": "standing", "color": t["color"].replace("red", "blue")} for t in told]


@pytest.fixture
def judged():
    made = [("red", "photo", "lying"), ("blue", "photo", "standing"), ("blue", "night", "lying")]
    scenes = [
        Scene(things=(Thing(kind="mug", color=color, pose=pose),), style=style) for color, style, pose in made
    ]
    pictures = torch.arange(3.0).view(-1, 1, 1, 1).expand(-1, 3, 4, 4) / 127.5 - 1
    return Judge(scenes), scenes, pictures


def test_the_judge_is_measured_on_both_vocabularies(judged, monkeypatch):
    monkeypatch.setattr(t2i, "round_trip", lambda _, images: images)
    full, core = t2i._judged(None, *judged), t2i._judged_core(None, *judged)
    assert [full[f"judge_{name}"].value for name in Judge.attributes] == [0.5, 1, 0.5]
    assert full["judge_accuracy_min"].value == full["judge_vae_accuracy_min"].value == 0.5
    assert full["judge_accuracy_min"].note == "the lowest is color; 3 test renders, full vocabulary"
    assert full["judge_accuracy_min_a_style"].value == 0
    assert full["judge_accuracy_min_a_style"].note.startswith("the lowest is night")
    assert set(core) == {"judge_accuracy_min_core", "judge_vae_accuracy_min_core"}
    assert core["judge_accuracy_min_core"].value == 0.5
    assert "core vocabulary: color 0.5, style 1, pose 0.5" in core["judge_accuracy_min_core"].note


def test_guesses_on_noise_and_blanks_are_figures_of_each_attribute():
    torch.manual_seed(0)
    judge = metrics.Judge({"color": ("red", "blue"), "count": (1, 2, 3)}, size=16, widths=(8, 8, 8)).eval()
    figures = t2i._guessed(judge)
    names = {f"judge_confidence_{sort}_{name}" for sort in ("noise", "blank") for name in judge.attributes}
    assert set(figures) == names
    assert all(1 / len(judge.attributes[key.split("_")[-1]]) <= f.value <= 1 for key, f in figures.items())
    assert figures["judge_confidence_blank_count"].note.startswith("mean, chance 0.33; answers ")


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


@pytest.mark.parametrize("numbers", ["float32", "bfloat16"])
def test_the_time_says_in_which_precision_it_was_taken(monkeypatch, numbers):
    asked = []
    monkeypatch.setattr("diffwright.diffusion.sampling.generate", lambda *_, **options: asked.append(options))
    pipe = SimpleNamespace(unet=SimpleNamespace(dtype=getattr(torch, numbers)))
    assert t2i._seconds(pipe, 2).note == f"one picture, 25 steps, {numbers} without autocast"
    assert not any(options.get("half") for options in asked)
