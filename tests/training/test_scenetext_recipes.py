"""The scene text recipes at toy size, in the order in which they build on each other."""

import json

import pytest
import torch
from safetensors.torch import load_file

from diffwright.core.errors import Cancelled, InputError
from diffwright.scenetext.model import SceneTextModel
from diffwright.scenetext.nets import Reader
from diffwright.training.catalog import train
from diffwright.training.lettering.bank import Strips, draw_strips
from diffwright.training.lettering.join import join
from diffwright.training.recipes.scenetext import INSTRUCTION_ONLY, PAPER, SceneTextOptions, SceneTextTask
from diffwright.training.store import Store
from diffwright.weights.module import save_module
from tests.support.tiny import folder as pipeline_folder

TOY = {"samples": 4, "batch_size": 2, "precision": "fp32", "evaluate_minutes": None, "warmup_samples": 0,
       "threads": 1}  # fmt: skip
NETS = {"widths": (16, 16), "character_layers": 1}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenetext")
    model = pipeline_folder("pocket", root / "pocket")
    return {"cache": root / "strips", "count": 6, "workers": 1, "fixed": 2, "model": str(model)}


@pytest.fixture(scope="module")
def reader(base, tmp_path_factory):
    out = tmp_path_factory.mktemp("reader")
    small = {"widths": (8, 8, 8, 16), "layers": 1, "decoded": 0.5}
    result = train("reader", {"out": out, **TOY}, {**base, **small}, lambda *_: None)
    assert {"reader_accuracy", "reader_accuracy_decoded"} <= set(result)
    return out / "model"


@pytest.fixture(scope="module")
def options(base, reader):
    early = {"reading_after": 0, "reading_every": 1, "reading_below": 1.0}
    return {**base, **NETS, **early, "reader": reader}


def task(options, **more):
    return SceneTextTask(SceneTextOptions(**{**options, **more}))


def test_an_interrupted_run_ends_like_one_that_was_not(options, reader, tmp_path):
    common = {**TOY, "seed": 3}
    result = train("scenetext", {**common, "out": tmp_path / "whole"}, options, lambda *_: None)
    assert {"error_fixed", "reader_accuracy", "reader_ceiling"} <= set(result)
    with pytest.raises(Cancelled):
        train("scenetext", {**common, "out": tmp_path / "cut"}, options, lambda what, done, total: done >= 2)
    assert Store(tmp_path / "cut" / "checkpoints").load().step == 1
    torch.rand(7)
    train("scenetext", {**common, "out": tmp_path / "cut"}, options, lambda *_: None)
    whole, cut = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    saved = SceneTextModel.from_pretrained(tmp_path / "whole" / "model")
    kept = load_file(reader / "model.safetensors")
    assert all(torch.equal(kept[name].float(), t) for name, t in saved.reader.state_dict().items())
    steps = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert {"error", "attention", "reading"} <= {name for step in steps for name in step}


def test_all_losses_reach_the_network_and_none_the_frozen_parts(options):
    made = task(options)
    loss, figures = made.loss(made.modules(), made.batch(torch.arange(4)), torch.Generator().manual_seed(0))
    loss.backward()
    assert torch.isfinite(loss)
    assert float(figures["attention"]) > 0
    assert float(figures["reading"]) > 0
    for name, module in made.modules().items():
        assert any(p.grad is not None and bool(p.grad.any()) for p in module.parameters()), name
    assert all(p.grad is None for p in (*made.text.reader.parameters(), *made.vae.parameters()))


def test_the_papers_arm_and_the_one_without_characters_learn_too(options):
    for changes in (PAPER, INSTRUCTION_ONLY):
        made = task(options, **changes)
        loss, figures = made.loss(
            made.modules(), made.batch(torch.arange(2)), torch.Generator().manual_seed(0)
        )
        assert torch.isfinite(loss)
        assert "attention" not in figures
    assert "characters" not in made.modules()


def test_a_batch_is_a_function_of_its_numbers_and_leaves_conditions_out(options):
    made = task(options)
    first, second = made.batch(torch.arange(64)), made.batch(torch.arange(64))
    assert torch.equal(first.latents, second.latents)
    assert first.words.sentences == second.words.sentences
    without = [(w is None, s is None) for w, s in zip(first.words.texts, first.words.sentences, strict=True)]
    assert 0 < sum(w for w, _ in without) < 24
    assert 0 < sum(s for _, s in without) < 24
    assert set(first.mask.unique().tolist()) == {0.0, 1.0}


def test_strips_are_drawn_once_and_other_settings_are_refused(base, options, tmp_path):
    strips = Strips(base["cache"] / "train")
    ask, boxes = strips.words(0)
    assert len(boxes) == len(ask.text)
    assert strips.pictures([0, 5], 1).shape == (2, 3, 32, 128)
    before = (base["cache"] / "train" / "00000.npy").stat().st_mtime_ns
    draw_strips(base["cache"] / "train", 6, workers=1, shard=6)
    assert (base["cache"] / "train" / "00000.npy").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="other settings"):
        draw_strips(base["cache"] / "train", 6, seed=1, workers=1, shard=6)
    with pytest.raises(InputError, match="no drawn strips"):
        Strips(tmp_path)


def test_a_checkpoint_of_stable_diffusions_shape_is_taught(base, tmp_path):
    model = pipeline_folder("inpaint", tmp_path / "sd")
    small = {**base, "model": str(model), "enlarge": 1, "width": 8}
    result = train("scenetext-sd", {"out": tmp_path / "run", **TOY, "samples": 2}, small, lambda *_: None)
    assert result["error_fixed"] > 0
    again = {**small, "init": tmp_path / "run" / "model"}
    train("scenetext-sd", {"out": tmp_path / "more", **TOY, "samples": 2}, again, lambda *_: None)


def test_a_reader_that_went_on_learning_is_put_into_the_model(tmp_path):
    torch.manual_seed(0)
    SceneTextModel(**NETS, reader_widths=(8, 8, 8, 8)).save_pretrained(tmp_path / "model")
    other = Reader((8, 16, 8, 16), 1)
    save_module(tmp_path / "reader", other, {"widths": [8, 16, 8, 16], "layers": 1})
    joined = join(tmp_path / "model", tmp_path / "reader", tmp_path / "out", guidance=(2.0, 1.0))
    again = SceneTextModel.from_pretrained(tmp_path / "out")
    assert again.guidance == (2.0, 1.0)
    for name, tensor in joined.state_dict().items():
        assert torch.equal(tensor.half().float(), again.state_dict()[name]), name
    assert torch.equal(joined.reader.out.weight, other.out.weight)
    before = SceneTextModel.from_pretrained(tmp_path / "model")
    assert torch.equal(joined.unet.conv_in.weight, before.unet.conv_in.weight)


def test_a_tiny_model_learns_one_batch(options):
    made = task(options, reading_weight=0.0, attention_weight=0.0, drop_both=0.0, drop_characters=0.0)
    batch, parts = made.batch(torch.arange(2)), made.modules()
    optimizer = torch.optim.AdamW([p for part in parts.values() for p in part.parameters()], 3e-3)
    errors = []
    for _ in range(120):
        loss, figures = made.loss(parts, batch, torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(float(figures["error"]))
    assert errors[-1] < 0.5 * errors[0]
