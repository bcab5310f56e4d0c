import pytest
import torch
from safetensors.torch import load_file

from diffwright.concepts.edit import ConceptEdit, edit_concepts
from diffwright.core.errors import ConfigError, InputError
from diffwright.diffusion.prompts import encode, encode_pooled
from tests.support.tiny import pipeline

PAIRS = [("cat", "dog"), ("mug", "red")]
PROMPTS = ["a cat on the mug", "the red mug", ""]
TEXT = ["te.0.attn.out", "te.1.mlp.out"]
CROSS = ["unet.*.attn2.*.k", "unet.*.attn2.*.v"]


def seen(pipe):
    """What the text encoders and the UNet say."""
    encodings, pooled = encode_pooled(pipe, PROMPTS)
    extra = {}
    if pooled is not None:
        extra = {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": torch.zeros(len(PROMPTS), 6)}}
    noise = torch.randn(len(PROMPTS), 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return encodings, pipe.unet(noise, 500, encoder_hidden_states=encodings, **extra).sample


def furthest(one, other):
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("keys", ["kohya", "diffusers"])
@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_stock_diffusers_loads_it_and_gives_what_the_edit_gives(tmp_path, kind, keys):
    pipe = pipeline(kind)
    sites = [*TEXT, *CROSS, *(["te2.0.attn.out"] if kind == "sdxl" else [])]
    edit = edit_concepts(pipe, PAIRS, site=sites, lam=1e-3)
    before = seen(pipe)
    path = edit.export_lora(tmp_path / "edit-lora.safetensors", keys=keys)
    with edit.applied(pipe):
        direct = seen(pipe)
    pipe.load_lora_weights(str(path))
    assert furthest(seen(pipe), direct) <= 1e-5
    assert furthest(before, direct) > 1e-2
    pipe.unload_lora_weights()
    assert all(torch.equal(a, b) for a, b in zip(before, seen(pipe), strict=True))


def test_sites_of_different_ranks_share_one_rank_in_the_file(tmp_path):
    pipe = pipeline("sd1")
    narrow = edit_concepts(pipe, PAIRS[:1], site="te.0.attn.out", templates=["{}"], lam=1e-3)
    wide = edit_concepts(pipe, PAIRS, site="te.1.attn.out", lam=1e-3)
    edit = ConceptEdit.compose([narrow, wide])
    tensors = load_file(edit.export_lora(tmp_path / "lora.safetensors"))
    ranks = {len(tensor) for name, tensor in tensors.items() if name.endswith("down.weight")}
    assert ranks == {wide.patches[0].factors.down.shape[0]}
    assert {float(tensor) for name, tensor in tensors.items() if name.endswith("alpha")} == ranks
    with edit.applied(pipe):
        direct = encode(pipe, PROMPTS)
    pipe.load_lora_weights(str(tmp_path / "lora.safetensors"))
    torch.testing.assert_close(encode(pipe, PROMPTS), direct, atol=1e-5, rtol=0)


def test_a_smaller_rank_keeps_the_strongest_directions_and_says_so(tmp_path):
    edit = edit_concepts(pipeline("sd1"), PAIRS, site="te.0.attn.out", lam=1e-3)
    factors = edit.patches[0].factors
    full = factors.dense()
    cut, kept = factors.truncated(2)
    assert cut.up.shape[1] == 2
    assert kept == pytest.approx(float(cut.dense().square().sum() / full.square().sum()))
    best = torch.linalg.svdvals(full)[:2].square().sum() / full.square().sum()
    assert kept == pytest.approx(float(best))
    with pytest.warns(UserWarning, match=f"Rank 2 keeps {kept:.2%}"):
        tensors = load_file(edit.export_lora(tmp_path / "lora.safetensors", rank=2))
    assert tensors["lora_te_text_model_encoder_layers_0_self_attn_out_proj.lora_down.weight"].shape[0] == 2


def test_unfit_requests_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="changes nothing"):
        still = edit_concepts(pipeline("sd1"), [("cat", "cat")])
    with pytest.raises(InputError, match="changes nothing"):
        still.export_lora(tmp_path / "lora.safetensors")
    edit = edit_concepts(pipeline("sd1"), PAIRS, lam=1e-3)
    with pytest.raises(ConfigError, match="kohya"):
        edit.export_lora(tmp_path / "lora.safetensors", keys="webui")
    with pytest.raises(ConfigError, match="rank"):
        edit.export_lora(tmp_path / "lora.safetensors", rank=0)
    assert not (tmp_path / "lora.safetensors").exists()
