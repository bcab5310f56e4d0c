import json

import numpy as np
import pytest
import torch

from diffwright.diffusion.prompts import encode
from diffwright.editing.image_prompt import ImagePrompt
from diffwright.training.catalog import train
from diffwright.training.recipes.image_prompt import ImagePromptOptions, ImagePromptTask
from diffwright.weights.load import load
from diffwright.weights.module import TENSORS
from diffwright.world.cache import SHARD
from diffwright.world.render import render
from diffwright.world.sample import sample
from diffwright.world.scene_json import scene_to_json
from tests.editing.test_image_prompt import tower
from tests.support.tiny import folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    root = tmp_path_factory.mktemp("cache")
    scenes = sample(list(range(8)), core=True)
    images = render(scenes).image_u8.numpy()
    np.save(root / "00000.npy", np.tile(images, (SHARD // 8, 1, 1, 1)))
    lines = [json.dumps(scene_to_json(scene)) for scene in scenes] * (SHARD // 8)
    (root / "00000.jsonl").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = folder("pocket", tmp_path_factory.mktemp("model") / "tiny")
    tower().model.save_pretrained(path / "image_encoder")
    return path


def options(cache, model, **more):
    return ImagePromptOptions(cache=cache, model=str(model), width=64, queries=3, fixed=6, **more)


def test_it_learns_is_saved_and_goes_on(cache, model, tmp_path):
    settings = {"samples": 8, "batch_size": 4, "precision": "fp32", "evaluate_minutes": None, "ema": 0}
    small = {"cache": cache, "model": str(model), "width": 64, "queries": 3, "fixed": 6}
    result = train("image-prompt", {"out": tmp_path / "a", **settings}, small, lambda *_: None)
    assert result["samples"] == 8
    assert {"loss_right_picture", "loss_other_picture", "loss_no_picture"} <= set(result)
    saved = ImagePrompt.from_pretrained(tmp_path / "a" / "model")
    pipe = load(model)
    saved.check_fit(pipe.unet, tower())
    assert "load_ip_adapter" in (tmp_path / "a" / "model" / "README.md").read_text()
    pipe.load_ip_adapter(
        str(tmp_path / "a" / "model"), subfolder="", weight_name=TENSORS, image_encoder_folder=None
    )
    more = {**small, "init": tmp_path / "a" / "model"}
    assert train("image-prompt", {"out": tmp_path / "b", **settings}, more, lambda *_: None)["samples"] == 8


def test_only_the_image_prompt_learns(cache, model):
    task = ImagePromptTask(options(cache, model))
    modules = task.modules()
    batch = task.batch(torch.arange(4))
    loss, _ = task.loss(modules, batch, torch.Generator().manual_seed(0))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in modules["image_prompt"].parameters())
    assert all(p.grad is None for p in task.unet.parameters())
    assert all(p.grad is None for p in task.tower.parameters())
    assert encode(task.pipe, ["a cat"]).shape[0] == 1


def test_a_batch_is_a_function_of_its_numbers_and_leaves_words_and_pictures_out(cache, model):
    task = ImagePromptTask(options(cache, model))
    first, second = task.batch(torch.arange(64)), task.batch(torch.arange(64))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    _, pixels, ids = first
    blind = (pixels == 0).all(dim=(1, 2, 3))
    wordless = (ids == task._ids([""])).all(dim=1)
    assert 0 < blind.sum() < 20
    assert 8 < wordless.sum() < 40
    assert (blind & ~wordless).any() or (~blind & wordless).any()
