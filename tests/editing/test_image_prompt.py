import numpy as np
import pytest
import torch

from diffwright.core.errors import UnsupportedBackbone, WeightsCorrupt, WeightsMissing
from diffwright.editing.image_prompt import ImagePrompt, ImageTower, cross_attentions
from diffwright.editing.nets import Resampler
from diffwright.weights.module import TENSORS
from tests.editing.conftest import noise_picture
from tests.support.tiny import pipeline


def tower(seed=0):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
        projection_dim=8,
    )
    return ImageTower(CLIPVisionModelWithProjection(config).eval())


def trained(unet, seed=0):
    """An image prompt whose weights are no longer those of the text."""
    torch.manual_seed(seed)
    prompt = ImagePrompt.new(unet, 24, width=64, queries=5)
    with torch.no_grad():
        for weight in prompt.ip_adapter.parameters():
            weight.normal_(std=0.2)
    return prompt.eval()


@pytest.fixture
def pipe():
    return pipeline("sd2")


def denoised(pipe, context):
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return pipe.unet(z, torch.tensor(300), context).sample


def words(pipe):
    from diffwright.diffusion.prompts import encode

    return encode(pipe, ["a cat"])


def test_the_stock_loader_reads_a_saved_one_and_says_the_same(pipe, tmp_path):
    prompt, look = trained(pipe.unet), tower()
    tokens = prompt.image_proj(look(look.pixels(noise_picture()))).detach()
    assert tokens.shape == (1, 5, 32)
    text = words(pipe)
    with prompt.installed(pipe.unet) as dial:
        silent = denoised(pipe, (text, [tokens]))
        dial.set(0.7)
        ours = denoised(pipe, (text, [tokens]))
    torch.testing.assert_close(silent, denoised(pipe, text))
    assert not torch.allclose(ours, silent, atol=1e-4)

    prompt.save_pretrained(tmp_path / "ip", card="card")
    stock = pipeline("sd2")
    stock.load_ip_adapter(str(tmp_path / "ip"), subfolder="", weight_name=TENSORS, image_encoder_folder=None)
    stock.set_ip_adapter_scale(0.7)
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    states = look(look.pixels(noise_picture()))[:, None]
    with torch.no_grad():
        theirs = stock.unet(
            z, torch.tensor(300), words(stock), added_cond_kwargs={"image_embeds": [states]}
        ).sample
    torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)


def test_one_is_saved_and_loaded(pipe, tmp_path):
    prompt = trained(pipe.unet)
    prompt.save_pretrained(tmp_path / "ip")
    for source in (tmp_path / "ip", tmp_path / "ip" / TENSORS):
        again = ImagePrompt.from_pretrained(source)
        assert again.image_width == 24
        for name, tensor in prompt.state_dict().items():
            torch.testing.assert_close(again.state_dict()[name], tensor.half().float())


def test_what_a_user_loaded_into_the_pipeline_is_taken_over(pipe, tmp_path):
    prompt, text = trained(pipe.unet), words(pipe)
    prompt.half().float().save_pretrained(tmp_path / "ip")
    assert ImagePrompt.of(pipe) is None
    pipe.load_ip_adapter(str(tmp_path / "ip"), subfolder="", weight_name=TENSORS, image_encoder_folder=None)
    before = {name: type(p) for name, p in pipe.unet.attn_processors.items()}
    found = ImagePrompt.of(pipe)
    assert found is not None
    found.check_fit(pipe.unet, tower())
    tokens = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(1))
    with found.installed(pipe.unet) as dial:
        dial.set(0.5)
        theirs = denoised(pipe, (text, [tokens]))
    assert {name: type(p) for name, p in pipe.unet.attn_processors.items()} == before
    assert pipe.unet.encoder_hid_proj is not None
    other = pipeline("sd2")
    with prompt.installed(other.unet) as dial:
        dial.set(0.5)
        torch.testing.assert_close(denoised(other, (text, [tokens])), theirs, rtol=0.02, atol=0.02)


def test_installing_leaves_no_trace(pipe):
    text, clean = words(pipe), denoised(pipe, words(pipe))
    with pytest.raises(ValueError, match="inside"), trained(pipe.unet).installed(pipe.unet):
        raise ValueError("inside")
    assert torch.equal(denoised(pipe, text), clean)


def test_a_new_one_reads_its_tokens_as_the_text_is_read(pipe):
    prompt = ImagePrompt.new(pipe.unet, 24, width=64, queries=5)
    attentions = cross_attentions(pipe.unet)
    for layer, attention in zip(prompt.ip_adapter.values(), attentions, strict=True):
        assert torch.equal(layer["to_k_ip"].weight, attention.to_k.weight)


def test_depth_and_heads_are_what_stock_loaders_expect():
    net = Resampler(24, 32, 128, 2, 7)
    assert net(torch.randn(2, 9, 24)).shape == (2, 7, 32)
    names = set(net.state_dict())
    assert {"latents", "layers.3.0.to_kv.weight", "layers.0.1.1.weight", "norm_out.bias"} <= names
    assert "layers.4.0.to_q.weight" not in names


def test_a_misfit_is_refused(pipe, tmp_path):
    prompt = trained(pipe.unet)
    other = pipeline("sdxl")
    with pytest.raises(UnsupportedBackbone, match="trained for this model"):
        prompt.check_fit(other.unet, None)
    look = tower()
    look.model.config.hidden_size = 99
    with pytest.raises(UnsupportedBackbone, match="width 24"):
        prompt.check_fit(pipe.unet, look)
    tensors = prompt.state_dict()
    del tensors["image_proj.latents"]
    with pytest.raises(WeightsCorrupt, match="plus layout"):
        ImagePrompt.from_tensors(tensors)
    with pytest.raises(WeightsMissing):
        ImagePrompt.from_pretrained(tmp_path / "nothing")


def test_a_tower_is_loaded_from_a_models_directory(tmp_path):
    look = tower()
    look.model.save_pretrained(tmp_path / "image_encoder")
    again = ImageTower.load(tmp_path)
    pixels = look.pixels(noise_picture((20, 30)))
    assert pixels.shape == (1, 3, 16, 16), "squashed, nothing cropped"
    torch.testing.assert_close(again(pixels), look(pixels))


def test_pixels_are_normalised_by_the_towers_own_colors():
    look = tower()
    gray = np.full((16, 16, 3), 128, np.uint8)
    want = (128 / 255 - torch.tensor(look.mean)) / torch.tensor(look.std)
    torch.testing.assert_close(look.pixels(gray)[0, :, 5, 5], want)
