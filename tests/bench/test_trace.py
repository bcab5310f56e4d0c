import numpy as np
import pytest
import torch

from diffwright.bench import trace, trace_claims
from diffwright.bench.trace_prompts import CASES, SEEDS, Case
from diffwright.bench.trace_tables import pooled
from diffwright.metrics.judge import Judge
from diffwright.tracing.effects import Scores
from diffwright.tracing.result import Trace, TraceResult
from diffwright.tracing.scores import stated_by
from diffwright.tracing.states import State
from diffwright.tracing.unet import Sampling
from diffwright.world.exam import values
from diffwright.world.phrases import PLURALS
from diffwright.world.splits import HELD_OUT_PAIRS
from diffwright.world.vocabulary import ATTRIBUTES
from tests.support.tiny import pipeline, tokenizer

QUICK = Sampling(steps=1, guidance=3.0)


@pytest.fixture(scope="module")
def judge():
    torch.manual_seed(0)
    return Judge(ATTRIBUTES, size=32, widths=(8, 8, 8)).eval()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.attribute}: {case.subject}")
def test_each_case_says_what_it_is_asked_for(case):
    assert stated_by(case.subject)[case.attribute] == case.value
    assert case.value in values(case.attribute, core=True)
    for words in (case.subject, case.other):
        assert f" {words} " in f" {case.prompt.replace(',', ' ')} "
    assert case.other not in case.subject
    said = stated_by(case.prompt)
    assert (said["kind"], said.get("color")) not in HELD_OUT_PAIRS
    assert case.attribute not in stated_by(case.other)


def test_attributes_are_even_and_half_of_the_subjects_have_several_words():
    assert len(CASES) == len({(c.prompt, c.subject) for c in CASES}) == 48
    counts = [sum(c.attribute == name for c in CASES) for name in {c.attribute for c in CASES}]
    assert counts == [8] * 6
    assert sum(len(c.subject.split()) > 1 for c in CASES) >= 24
    assert len(set(SEEDS)) == 3
    assert {c.attribute for c in trace_claims.quick_plan().cases} == {c.attribute for c in CASES}
    assert set(PLURALS) >= {stated_by(c.prompt)["kind"] for c in CASES}


def test_the_text_part_is_exact_and_counts_its_states():
    pipe = pipeline("sd1")
    found = trace.text_speed(pipe, rounds=2, share=3)
    assert set(found) == {
        "text_speedup", "text_speedup_prompt_rows", "text_max_abs_diff", "seconds_text_trace_clip_l",
    }  # fmt: skip
    assert found["text_max_abs_diff"].value < 1e-5
    assert found["text_speedup"].value > 1
    assert "all 77 positions" in found["text_speedup"].note


def test_the_unet_part_is_exact_and_saves_rows():
    pipe = trace.tiny_pipeline(tokenizer())
    exact = trace.unet_exactness(pipe, steps=2, every=5)
    assert exact["unet_max_abs_diff"].value < 1e-5
    speed = trace.unet_speed(pipe.to(torch.float32), steps=2, every=2)
    layers = 11
    assert speed["unet_row_ratio"].value == pytest.approx(6 * layers / (2 * (layers + 2)))
    assert "11 layers" in speed["unet_time_ratio"].note


def result(effects, attribute_states=None):
    states = [
        State(f"te.{layer}.{kind}", kind, layer, token)
        for layer in range(3)
        for kind in ("attn", "mlp")
        for token in (2, 3, 4)
    ]
    unet = [State(f"unet.up.{n}.{k}.0", k, n) for n, k in enumerate(["resnet", "branch", "attn1", "attn2"])]
    rng = np.random.default_rng(0)
    unet_effects = rng.random(4) if attribute_states is None else np.array(attribute_states, dtype=float)

    def scores(column):
        return Scores(np.ones(1), np.zeros(1), np.asarray(column, dtype=float)[:, None])

    return TraceResult(
        prompt="a red mug",
        subject="red mug",
        tokens={"te": ("[begin]", "a", "red", "mug", "[end]")},
        spans={"te": (2, 3)},
        traces={
            "text": Trace(tuple(states), {"judge": scores(effects)}),
            "unet": Trace(tuple(unet), {"judge": scores(unet_effects)}),
        },
    )


def test_text_figures_of_known_effects():
    one = np.zeros(18)
    one[1] = 1.0  # layer 0, attention, last subject token
    two = np.zeros(18)
    two[[1, 2, 10]] = 0.5, 0.5, 1.0  # and layer 0, attention, end token; layer 1, MLP, last subject token
    none = -np.ones(18)
    found = trace_claims.text_figures([result(one), result(two), result(none)], "judge")
    assert found["te_attn0_last_share"].value == pytest.approx((1 + 0.25) / 2)
    assert found["te_attn0_share"].value == pytest.approx((1 + 0.5) / 2)
    assert found["te_mid_mlp_share"].value == pytest.approx(0.5 / 2)
    assert found["te_top1_rate"].value == pytest.approx(0.5)
    assert found["te_effective_states"].better == "lower"
    assert "over 2 prompts" in found["te_top1_rate"].note


def test_unet_figures_of_known_effects():
    def case(attribute):
        return Case(attribute, "", "", "", "")

    resnet, cross = [1, 0.5, 0, 0], [0, 0, 0, 1]
    found = trace_claims.unet_figures(
        [(case("kind"), result(np.zeros(18), resnet)), (case("kind"), result(np.zeros(18), resnet)),
         (case("color"), result(np.zeros(18), cross)), (case("color"), result(np.zeros(18), cross))], "judge"
    )  # fmt: skip
    assert found["unet_effective_sites"].value == pytest.approx(1)
    assert found["unet_cross_attention_share"].value == pytest.approx(0.5)
    assert found["unet_set_jaccard"].value == 0
    assert found["unet_set_jaccard_same"].value == 1
    assert found["unet_set_jaccard_gap"].value == 1
    branch = trace_claims.unet_figures([(case("kind"), result(np.zeros(18), [9, 1, 0, 1]))], "judge")
    assert branch["unet_cross_attention_share"].value == pytest.approx(0.1)
    assert branch["unet_cross_attention_share_branch"].value == pytest.approx(0.5)
    assert "unet_set_jaccard" not in branch


def test_the_random_twin_leaves_the_model_alone():
    pipe = pipeline("pocket")
    unet, encoder = pipe.unet, pipe.text_encoder
    twin, again = trace_claims.random_twin(pipe), trace_claims.random_twin(pipe)
    assert pipe.unet is unet
    assert pipe.text_encoder is encoder
    assert twin.unet is not unet
    for name, tensor in twin.text_encoder.state_dict().items():
        assert torch.equal(tensor, again.text_encoder.state_dict()[name])
    assert twin.vae is pipe.vae


def test_the_claims_run_on_a_random_model(judge, monkeypatch, tmp_path):
    monkeypatch.setattr(trace_claims, "LEAST_CLEAN", 0.0)
    monkeypatch.setattr(trace_claims, "LEAST_LOSS", -1.0)
    cases = (
        Case("kind", "mug", "a red mug", "mug", "red"),
        Case("color", "red", "a red dog", "red", "dog"),
    )
    told = []
    plan = trace_claims.Plan(cases, (1,), cases[:1], QUICK)
    found = trace_claims.figures(pipeline("pocket"), judge, plan, lambda *step: told.append(step), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "effects.csv",
        "text.png",
        "controls.png",
        "unet.png",
    }
    assert {
        "te_attn0_last_share", "te_attn0_last_share_embedding", "te_attn0_last_share_other",
        "te_attn0_last_share_random", "te_mid_mlp_share", "te_top1_rate", "te_total_effect",
        "te_total_effect_other", "unet_effective_sites", "unet_effective_sites_random",
        "unet_cross_attention_share", "unet_cross_attention_share_branch", "unet_effective_sites_latent",
        "trace_informative_share", "trace_multi_token_share",
    } <= set(found)  # fmt: skip
    assert all(np.isfinite(figure.value) for figure in found.values())
    assert told[-1][1] == told[-1][2]


def test_where_nothing_is_lost_only_controls_remain(judge, monkeypatch):
    monkeypatch.setattr(trace_claims, "LEAST_CLEAN", 1.1)
    cases = (Case("kind", "mug", "a red mug", "mug", "red"),)
    found = trace_claims.figures(pipeline("pocket"), judge, trace_claims.Plan(cases, (1,), cases, QUICK))
    assert found["trace_informative_share"].value == 0
    assert "te_attn0_last_share" not in found
    assert "te_attn0_last_share_random" in found


def test_effects_are_pooled_over_tokens_of_one_role_and_then_over_prompts():
    def result(effects, span):
        states = tuple(State("te.0.attn", "attn", 0, token) for token in range(1, 5))
        signed = np.array(effects, dtype=float)[:, None]
        scores = Scores(np.ones(1), np.zeros(1), signed)
        trace = Trace(states, {"judge": scores})
        return TraceResult(
            prompt="p",
            subject="s",
            tokens={"te": ("<", "a", "b", "c", ">")},
            spans={"te": span},
            traces={"text": trace},
        )

    rows = pooled(
        "subject",
        [("kind", result([1, 2, 3, 5], (1, 2))), ("kind", result([4, 6, 8, 1], (1, 1)))],
        "text",
        "judge",
    )
    by_role = {row.role: (row.prompts, row.effect) for row in rows}
    assert by_role == {"first subject": (1, 1), "last subject": (2, 3), "after": (2, 5), "end": (2, 3)}
