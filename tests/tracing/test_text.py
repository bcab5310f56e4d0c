import pytest
import torch

from diffwright.bench.baselines.tracing_naive import text_runs
from diffwright.core.errors import ConfigError, UnsupportedBackbone
from diffwright.tracing.corruption import read, subject_noise
from diffwright.tracing.states import State, text_states
from diffwright.tracing.text import Ends, check_conventions, conditions, ends_of, restore, run_of
from tests.support.tiny import pipeline

PROMPT = "the red mug on"


def double(kind):
    return pipeline(kind).to(torch.float64)


def ours(pipe, readings, noise, states, rows=64, cut=None):
    """Conditions of each state, as a trace computes them."""
    clean = [run_of(reading) for reading in readings]
    corrupted = [run_of(reading, added) for reading, added in zip(readings, noise, strict=True)]
    if cut:
        clean, corrupted = ([run.cut(cut) for run in runs] for runs in (clean, corrupted))
    found = []
    for reading, whole, spoiled in zip(readings, clean, corrupted, strict=True):
        mine = [state for state in states if state.site.startswith(f"{reading.prefix}.")]
        ends = [ends_of(run) for run in corrupted]
        ends[readings.index(reading)] = restore(reading, mine, whole, spoiled, rows=rows)
        found.append(conditions(pipe, readings, ends))
    return [torch.cat(part) if part[0] is not None else None for part in zip(*found, strict=True)]


@pytest.mark.parametrize(("kind", "window"), [("sd1", 1), ("pocket", 2), ("sdxl", 1)])
def test_the_walk_equals_one_hooked_full_forward_a_state(kind, window):
    pipe = double(kind)
    readings = read(pipe, PROMPT, "red mug")
    noise = [subject_noise(reading, [3]) for reading in readings]
    states = text_states(readings, window=window)
    encodings, pooled = ours(pipe, readings, noise, states)
    naive = list(text_runs(pipe, PROMPT, readings, noise, states))
    assert float((torch.cat([row for row, _ in naive]) - encodings).abs().max()) < 1e-12
    assert len(naive) == len(states) == len(encodings)
    if kind == "sdxl":
        assert float((torch.cat([row for _, row in naive]) - pooled).abs().max()) < 1e-12


def test_pieces_of_few_rows_and_a_cut_encoding_give_the_same():
    pipe = double("sd1")
    readings = read(pipe, PROMPT, "mug")
    noise = [subject_noise(reading, [0]) for reading in readings]
    states = text_states(readings)[::-1]
    whole = ours(pipe, readings, noise, states)[0]
    assert torch.allclose(ours(pipe, readings, noise, states, rows=4)[0], whole, atol=1e-13)
    short = ours(pipe, readings, noise, states, cut=readings[0].end + 1)[0]
    assert short.shape[1] == readings[0].end + 1
    assert torch.allclose(short, whole[:, : readings[0].end + 1], atol=1e-13)


def test_masked_and_eager_encoders_are_walked_alike():
    pipe = double("sd1")
    pipe.text_encoder.config.use_attention_mask = True
    pipe.text_encoder.set_attn_implementation("eager")
    readings = read(pipe, PROMPT, "mug")
    assert readings[0].mask is not None
    noise = [subject_noise(reading, [0]) for reading in readings]
    states = text_states(readings)
    naive = torch.cat([row for row, _ in text_runs(pipe, PROMPT, readings, noise, states)])
    assert torch.allclose(ours(pipe, readings, noise, states)[0], naive, atol=1e-12)


def test_restoring_all_layers_of_all_later_tokens_by_a_window_recovers_a_one_token_subject_there():
    pipe = double("sd1")
    readings = read(pipe, PROMPT, "mug")
    reading = readings[0]
    clean, spoiled = run_of(reading), run_of(reading, subject_noise(reading, [0]))
    whole = State("te.0.block", "block", 0, reading.span[1], window=3)
    restored = restore(reading, [whole], clean, spoiled).after
    assert torch.allclose(restored[0, reading.span[1]], clean.streams[-1][0, reading.span[1]])
    # all that the noise changed was this one row of the first block's output but for what attention spread
    assert not torch.allclose(restored, clean.streams[-1])


def test_nothing_to_restore_is_an_empty_batch():
    pipe = pipeline("sd1")
    (reading,) = read(pipe, PROMPT, "mug")
    clean = run_of(reading)
    before, after = restore(reading, [], clean, clean)
    assert before.shape == after.shape == (0, 77, 32)


def test_states_are_named_and_counted():
    readings = read(pipeline("sdxl"), PROMPT, "red mug")
    states = text_states(readings)
    assert len(states) == 2 * 3 * 3 * 4  # encoders, layers, components, tokens from red to the end
    assert len({state.name for state in states}) == len(states)
    assert states[0].name == "te.0.attn@2"
    assert len(text_states(readings, ["mlp"], tokens="subject")) == 2 * 3 * 2
    assert len(text_states(readings[:1], ["mlp"], tokens="all")) == 3 * 75
    window = text_states(readings, ["block"], window=2)
    assert [state.name for state in window][:1] == ["te.0-1.block@2"]
    assert len(window) == 2 * 2 * 4


@pytest.mark.parametrize(
    ("kinds", "window", "tokens"),
    [(["att"], 1, "prompt"), (["attn"], 0, "prompt"), (["attn"], 4, "prompt"), (["attn"], 1, "some")],
)
def test_unknown_components_windows_and_tokens_are_refused(kinds, window, tokens):
    with pytest.raises(ConfigError):
        text_states(read(pipeline("sd1"), PROMPT, "mug"), kinds, window, tokens)


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl", "pocket"])
def test_our_reading_is_the_pipelines_own(kind):
    pipe = pipeline(kind)
    readings = read(pipe, PROMPT, "mug")
    runs = [run_of(reading) for reading in readings]
    check_conventions(pipe, PROMPT, readings, runs)
    with torch.no_grad():
        runs[0].streams[-1].mul_(2).add_(torch.randn(32))
        runs[0].streams[-2].mul_(2).add_(torch.randn(32))
    with pytest.raises(UnsupportedBackbone, match="read otherwise"):
        check_conventions(pipe, PROMPT, readings, runs)


def test_single_rows_are_repeated_beside_many():
    pipe = pipeline("sdxl")
    readings = read(pipe, PROMPT, "mug")
    ends = [ends_of(run_of(reading)) for reading in readings]
    many = Ends(*(part.repeat(3, 1, 1) for part in ends[0]))
    encodings, pooled = conditions(pipe, readings, [many, ends[1]])
    assert encodings.shape == (3, 77, 64)
    assert pooled is not None
    assert pooled.shape == (3, 32)
