"""The published forms of well-known models load with tiny weights, under their old names."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffwright.core.errors import WeightsMissing
from diffwright.weights.fingerprint import fingerprint
from diffwright.weights.load import load
from tests.support import tiny

PUBLISHED = Path(__file__).parent / "published"
KIND = {"sd14": "sd1", "sd15": "sd1", "sd15-inpaint": "inpaint", "sd21": "sd2", "sdxl": "sdxl"}
OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def rewrite(path, change):
    save_file({change(name): tensor for name, tensor in load_file(path).items()}, path, {"format": "pt"})


def old_vae_name(name):
    for new, old in OLD_ATTENTION.items():
        if ".mid_block.attentions." in name:
            name = name.replace(f".{new}.", f".{old}.")
    return name


def age_text_encoder(path):
    tensors = {
        name if name.startswith(("text_model.", "text_projection")) else f"text_model.{name}": tensor
        for name, tensor in load_file(path).items()
    }
    tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(tensors, path, {"format": "pt"})


def age_tokenizer(folder, pad):
    whole = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(whole["model"]["vocab"]))
    merges = [" ".join(merge) if isinstance(merge, list) else merge for merge in whole["model"]["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")

    def token(content):
        flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
        return {"__type": "AddedToken", "content": content, **flags}

    config = {
        "add_prefix_space": False,
        "bos_token": token("<|startoftext|>"),
        "do_lower_case": True,
        "eos_token": token("<|endoftext|>"),
        "errors": "replace",
        "model_max_length": 77,
        "name_or_path": "openai/clip-vit-large-patch14",
        "pad_token": "<|endoftext|>",
        "special_tokens_map_file": "./special_tokens_map.json",
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": token("<|endoftext|>"),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    plain = {
        key: {k: v for k, v in config[key].items() if k != "__type"} for key in ("bos_token", "eos_token")
    }
    (folder / "special_tokens_map.json").write_text(json.dumps({**plain, "pad_token": pad}))


def publish(source, name, folder, payload):
    """Bring a tiny model into the form in which ``name`` was published, with hostile pickles beside."""
    shutil.copytree(source, folder)
    shutil.copy(PUBLISHED / f"{name}.json", folder / "model_index.json")
    rewrite(folder / "vae" / "diffusion_pytorch_model.safetensors", old_vae_name)
    for part in ("text_encoder", "text_encoder_2"):
        if (folder / part).exists():
            age_text_encoder(folder / part / "model.safetensors")
            (folder / part / "pytorch_model.bin").write_bytes(payload)
    age_tokenizer(folder / "tokenizer", "!" if name == "sd21" else "<|endoftext|>")
    if name == "sdxl":
        age_tokenizer(folder / "tokenizer_2", "!")
    for part in ("safety_checker", "feature_extractor"):
        (folder / part).mkdir()
        (folder / part / "pytorch_model.bin").write_bytes(payload)
        (folder / part / "config.json").write_text("{ this is not JSON")
    for part in ("unet", "vae"):
        (folder / part / "diffusion_pytorch_model.bin").write_bytes(payload)
    (folder / "v1-5-pruned.ckpt").write_bytes(payload)
    return folder


@pytest.mark.parametrize("name", list(KIND))
def test_published_form_loads_exactly(models, tmp_path, canary, name):
    folder = publish(models(KIND[name]), name, tmp_path / name, canary)
    pipe = load(folder)
    assert type(pipe).__name__ == json.loads((folder / "model_index.json").read_text())["_class_name"]
    assert fingerprint(pipe) == fingerprint(tiny.pipeline(KIND[name]))
    assert getattr(pipe, "safety_checker", None) is None
    assert pipe.feature_extractor is None
    pads = {"sd21": ["!"], "sdxl": ["<|endoftext|>", "!"]}.get(name, ["<|endoftext|>"])
    tokenizers = [pipe.tokenizer, *([pipe.tokenizer_2] if name == "sdxl" else [])]
    assert [words.pad_token for words in tokenizers] == pads
    for words in tokenizers:
        ids = words("a red mug on the cat", padding="max_length").input_ids
        assert ids[0] == words.bos_token_id
        assert words.convert_ids_to_tokens(ids[1:7]) == [
            "a</w>",
            "red</w>",
            "mug</w>",
            "on</w>",
            "the</w>",
            "cat</w>",
        ]
        assert ids[7:9] == [words.eos_token_id, words.pad_token_id]
        assert len(ids) == 77


def test_old_tokenizer_files_give_what_transformers_gives(models, tmp_path, canary):
    from transformers import CLIPTokenizer

    folder = publish(models("sd2"), "sd21", tmp_path / "sd21", canary)
    ours, stock = load(folder).tokenizer, CLIPTokenizer.from_pretrained(folder / "tokenizer")
    for text in ("a red mug!", "<|endoftext|> in the text", "Ünïcode 猫 \U0001f408", "!! 12 it's", ""):
        options = {"padding": "max_length", "truncation": True}
        assert ours(text, **options).input_ids == stock(text, **options).input_ids
    assert len(ours) == len(stock)


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_half_precision_variant(tmp_path, name):
    folder = tiny.folder(KIND[name], tmp_path / name, variant="fp16")
    shutil.copy(PUBLISHED / f"{name}.json", folder / "model_index.json")
    pipe = load(folder, variant="fp16", dtype="fp16")
    assert pipe.unet.dtype == pipe.text_encoder.dtype == torch.float16
    assert fingerprint(pipe) == fingerprint(tiny.pipeline(KIND[name]).to(torch.float16))
    assert load(folder, variant="fp16").unet.dtype == torch.float32
    with pytest.raises(WeightsMissing, match="fp16"):
        load(folder)


def test_sharded_weights(models, tmp_path):
    folder = tmp_path / "sharded"
    shutil.copytree(models("sd1"), folder)
    pipe = tiny.pipeline("sd1")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    pipe.unet.save_pretrained(folder / "unet", max_shard_size="300KB")
    assert len(list((folder / "unet").glob("*-of-*.safetensors"))) > 1
    assert fingerprint(load(folder)) == fingerprint(pipe)
