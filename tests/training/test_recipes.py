"""Every recipe at toy size, in the order in which they build on each other."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from diffwright.core.errors import Cancelled, ConfigError
from diffwright.diffusion.sampling import generate
from diffwright.metrics.judge import Judge
from diffwright.training import loop
from diffwright.training.catalog import RECIPES, train
from diffwright.training.corpus import LETTERS, Renders, drawn_words, textures
from diffwright.training.recipes.vae import normalise
from diffwright.training.starts import join_towers
from diffwright.training.store import Store
from diffwright.training.tokens import learn_tokenizer
from diffwright.weights.load import load
from diffwright.world.cache import SHARD
from diffwright.world.render import render
from diffwright.world.sample import sample
from diffwright.world.scene_json import scene_to_json

TOY = {"samples": 8, "batch_size": 4, "precision": "fp32", "evaluate_minutes": None, "warmup_samples": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("recipes")


@pytest.fixture(scope="module")
def cache(folder):
    scenes = sample(list(range(20)), core=True)
    images = render(scenes).image_u8.numpy()
    (folder / "cache").mkdir()
    np.save(folder / "cache" / "00000.npy", np.tile(images, (SHARD // 20, 1, 1, 1)))
    lines = [json.dumps(scene_to_json(scene)) for scene in scenes] * (SHARD // 20)
    (folder / "cache" / "00000.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "cache"


def run(name, folder, **options):
    out = folder / name
    if not (out / "result.json").exists():
        result = train(name, {"out": out, **TOY}, options, progress=lambda *_: None)
        assert result["samples"] == 8
    return out / "model"


@pytest.fixture(scope="module")
def vae(folder, cache):
    return run("vae", folder, cache=cache, channels=(8, 8, 16), pool=4, fixed=2)


@pytest.fixture(scope="module")
def clip(folder, cache):
    return run("clip", folder, cache=cache, width=64, layers=2, words=100, fixed=4)


@pytest.fixture(scope="module")
def pocket(folder, cache, vae, clip):
    return run("t2i", folder, cache=cache, vae=vae, clip=clip, widths=(32, 32, 32))


def test_the_autoencoder_is_stock_and_has_unit_latents(vae, cache):
    from diffusers import AutoencoderKL

    model = AutoencoderKL.from_pretrained(vae, torch_dtype=torch.float32)
    assert (model.config.latent_channels, model.config.scaling_factor) == (8, 1.0)
    z = model.encode(Renders(cache).pictures(list(range(20)))).latent_dist.mean
    assert z.mean(dim=(0, 2, 3)).abs().max() < 0.05
    assert abs(float(z.detach().std()) - 1) < 0.05


def test_normalising_latents_leaves_reconstructions_alone(vae):
    from diffusers import AutoencoderKL

    model = AutoencoderKL.from_pretrained(vae, torch_dtype=torch.float32)
    images = torch.rand(4, 3, 64, 64) * 2 - 1
    before = model.decode(model.encode(images).latent_dist.mean).sample
    normalise(model, images)
    after = model.decode(model.encode(images).latent_dist.mean).sample
    assert (before - after).abs().max() < 1e-4


def test_the_judge_learns_from_renders_and_their_round_trips(folder, cache, vae):
    model = run("judge", folder, cache=cache, vae=vae, round_trips=4, fixed=6)
    judge = Judge.from_pretrained(str(model))
    assert "material" not in judge.attributes
    figures = json.loads((folder / "judge" / "result.json").read_text())
    for name in judge.attributes:
        assert {name, f"vae_{name}", f"noise_confidence_{name}", f"blank_confidence_{name}"} <= set(figures)
    assert len(judge.answers(Renders(cache).cache.gather([0, 1]))) == 2


def test_the_pipeline_opens_in_stock_diffusers_and_in_ours(pocket):
    from diffusers import StableDiffusionPipeline

    stock = StableDiffusionPipeline.from_pretrained(pocket)
    stock.set_progress_bar_config(disable=True)
    theirs = stock(
        "a red mug", num_inference_steps=2, generator=torch.Generator().manual_seed(0), guidance_scale=3.0,
        output_type="np",
    ).images[0]  # fmt: skip
    ours = generate(load(pocket), "a red mug", seeds=0, steps=2, guidance=3.0)[0]
    assert ours.shape == (64, 64, 3)
    assert np.abs(ours.astype(float) - theirs * 255).max() <= 1


def test_the_towers_can_be_joined_again(pocket, clip):
    whole, joined = join_towers(clip), join_towers(pocket)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(joined.state_dict()[name].float(), tensor, atol=2e-3, rtol=2e-3, msg=name)


def test_an_exported_pipeline_names_no_path_of_this_machine(pocket):
    for config in pocket.rglob("*.json"):
        assert "_name_or_path" not in config.read_text("utf-8"), config


def test_recipes_start_from_a_pipeline(folder, cache, pocket):
    for name in ("vae", "clip", "t2i"):
        more = {"pool": 4, "fixed": 2} if name == "vae" else {"fixed": 4} if name == "clip" else {}
        more |= {"vae": pocket, "clip": pocket} if name == "t2i" else {}
        result = train(
            name, {"out": folder / f"{name}-again", **TOY, "samples": 4}, {"cache": cache, "init": pocket, **more},
            progress=lambda *_: None,
        )  # fmt: skip
        assert result["samples"] == 4


def test_init_loads_the_weights_of_the_pipeline(cache, pocket):
    from diffwright.training.recipes.t2i import TextToImageOptions, TextToImageTask
    from diffwright.training.recipes.vae import VaeOptions, VaeTask

    autoencoder = VaeTask(VaeOptions(cache=cache, pool=2, fixed=2, init=pocket))
    denoiser = TextToImageTask(TextToImageOptions(cache=cache, vae=pocket, clip=pocket, init=pocket))
    for part, module in (("vae", autoencoder.vae), ("unet", denoiser.unet)):
        kept = load_file(pocket / part / "diffusion_pytorch_model.safetensors")
        ours = module.state_dict()
        assert ours.keys() == kept.keys()
        for name, tensor in kept.items():
            torch.testing.assert_close(ours[name], tensor.float(), atol=1e-3, rtol=1e-3, msg=name)


def test_a_recipe_that_was_interrupted_ends_like_one_that_was_not(tmp_path, cache):
    small = {"cache": cache, "channels": (8, 8, 16), "pool": 2, "fixed": 2}
    common = {**TOY, "samples": 24, "optimizer": "diffgrad", "seed": 3, "threads": 1}
    train("vae", {**common, "out": tmp_path / "whole"}, small, lambda *_: None)
    with pytest.raises(Cancelled):
        train("vae", {**common, "out": tmp_path / "cut"}, small, lambda what, done, total: done >= 12)
    assert Store(tmp_path / "cut" / "checkpoints").load().step == 3
    torch.rand(7)
    train("vae", {**common, "out": tmp_path / "cut"}, small, lambda *_: None)
    whole, cut = (Store(tmp_path / run / "checkpoints").load() for run in ("whole", "cut"))
    for group in ("model", "ema", "optimizer"):
        assert whole.tensors[group].keys() == cut.tensors[group].keys()
        for name, tensor in whole.tensors[group].items():
            assert torch.equal(tensor, cut.tensors[group][name]), name
    weights = "diffusion_pytorch_model.safetensors"
    first, second = (load_file(tmp_path / run / "model" / weights) for run in ("whole", "cut"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_resume_with_another_autoencoder_is_refused(folder, cache, vae, tmp_path):
    from diffusers import AutoencoderKL

    run("judge", folder, cache=cache, vae=vae, round_trips=4, fixed=6)
    other = AutoencoderKL.from_pretrained(vae, torch_dtype=torch.float32)
    torch.nn.init.zeros_(other.decoder.conv_in.bias)
    other.save_pretrained(tmp_path / "other")
    again = {"out": folder / "judge", **TOY}
    options = {"cache": cache, "round_trips": 4, "fixed": 6}
    with pytest.raises(ConfigError, match=r"vae='[0-9a-f]+' became"):
        train("judge", again, {**options, "vae": tmp_path / "other"}, lambda *_: None)
    with pytest.raises(ConfigError, match="round_trips=4 became 3"):
        train("judge", again, {**options, "vae": vae, "round_trips": 3}, lambda *_: None)
    assert train("judge", again, {**options, "vae": vae}, lambda *_: None)["samples"] == 8


def test_a_batch_is_a_function_of_its_numbers(cache, vae, clip):
    from diffwright.training.recipes.t2i import TextToImageOptions, TextToImageTask

    task = TextToImageTask(TextToImageOptions(cache=cache, vae=vae, clip=clip, widths=(32, 32, 32)))
    numbers = torch.arange(100, 108)
    first, second = task.batch(numbers), task.batch(numbers)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], task.batch(numbers + 8)[0])


def test_each_pass_over_the_renders_shows_each_once(cache):
    renders = Renders(cache)
    for start in (0, SHARD):
        assert sorted(renders.numbers(torch.arange(start, start + SHARD))) == list(range(SHARD))
    assert renders.numbers(torch.arange(SHARD)) != renders.numbers(torch.arange(SHARD, 2 * SHARD))


def test_repeats_weigh_scenes(cache):
    renders = Renders(cache, repeats=lambda scene: 2 if len(scene.things) > 1 else 0)
    scenes = renders.scenes(renders.numbers(torch.arange(64)))
    assert all(len(scene.things) > 1 for scene in scenes)


def test_words_and_textures_are_the_same_for_the_same_seed():
    for draw in (drawn_words, textures):
        assert np.array_equal(draw(3, 5), draw(3, 5))
        assert not np.array_equal(draw(3, 5), draw(3, 6))
    assert len(set(LETTERS)) == len(LETTERS)


def test_the_tokenizer_knows_pad_and_unknown_apart_from_the_end():
    tokenizer = learn_tokenizer(["a red mug on grass", "two red mugs"] * 50, size=150)
    ids = tokenizer("a red mug", padding="max_length", max_length=10).input_ids
    assert len({tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.eos_token_id}) == 3
    assert ids[-1] == tokenizer.pad_token_id
    assert tokenizer.unk_token_id in tokenizer("日本").input_ids
    assert tokenizer.unk_token_id not in tokenizer("zebra & quiz 42!").input_ids
    assert tokenizer.model_max_length == 77


def test_unknown_recipes_and_options_are_refused(folder, cache):
    with pytest.raises(ConfigError, match="recipe"):
        train("gan", {}, {})
    with pytest.raises(ConfigError, match="colour"):
        train("vae", {"out": folder / "x", **TOY}, {"cache": cache, "colour": 1})
    matching = {"match-features", "match-stage1", "match-stage2"}
    assert {"vae", "judge", "clip", "t2i", *matching} <= set(RECIPES)


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"batchsize": 4}, {}, "did you mean 'batch_size'"),
        ({"batch_size": "4"}, {}, "batch_size is '4'"),
        ({}, {"pol": 4}, "did you mean 'pool'"),
        ({}, {"pool": 4.5}, "pool is 4.5"),
        ({}, {"cache": 3}, "cache is 3"),
    ],
)
def test_misspelt_and_mistyped_values_are_refused(settings, options, message):
    with pytest.raises(ConfigError, match=message):
        train("vae", settings, options)


def test_the_seed_decides_the_first_weights(monkeypatch, cache):
    monkeypatch.setattr(loop, "run", lambda task, *_: task.vae.state_dict())
    small = {"cache": cache, "channels": (8, 8, 16), "pool": 2, "fixed": 2}
    torch.manual_seed(1)
    first, again, other = (train("vae", {"samples": 8, "seed": seed}, small) for seed in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("name", RECIPES)
def test_every_sheet_holds_settings_and_options_of_their_types(name, monkeypatch):
    module, task, options_class = RECIPES[name]
    home = import_module(module)
    seen = {}
    monkeypatch.setattr(home, task, lambda options: options)
    monkeypatch.setattr(loop, "run", lambda made, settings, *_: seen.update(o=made, s=settings))
    train(name, {"samples": 8, "lr": None}, {"init": "somewhere"})
    assert isinstance(seen["o"], getattr(home, options_class))
    lettering = name in ("reader", "scenetext", "scenetext-sd")
    assert seen["o"].cache == Path(".cache/strips" if lettering else ".cache/renders")
    assert (seen["s"].samples, seen["s"].minutes) == (8, None)
