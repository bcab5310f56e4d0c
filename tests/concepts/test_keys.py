import pytest
import torch

from diffwright.concepts.keys import Phrase, reading, rows_of
from diffwright.core.errors import ConfigError, InputError
from diffwright.diffusion.hooks import taps
from diffwright.diffusion.prompts import encode, tokenize
from diffwright.diffusion.sites import find, sites
from tests.support.tiny import pipeline

SOURCE, TARGET = Phrase.of("the {} on the dog", "red mug"), Phrase.of("{}", "cat")


@pytest.fixture(scope="module")
def pipes():
    return {kind: pipeline(kind) for kind in ("sd1", "sdxl", "pocket")}


def hooked(pipe, site, prompt):
    """What the site reads in a full pass over all 77 positions."""
    words = pipe.tokenizer_2 if site.owner == "text_encoder_2" else pipe.tokenizer
    ids, _ = tokenize(words, [prompt])
    with torch.no_grad(), taps([site], inputs=True) as seen:
        getattr(pipe, site.owner)(ids)
    return seen[site.name][0][0].double()


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("part", ["attn.q", "attn.k", "attn.v", "attn.out", "mlp.in", "mlp.out"])
@pytest.mark.parametrize("encoder", ["te", "te2"])
def test_keys_equal_hooked_activations(pipes, encoder, layer, part):
    pipe = pipes["sdxl"]
    site = find(pipe, f"{encoder}.{layer}.{part}")
    ((rows,), _) = rows_of(pipe, site, [(SOURCE, TARGET)])
    torch.testing.assert_close(rows.keys, hooked(pipe, site, SOURCE.prompt)[[3]], atol=1e-6, rtol=0)
    torch.testing.assert_close(rows.wanted, hooked(pipe, site, TARGET.prompt)[[1]], atol=1e-6, rtol=0)


def test_positions_of_each_choice_of_tokens(pipes):
    pipe = pipes["sd1"]
    site = find(pipe, "te.1.attn.out")
    source, target = (hooked(pipe, site, phrase.prompt) for phrase in (SOURCE, TARGET))
    ((rows,), _) = rows_of(pipe, site, [(SOURCE, TARGET)], tokens="span")
    torch.testing.assert_close(rows.keys, source[[3, 2]], atol=1e-6, rtol=0)
    torch.testing.assert_close(rows.wanted, target[[1, 1]], atol=1e-6, rtol=0)
    ((rows,), _) = rows_of(pipe, site, [(TARGET, SOURCE)], tokens="span")
    torch.testing.assert_close(rows.wanted, source[[3]], atol=1e-6, rtol=0)
    ((rows,), _) = rows_of(pipe, site, [(SOURCE, TARGET)], tokens="last+eos")
    torch.testing.assert_close(rows.keys, source[[3, 7]], atol=1e-6, rtol=0)
    torch.testing.assert_close(rows.wanted, target[[1, 2]], atol=1e-6, rtol=0)
    ((rows,), _) = rows_of(pipe, site, [(SOURCE, TARGET)], tokens="last+eos+pad")
    torch.testing.assert_close(rows.keys, source[3:], atol=1e-6, rtol=0)
    torch.testing.assert_close(rows.wanted, target[1:75], atol=1e-6, rtol=0)
    ((rows,), _) = rows_of(pipe, site, [(TARGET, SOURCE)], tokens="last+eos+pad")
    torch.testing.assert_close(rows.wanted[-3:], source[[76, 76, 76]], atol=1e-6, rtol=0)


def test_the_cross_attention_reads_the_whole_encoding(pipes):
    pipe = pipes["sdxl"]
    ((rows,), _) = rows_of(pipe, find(pipe, "unet.up.0.attn2.1.v"), [(SOURCE, TARGET)])
    torch.testing.assert_close(rows.keys[0], encode(pipe, [SOURCE.prompt])[0, 3].double())
    assert {reading(site) for site in sites(pipe, ["attn2.k", "attn2.v"])} == {"encoding"}


@pytest.mark.parametrize("part", ["attn.out", "mlp.out"])
def test_the_stream_aim_asks_for_the_rest_of_the_way_to_the_target(pipes, part):
    pipe = pipes["pocket"]
    site = find(pipe, f"te.1.{part}")
    after = {}
    for phrase in (SOURCE, TARGET):
        layer = pipe.text_encoder.encoder.layers[1]
        kept = {}
        listener = layer.layer_norm2.register_forward_pre_hook(
            lambda _, x, kept=kept: kept.update(middle=x[0])
        )
        end = layer.register_forward_hook(lambda _m, _i, y, kept=kept: kept.update(block=y))
        with torch.no_grad():
            pipe.text_encoder(tokenize(pipe.tokenizer, [phrase.prompt])[0])
        listener.remove()
        end.remove()
        after[phrase] = kept["middle" if part == "attn.out" else "block"][0].double()
    ((rows,), _) = rows_of(pipe, site, [(SOURCE, TARGET)], aim="stream")
    expected = after[TARGET][[1]] - after[SOURCE][[3]]
    torch.testing.assert_close(
        rows.residuals(site.linear.weight.detach().double()), expected, atol=1e-5, rtol=0
    )


def test_held_phrases_give_every_token_up_to_their_concept(pipes):
    pipe = pipes["pocket"]
    site = find(pipe, "te.1.attn.out")
    whole = hooked(pipe, site, SOURCE.prompt)
    assert len(rows_of(pipe, site, [(TARGET, TARGET)])[1]) == 0
    _, held = rows_of(pipe, site, [(TARGET, TARGET)], [SOURCE, TARGET])
    torch.testing.assert_close(held[:8], whole[:8], atol=1e-6, rtol=0)
    assert len(held) == 8 + 3
    _, held = rows_of(pipe, site, [(TARGET, TARGET)], [SOURCE], tokens="last+eos+pad")
    torch.testing.assert_close(held, whole, atol=1e-6, rtol=0)


def test_equal_phrases_give_bitwise_equal_rows(pipes):
    ((rows,), _) = rows_of(pipes["sd1"], find(pipes["sd1"], "te.2.mlp.out"), [(SOURCE, SOURCE)], aim="stream")
    assert torch.equal(rows.keys, rows.wanted)
    assert not rows.carried.any()


def test_the_article_follows_the_concept():
    assert Phrase.of("a photo of a {}", "owl") == Phrase("a photo of an owl", 14, 17)
    assert Phrase.of("A {} there", "Apple").prompt == "An Apple there"
    assert Phrase.of("a {}", "cat").prompt == "a cat"
    assert Phrase.of("pizza {}", "oven").prompt == "pizza oven"


def test_unfit_requests_are_refused(pipes):
    pipe = pipes["sd1"]
    with pytest.raises(InputError, match="reads no text"):
        rows_of(pipe, find(pipe, "unet.mid.0.attn1.0.k"), [(SOURCE, TARGET)])
    with pytest.raises(InputError, match="residual stream"):
        rows_of(pipe, find(pipe, "te.0.attn.v"), [(SOURCE, TARGET)], aim="stream")
    with pytest.raises(ConfigError, match=r"last\+eos"):
        rows_of(pipe, find(pipe, "te.0.attn.v"), [(SOURCE, TARGET)], tokens="eos")
    for template in ("a cat", "{} {}"):
        with pytest.raises(InputError, match="once"):
            Phrase.of(template, "cat")
    with pytest.raises(InputError, match="empty"):
        Phrase.of("{}", " ")
