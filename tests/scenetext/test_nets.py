import pytest
import torch

from diffwright.scenetext.characters import encode
from diffwright.scenetext.instructions import tokenize
from diffwright.scenetext.losses import reading_loss
from diffwright.scenetext.nets import CharacterEncoder, InstructionEncoder, Reader
from diffwright.scenetext.reading import read, score
from tests.scenetext.tiny import strip


def test_padding_changes_no_token():
    torch.manual_seed(0)
    coder, words = CharacterEncoder(16, 2), InstructionEncoder(16, 2, 8)
    short, long = encode(["abc"], 5), encode(["abc"], 12)
    assert torch.allclose(coder(*short), coder(*long)[:, :5], atol=1e-5)
    alone, beside = tokenize(["in red"]), tokenize(["in red", "in a much longer row of words"])
    assert torch.allclose(words(*alone), words(*beside)[:1, :3], atol=1e-5)


def test_characters_stand_side_by_side_in_the_region():
    coder = CharacterEncoder(16, 0)
    centers = coder.centers(encode(["abcd", "ab"], 8)[0])
    assert centers[0, 1:5].tolist() == pytest.approx([0.125, 0.375, 0.625, 0.875], abs=1e-5)
    assert centers[1, 1:3].tolist() == pytest.approx([0.25, 0.75], abs=1e-5)
    assert coder.centers(encode([""], 4)[0]).isfinite().all()


def test_without_layers_it_is_the_papers_table():
    coder = CharacterEncoder(16, 0, places=False)
    ids, keep = encode(["ab"], 6, plain=True)
    assert torch.equal(coder(ids, keep), coder.table(ids) + coder.position.weight[:6])
    with pytest.raises(ValueError, match="no places"):
        coder.centers(ids)


def test_the_reader_learns_a_few_strips():
    torch.manual_seed(1)
    texts = ["Tea", "boat", "A7"]
    strips = torch.stack([strip(text) for text in texts])
    reader = Reader((16, 16, 24, 48), layers=1)
    optimizer = torch.optim.Adam(reader.parameters(), 5e-3)
    for _ in range(180):
        loss = reading_loss(reader, strips, texts).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = read(reader.eval(), strips)
    assert [text for text, _ in found] == texts
    assert min(confidence for _, confidence in found) > 0.6
    assert (score(reader, strips, texts) > 0.6).all()
    assert (score(reader, strips, ["boat", "Tea", "Tea"]) < 0.2).all()
