import numpy as np
import pytest
import torch

from diffwright.core.errors import InputError
from diffwright.metrics.judge import Judge
from diffwright.tracing.scores import (
    JudgeScore,
    distances,
    embedding_scores,
    judge_for,
    picture_scores,
    stated_by,
)
from diffwright.world.captions import caption
from diffwright.world.sample import propose
from diffwright.world.vocabulary import ATTRIBUTES


@pytest.fixture(scope="module")
def judge():
    torch.manual_seed(0)
    return Judge(ATTRIBUTES, size=32, widths=(8, 8, 8)).eval()


@pytest.mark.parametrize(
    ("words", "stated"),
    [
        ("mug", {"kind": "mug"}),
        ("Red Mug", {"color": "red", "kind": "mug"}),
        ("three snowmen", {"count": "3", "kind": "snowman"}),
        ("pencil drawing", {"style": "pencil"}),
        ("painted in watercolor", {"style": "watercolor"}),
        ("lying on their sides", {"pose": "lying"}),
        ("from above", {"viewpoint": "from above"}),
        ("eye level", {"viewpoint": "eye level"}),
        ("wooden table", {"place": "wooden table"}),
        ("table", {"kind": "table"}),
        ("a single mug", {"kind": "mug"}),
        ("a blue mug on the moon", {"color": "blue", "kind": "mug", "place": "moon"}),
        ("van gogh", {}),
        ("redder", {}),
    ],
)
def test_what_words_state(words, stated):
    assert stated_by(words) == stated


def test_words_of_captions_state_what_the_captions_say():
    checked = 0
    for seed in range(60):
        said = caption(propose(seed, 0, False, {}), seed)
        for name, (start, stop) in said.spans.items():
            words = said.text[start:stop]
            if name in ATTRIBUTES and not (name == "count" and said.stated["count"] == "1"):
                assert stated_by(words).get(name) == said.stated[name], words
                checked += 1
    assert checked > 150


def test_distances_are_minus_the_norm_to_the_first_row():
    rows = torch.tensor([[[1.0, 0.0]], [[1.0, 2.0]], [[4.0, 4.0]]])
    assert distances(rows) == pytest.approx([0, -2, -5])


def test_embedding_scores_over_all_the_prompt_and_the_end():
    rows = torch.zeros(2, 5, 1)
    rows[1, 1], rows[1, 2], rows[1, 4] = 3, 4, 12
    found = embedding_scores((rows, None), end=2)
    assert found["embedding"][1] == pytest.approx(-13)
    assert found["embedding_prompt"][1] == pytest.approx(-5)
    assert found["embedding_end"][1] == pytest.approx(-4)
    assert set(found) == {"embedding", "embedding_prompt", "embedding_end"}
    assert embedding_scores((rows, torch.tensor([[0.0], [2.0]])), 2)["pooled"] == pytest.approx([0, -2])


def test_the_judge_is_asked_for_what_the_subject_states(judge):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    scorer = judge_for(judge, "red mug")
    assert scorer.stated == {"color": "red", "kind": "mug"}
    found = picture_scores(pictures, torch.zeros(3, 4, 2, 2), [scorer])
    assert set(found) == {"latent", "judge", "correct"}
    chances = judge.probabilities(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1)
    red, mug = ATTRIBUTES["color"].index("red"), ATTRIBUTES["kind"].index("mug")
    assert found["judge"] == pytest.approx(
        ((chances["color"][:, red] + chances["kind"][:, mug]) / 2).tolist()
    )
    answers = judge.answers(pictures)
    right = [(a["color"] == "red") / 2 + (a["kind"] == "mug") / 2 for a in answers]
    assert found["correct"] == pytest.approx(right)
    number = JudgeScore(judge, {"count": "2"})(pictures)["judge"]
    assert all(0 < value < 1 for value in number)


def test_a_subject_that_states_nothing_is_refused(judge):
    with pytest.raises(InputError, match="states nothing that the judge reads"):
        judge_for(judge, "van gogh")
