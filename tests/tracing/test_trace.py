import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from diffwright.bench.baselines.tracing_naive import text_runs
from diffwright.core.errors import Cancelled, ConfigError, InputError
from diffwright.metrics.judge import Judge
from diffwright.tracing.corruption import read, subject_noise
from diffwright.tracing.job import Sample
from diffwright.tracing.result import TraceResult
from diffwright.tracing.scores import judge_for
from diffwright.tracing.states import text_states
from diffwright.tracing.trace import causal_trace
from diffwright.tracing.unet import Sampling
from diffwright.world.vocabulary import ATTRIBUTES
from tests.support.tiny import pipeline

PROMPT = "a red mug"
QUICK = Sampling(steps=2, guidance=3.0)


@pytest.fixture(scope="module")
def judge():
    torch.manual_seed(0)
    return Judge(ATTRIBUTES, size=32, widths=(8, 8, 8)).eval()


@pytest.fixture(scope="module")
def traced(judge):
    return causal_trace(
        pipeline("pocket"),
        PROMPT,
        "red mug",
        seeds=(0, 7),
        sampling=QUICK,
        scorers=[judge_for(judge, "red mug")],
    )


def test_both_parts_are_scored_by_all_metrics(traced):
    text, unet = traced.traces["text"], traced.traces["unet"]
    assert len(text.states) == 3 * 3 * 3
    assert len(unet.states) == 22
    assert set(text.scores) == {
        "embedding", "embedding_prompt", "embedding_end", "denoiser", "latent", "judge", "correct",
    }  # fmt: skip
    assert set(unet.scores) == {"denoiser", "latent", "judge", "correct"}
    for trace in (text, unet):
        assert trace.metric == "judge"
        for scores in trace.scores.values():
            assert scores.clean.shape == scores.corrupted.shape == (2,)
            assert scores.restored.shape == (len(trace.states), 2)
    for metric in ("embedding", "denoiser", "latent"):
        assert np.allclose(text.scores[metric].clean, 0)
        assert (text.scores[metric].corrupted < 0).all()
    assert traced.tokens["te"][traced.spans["te"][1]] == "mug"


def test_what_must_recover_everything_does(traced):
    unet, text = traced.traces["unet"], traced.traces["text"]
    last = [state.name for state in unet.states].index("unet.up.1.resnet.1")
    assert unet.scores["latent"].recovery[last] == pytest.approx(1, abs=1e-3)
    assert unet.scores["denoiser"].recovery[last] == pytest.approx(1, abs=1e-3)
    assert (text.scores["embedding"].recovery <= 1 + 1e-9).all()


def test_text_scores_are_those_of_the_naive_method(traced):
    pipe = pipeline("pocket")
    readings = read(pipe, PROMPT, "red mug")
    noise = [subject_noise(reading, [7]) for reading in readings]
    clean = pipe.encode_prompt(PROMPT, "cpu", 1, False)[0]
    states = text_states(readings)
    assert tuple(states) == traced.traces["text"].states
    for number, (row, _) in enumerate(text_runs(pipe, PROMPT, readings, noise, states)):
        expected = -float((row.double() - clean.double()).norm())
        assert traced.traces["text"].scores["embedding"].restored[number, 1] == pytest.approx(
            expected, abs=1e-4
        )


def test_pieces_rows_and_seeds_do_not_change_the_scores(traced):
    again = causal_trace(
        pipeline("pocket"), PROMPT, "red mug", seeds=[7], sampling=Sampling(steps=2, guidance=3.0, rows=10)
    )
    for part, trace in again.traces.items():
        for metric, scores in trace.scores.items():
            before = traced.traces[part].scores[metric]
            assert np.allclose(scores.restored[:, 0], before.restored[:, 1], atol=2e-3), (part, metric)
            assert np.allclose(scores.corrupted, before.corrupted[1:], atol=2e-3)


def test_sdxl_restores_each_encoder_and_the_pooled_vector():
    result = causal_trace(
        pipeline("sdxl"), "red cat", "cat", parts=("text",), metrics=("embedding", "denoiser"), seeds=[0],
        sampling=QUICK,
    )  # fmt: skip
    trace = result.traces["text"]
    pooled = {state.name: r for state, r in zip(trace.states, trace.scores["pooled"].recovery, strict=True)}
    whole = {state.name: r for state, r in zip(trace.states, trace.scores["embedding"].recovery, strict=True)}
    assert all(abs(value) < 1e-5 for name, value in pooled.items() if name.startswith("te."))
    assert pooled["te2.2.block@3"] == pytest.approx(1, abs=1e-4), "the end token of the last layer is pooled"
    assert abs(whole["te2.2.block@3"]) < 1e-6, "the layer before it is what the UNet's cross-attention reads"
    assert 0 < whole["te2.1.block@3"] < 1
    assert set(result.tokens) == {"te", "te2"}
    assert result.grid("te2", "mlp").shape == (4, 3)


def test_a_screen_equals_the_full_trace_up_to_the_end_token(traced):
    result = causal_trace(
        pipeline("pocket"),
        PROMPT,
        "red mug",
        parts=["text"],
        metrics=["embedding"],
        screen=True,
        seeds=[0, 7],
    )
    trace = result.traces["text"]
    assert set(trace.scores) == {"embedding_prompt", "embedding_end"}
    assert trace.metric == "embedding_prompt"
    full = traced.traces["text"].scores["embedding_prompt"]
    assert np.allclose(trace.scores["embedding_prompt"].restored, full.restored, atol=1e-5)
    assert result.figures["unet_rows"] == 0
    assert not result.images


def test_an_interrupted_trace_goes_on_where_it_was(tmp_path, traced, judge):
    pipe, path, calls = pipeline("pocket"), tmp_path / "part.json", []
    options = {"seeds": (0, 7), "sampling": QUICK, "resume": path, "scorers": [judge_for(judge, "red mug")]}

    def stop_late(_what, done, _total):
        calls.append(done)
        return done > 4

    with pytest.raises(Cancelled):
        causal_trace(pipe, PROMPT, "red mug", **options, progress=stop_late)
    kept = len(json.loads(path.read_text())["pieces"])
    assert 0 < kept < 4
    told = []
    result = causal_trace(pipe, PROMPT, "red mug", **options, progress=lambda *p: told.append(p))
    assert told[-1][1] == told[-1][2]
    assert result.figures["unet_rows"] < traced.figures["unet_rows"]
    for part, trace in result.traces.items():
        for metric, scores in trace.scores.items():
            assert np.array_equal(scores.restored, traced.traces[part].scores[metric].restored)
    with pytest.raises(InputError, match="other words, settings or weights"):
        causal_trace(pipe, PROMPT, "mug", **options)


def test_a_result_is_saved_and_loaded_whole(traced, tmp_path):
    folder = traced.save(tmp_path / "out")
    assert {path.name for path in folder.iterdir()} >= {
        "result.json", "trace.json", "table.txt", "trace.png", "strip.png", "clean.png", "restored-unet.png",
    }  # fmt: skip
    back = TraceResult.load(folder)
    assert back.table() == traced.table()
    assert back.traces["unet"].states == traced.traces["unet"].states
    scores = back.traces["text"].scores["judge"]
    assert np.array_equal(scores.restored, traced.traces["text"].scores["judge"].restored)
    assert back.figures == traced.figures
    assert np.array_equal(np.asarray(back.images[-1]), np.asarray(traced.images[-1]))
    back.save(folder)
    content = json.loads((folder / "trace.json").read_text())
    content["traces"]["text"]["states"].pop()
    (folder / "trace.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="no sound trace"):
        TraceResult.load(folder)
    with pytest.raises(InputError):
        TraceResult.load(tmp_path)


def test_the_table_and_the_strongest_states(traced):
    table = traced.table(count=3)
    assert "text: 27 states, by judge" in table
    assert "unet: 22 states, by judge" in table
    assert len(table.splitlines()) == 1 + 2 * (3 + 3)
    best = traced.top(2, part="unet", metric="latent")
    assert best[0].effect.value >= best[1].effect.value
    assert best[0].state.name in traced.table("unet", "latent")
    with pytest.raises(ConfigError, match="metric"):
        traced.top(metric="clip")
    with pytest.raises(ConfigError, match="part"):
        traced.table("vae")


def test_the_pictures_are_those_of_the_runs(traced):
    names = dict(zip(traced.names, traced.images, strict=True))
    assert list(names) == ["clean", "corrupted", "restored-text", "restored-unet", "strip"]
    assert names["clean"].size == (32, 32)
    assert np.any(np.asarray(names["clean"]) != np.asarray(names["corrupted"]))
    assert names["strip"].width > 4 * 256


def test_the_model_is_as_before(traced):
    pipe = pipeline("sd1")
    before = {name: tensor.clone() for name, tensor in pipe.unet.state_dict().items()}
    causal_trace(pipe, PROMPT, "mug", components=["attn2", "attn"], seeds=[0], sampling=QUICK)
    assert all(torch.equal(before[name], tensor) for name, tensor in pipe.unet.state_dict().items())
    for part in (pipe.unet, pipe.text_encoder):
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in part.modules())


def test_noise_of_nothing_warns():
    result = causal_trace(
        pipeline("sd1"), PROMPT, "mug", parts=["text"], metrics=["embedding"], noise=0, seeds=[0]
    )
    assert "takes nothing away" in result.warnings[0]
    assert result.figures["text"]["best_recovery"] is None
    assert "nan" in result.table()


def test_half_of_the_numbers_is_close(traced):
    pipe = pipeline("pocket")
    half = Sampling(steps=2, guidance=3.0, half=True)
    result = causal_trace(pipe, PROMPT, "red mug", components=["attn1"], seeds=[0], sampling=half)
    full = {state.name: n for n, state in enumerate(traced.traces["unet"].states)}
    for number, state in enumerate(result.traces["unet"].states):
        found = result.traces["unet"].scores["latent"].restored[number, 0]
        expected = traced.traces["unet"].scores["latent"].restored[full[state.name], 0]
        assert found == pytest.approx(expected, rel=0.3)


@pytest.mark.parametrize(
    "options",
    [
        {"parts": ()},
        {"parts": "text"},
        {"parts": ["vae"]},
        {"components": ["atn"]},
        {"parts": ["text"], "components": ["resnet"]},
        {"metrics": []},
        {"metrics": ["images"]},
        {"parts": ["unet"], "metrics": ["embedding"]},
        {"seeds": []},
        {"seeds": [1, 1]},
        {"seeds": [-1]},
        {"screen": True},
        {"parts": ["text"], "metrics": ["embedding"], "screen": True, "tokens": "all"},
        {"parts": ["text"], "metrics": ["embedding"], "scorers": [object()]},
        {"window": 9},
        {"parts": ["unet"], "window": 2},
        {"sampling": replace(QUICK, between=(50, 60))},
        {"sampling": replace(QUICK, branches="cond"), "metrics": ["denoiser"]},
        {"sampling": replace(QUICK, between=(0, 1)), "parts": ["text"]},
        {"noise": float("nan")},
    ],
)
def test_unfit_options_are_config_errors(options):
    with pytest.raises(ConfigError):
        causal_trace(pipeline("pocket"), PROMPT, "mug", **{"sampling": QUICK, **options})


def test_a_metric_that_knows_no_steps_says_so():
    narrowed = replace(QUICK, between=(0, 1))
    found = causal_trace(
        pipeline("pocket"), PROMPT, "mug", seeds=[0], components=["attn2"], sampling=narrowed
    )
    assert any("denoiser predicts once" in warning for warning in found.warnings)


def test_a_sample_gives_the_corrupted_run_beside_the_clean_one():
    from diffwright.tracing.job import Job
    from diffwright.tracing.resume import Pieces
    from diffwright.tracing.text import run_of

    pipe = pipeline("sd1")
    readings = read(pipe, PROMPT, "mug")
    job = Job(
        pipe,
        readings,
        [run_of(r) for r in readings],
        {"unet": []},
        3.0,
        ["pictures"],
        [],
        QUICK,
        Pieces(None, {}),
    )
    rows, _ = Sample(job, 0).encoded([None])
    assert torch.allclose(rows[:1], pipe.encode_prompt(PROMPT, "cpu", 1, False)[0], atol=1e-5)
    assert torch.equal(rows[0, :3], rows[1, :3])
    assert not torch.allclose(rows[0, 3:], rows[1, 3:])
    scored = job.scores([0])["unet"][0]
    assert len(scored["latent"]) == 2
