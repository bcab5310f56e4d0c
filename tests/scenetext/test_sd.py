import pytest
import torch

from diffwright.core.errors import UnsupportedBackbone, WeightsCorrupt
from diffwright.core.seeding import generators
from diffwright.scenetext.dual import install
from diffwright.scenetext.sampling import write
from diffwright.scenetext.sd import SdSceneText, wrap
from tests.support.tiny import pipeline


def write_with(model):
    image, mask = torch.zeros(1, 3, 32, 64), torch.zeros(1, 1, 32, 64, dtype=torch.bool)
    mask[..., 8:24, 8:56] = True
    return write(model, model.vae, image, mask, ["Tea"], ["a cat"], generators=generators([0]), steps=2)


def test_an_inpainting_pipeline_writes_and_what_it_learned_goes_around_it_again(tmp_path):
    torch.manual_seed(0)
    model = SdSceneText(pipeline("inpaint"), width=8).eval()
    out = write_with(model)
    assert out.shape == (1, 3, 32, 64)
    model.save_pretrained(tmp_path / "learned")
    again = wrap(pipeline("inpaint", seed=5), tmp_path / "learned")
    assert again.settings == model.settings
    pairs = zip(model.learned().values(), again.learned().values(), strict=True)
    for a, b in pairs:
        for name, tensor in a.state_dict().items():
            assert torch.equal(tensor, b.state_dict()[name]), name


def test_plain_stable_diffusion_is_refused_with_advice():
    with pytest.raises(UnsupportedBackbone, match="scenetext-sd"):
        wrap(pipeline("inpaint"))
    with pytest.raises(UnsupportedBackbone, match="inpainting checkpoint"):
        SdSceneText(pipeline("sd1"))


def test_a_damaged_configuration_is_refused(tmp_path):
    model = SdSceneText(pipeline("inpaint"), width=8)
    model.save_pretrained(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    path.write_text(path.read_text().replace('"width": 8', '"width": "8"'))
    with pytest.raises(WeightsCorrupt, match="no character encoder"):
        wrap(pipeline("inpaint"), tmp_path / "m")


def test_the_full_size_runs_and_depends_on_the_characters():
    from diffusers import UNet2DConditionModel

    from diffwright.scenetext.dual import Conditions

    with torch.device("meta"):
        unet = UNet2DConditionModel(in_channels=9, cross_attention_dim=768)
        assert len(install(unet, 32)) == 16
    assert 1.0e9 < sum(p.numel() for p in unet.parameters()) < 1.2e9
    unet = unet.to(torch.bfloat16).to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    block = torch.randn(1 << 16, generator=generator).bfloat16()
    for parameter in unet.parameters():  # random, a repeated block: drawing 10^9 numbers would take a minute
        size = parameter.numel()
        values = block.repeat(-(-size // len(block)))[:size].view_as(parameter)
        parameter.data.copy_(
            values * (0.5 / parameter[0].numel() ** 0.5) if parameter.ndim > 1 else values * 0.02
        )
    x = torch.randn(1, 9, 16, 64, generator=generator).bfloat16()
    words = torch.randn(2, 24, 32, generator=generator).bfloat16()
    said = torch.randn(1, 77, 768, generator=generator).bfloat16()
    with torch.inference_mode():
        one, two = (unet(x, torch.tensor([500]), Conditions(said, None, each[None])).sample for each in words)
    assert one.shape == (1, 4, 16, 64)
    assert one.isfinite().all()
    assert not torch.equal(one, two)
