import numpy as np
import pytest
import torch
from torch import nn

from diffwright.bench import scenetext_gate as gate
from diffwright.metrics.ocr import RapidJudge, misspelled
from diffwright.world.lettering.glyphs import measure


class Scripted:
    """Reads what it was told to."""

    name = "scripted"

    def __init__(self, *runs):
        self.runs = list(runs)

    def read(self, images):
        texts = self.runs.pop(0)
        assert len(texts) == len(images)
        return list(texts)


class Coder(nn.Module):
    """Keeps every pixel."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def encode(self, x):
        return type("O", (), {"latent_dist": type("D", (), {"mean": x})})

    def decode(self, z):
        return type("O", (), {"sample": z})


def test_strips_have_the_cap_height_that_was_asked_for():
    strip = gate.strips_at(16, 1)[0]
    assert strip.image.shape == (32, 128, 3)
    em = 16 / measure(strip.face, "H")[1]
    assert measure(strip.face, "H")[1] * em == pytest.approx(16)
    assert np.array_equal(strip.image, gate.strips_at(16, 1)[0].image)


def test_the_gate_is_the_share_kept():
    truth = {cap: [s.text for s in gate.strips_at(cap, 4)] for cap in gate.CAPS}
    runs = []
    for cap, lost in zip(gate.CAPS, (1, 2), strict=True):
        runs += [truth[cap], ["?"] * lost + truth[cap][lost:]]
    found = gate.vae_gate(Scripted(*runs), Coder(), 4)
    assert found["vae_gate"].value == 0.75
    assert found["vae_gate_cap12"].value == 0.5
    assert found["vae_read_before"].value == 1
    assert found["vae_strip_psnr"].value > 60


def test_ratio_of_shares_has_an_interval_around_it():
    before, after = np.ones(40, bool), np.arange(40) >= 4
    interval = gate.ratio_interval(after, before)
    assert interval.low < interval.value == 0.9 < interval.high
    assert np.isnan(gate.ratio_interval(after, ~before).value)


def test_a_judge_that_mends_is_found_out():
    drawn = gate.misspellings(6, gate.shipped())
    mends, reads = ([d[i] for d in drawn] for i in (0, 1))
    assert gate.false_acceptance(Scripted(mends), 6)["judge_mended"].value == 6
    honest = gate.false_acceptance(Scripted(reads), 6)
    assert honest["judge_mended"].value == 0
    assert honest["judge_reads_misspelt"].value == 1


@pytest.mark.slow
def test_the_real_judge_mends_no_misspelling():
    pytest.importorskip("rapidocr", reason="the judge is RapidOCR: pip install 'diffwright[text]'")
    found = gate.false_acceptance(RapidJudge(), 300)
    assert found["judge_mended"].value == 0
    assert found["judge_reads_misspelt"].value >= 0.85


def test_misspellings_are_no_other_words():
    assert misspelled("open", np.random.default_rng(0)) != "open"
    assert all(word != wrong for word, wrong, _ in gate.misspellings(5, gate.shipped()))
