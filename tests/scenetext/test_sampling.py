import pytest
import torch

from diffwright.core.errors import Cancelled, ConfigError, InputError
from diffwright.core.seeding import generators
from diffwright.scenetext.sampling import write
from tests.scenetext.tiny import model, strip
from tests.support.tiny import vae as tiny_vae


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    return model(), tiny_vae(latents=8, levels=3)


def strips(count=2):
    image = torch.stack([strip("Tea").expand(3, -1, -1)] * count)
    mask = torch.zeros(count, 1, 32, 128, dtype=torch.bool)
    mask[..., 4:28, 16:80] = True
    return image, mask


def run(parts, texts=("Ab", ""), seeds=(1, 2), **more):
    image, mask = strips(len(texts))
    return write(
        *parts, image, mask, list(texts), ["Write"] * len(texts), generators=generators(seeds), **more
    )


def test_it_writes_strips_repeatably(parts):
    out = run(parts, steps=3)
    assert out.shape == (2, 3, 32, 128)
    assert float(out.abs().max()) <= 1
    assert torch.equal(out, run(parts, steps=3))
    alone = run(parts, ("Ab",), (1,), steps=3)
    assert torch.allclose(out[:1], alone, atol=1e-3)


def test_known_latents_come_back(parts):
    net, vae = parts
    image, mask = strips(1)
    out = write(net, vae, image, mask & False, ["x"], [None], generators=generators([0]), steps=2)
    whole = vae.decode(vae.encode(image).latent_dist.mean).sample.clamp(-1, 1)
    assert torch.allclose(out, whole, atol=1e-4)


def test_what_lies_under_the_mask_is_not_looked_at_where_the_code_of_a_place_is_local(parts):
    net, vae = parts
    image, mask = strips(1)
    seen = []
    keep = vae.encode
    vae.encode = lambda x: seen.append(x) or keep(x)
    try:
        write(net, vae, image, mask, ["x"], ["y"], generators=generators([0]), steps=1)
    finally:
        vae.encode = keep
    assert (seen[1][mask.expand(-1, 3, -1, -1)] == 0).all()


def test_guidance_of_one_is_one_prediction(parts):
    net, _ = parts
    calls = []
    keep = net.predict
    net.predict = lambda *a: calls.append(1) or keep(*a)
    try:
        for guidance, count in (((1.0, 1.0), 1), ((3.0, 1.0), 2), ((7.5, 7.5), 2), ((3.0, 2.0), 3)):
            calls.clear()
            run(parts, steps=1, guidance=guidance)
            assert len(calls) == count
    finally:
        del net.predict


class Linear:
    """Predicts a constant for each pair of text and sentence, as a model whose v is known."""

    guidance, steps = (3.0, 1.5), 4

    def __init__(self, net, characters=True):
        self.values = {
            ("A", "s"): 0.5,
            (None, "s"): 0.2,
            (None, None): -0.1,
            ("A", "o"): 0.9,
            (None, "o"): 0.4,
        }
        if not characters:
            self.values = {("A", "s"): 0.2, (None, None): -0.1}
        self.scheduler, self.characters = net.scheduler, net.characters if characters else None

    def encode(self, texts, sentences):
        return self.values[texts[0], sentences[0]]

    def predict(self, x_t, mask, masked, t, conditions):
        return torch.full_like(x_t, conditions)


def latents(parts, model, monkeypatch, **more):
    """The latents before they are decoded, under the mask."""
    vae, seen = parts[1], []
    keep = vae.decode
    monkeypatch.setattr(vae, "decode", lambda z: seen.append(z) or keep(z))
    image, mask = strips(1)
    write(model, vae, image, mask | True, ["A"], ["s"], generators=generators([3]), **more)
    return seen[0] * vae.config.scaling_factor


def expected(model, v):
    """DDIM from noise alone with v known: x0 = a x - s v, e = s x + a v, at trailing steps."""
    alpha_bar = model.scheduler.alphas_cumprod.double()
    x = torch.randn(1, 8, 8, 32, generator=generators([3])[0])
    for i, t in enumerate([999, 749, 499, 249]):
        a, s = alpha_bar[t].sqrt(), (1 - alpha_bar[t]).sqrt()
        x0, e = a * x - s * v, s * x + a * v
        b = alpha_bar[[749, 499, 249][i]] if i < 3 else torch.tensor(1.0).double()
        x = b.sqrt() * x0 + (1 - b).sqrt() * e
    return x


@pytest.mark.parametrize(
    ("characters", "more", "v"),
    [
        (True, {}, 3 * 0.5 - 1.5 * 0.2 - 0.5 * -0.1),
        (True, {"guidance": (7.5, 7.5)}, 7.5 * 0.5 - 6.5 * -0.1),
        (False, {}, 3 * 0.2 - 2 * -0.1),
        (True, {"guidance": (1.0, 1.0), "others": ["o"], "mix": 0.25}, 0.75 * 0.5 + 0.25 * 0.9),
        (True, {"others": ["o"], "mix": 1.0}, 3 * 0.9 - 1.5 * 0.4 - 0.5 * -0.1),
    ],
)
def test_predictions_are_combined_and_denoised_as_the_equations_say(parts, monkeypatch, characters, more, v):
    model = Linear(parts[0], characters)
    found = latents(parts, model, monkeypatch, **more)
    assert torch.allclose(found, expected(model, v).float(), atol=1e-4)


def test_errors_and_cancelling(parts):
    image, mask = strips(1)
    with pytest.raises(InputError, match="expected bool"):
        write(*parts, image, mask.float(), ["a"], ["b"], generators=generators([0]))
    with pytest.raises(InputError, match="generators"):
        run(parts, seeds=(1,))
    with pytest.raises(ConfigError, match="steps"):
        run(parts, steps=0)
    with pytest.raises(ConfigError, match="guidance"):
        run(parts, guidance=(-1.0, 1.0))
    with pytest.raises(Cancelled):
        run(parts, steps=2, progress=lambda *_: True)
