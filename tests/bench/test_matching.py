import numpy as np
import pytest
import torch

from diffwright.bench import (
    matching,
    matching_ablation,
    matching_methods,
    matching_run,
    matching_trust,
    matching_world,
)
from diffwright.bench.matching_pairs import Pair, homography_flow
from diffwright.core.errors import InputError, MissingExtra, WeightsMissing
from diffwright.matching.matcher import Matcher
from tests.support import tiny_match
from tests.support.match_files import SHIFT, moved, texture, write_flow_pair, write_sequence

NAMED = {
    "aepe_view_240", "aepe_view_best_dense_baseline", "pck5_view_240", "aepe_photo_240", "aepe_level5",
    "diffusion_reduction", "smoothing_reduction", "regression_ratio", "no_cost_injection_ratio", "path_gain",
    "world_epe", "world_epe_textureless", "world_epe_repetitive", "world_epe_large", "corruption_ratio",
    "ause_ratio", "stagewise_memory_ratio", "refine_gain_dis", "seconds_per_pair", "parameters_millions",
}  # fmt: skip
SMALL = matching.Plan(
    first=4, stride=5, world=1, size=32, corruptions=("gaussian_noise", "frost"), samples=(1, 5), steps=(2, 10),
    rounds=1, batch=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    tiny_match.folder(path / "ours")
    for seed, arm in enumerate(matching_methods.ARMS, 1):
        tiny_match.folder(path / "arms" / arm, seed, stages=1, cost_injection=arm != "no_cost")
    return path


@pytest.fixture
def quick(monkeypatch):
    """The bench at its smallest, without rendering and without processes of its own."""

    def pairs(subset, count, size, *_):
        image = texture(size, size)
        flow, valid = homography_flow(SHIFT, (size, size), (size, size))
        return [Pair(f"{subset} 1", subset, "world", "", image, moved(image, SHIFT), flow, valid)] * count

    monkeypatch.setattr(matching, "QUICK", SMALL)
    monkeypatch.setattr(matching_run, "world_pairs", pairs)
    found = {"joint": 3.0, "features": 1.0, "stage1": 2.0}
    monkeypatch.setattr(matching_trust.memory, "peaks", lambda *_: found)


def test_every_named_figure_is_measured(model, quick, tmp_path):
    pytest.importorskip("cv2")
    write_sequence(tmp_path / "graf")
    write_sequence(tmp_path / "ubc")
    write_flow_pair(tmp_path)
    out = tmp_path / "tables"
    figures = matching.run(True, pairs=tmp_path, model=model / "ours", arms=model / "arms", tables=out)
    assert set(figures) >= NAMED
    assert all(np.isfinite(figure.value) for figure in figures.values())
    assert figures["aepe_view_240_zero"].value == pytest.approx(np.hypot(6 * 3, 4 * 3.75), rel=1e-3)
    assert figures["stagewise_memory_ratio"].value == 1.5
    assert "control" in figures["regression_ratio"].note
    page = (out / "tables.md").read_text()
    assert "## view_original" in page
    assert "| K=5 T=2 |" in page
    assert "| dis_refined |" in page


def test_without_pairs_rendered_views_take_their_place(model, quick):
    pytest.importorskip("cv2")
    figures = matching.run(True, model=model / "ours")
    missing = {
        "aepe_view_240",
        "aepe_view_best_dense_baseline",
        "pck5_view_240",
        "aepe_photo_240",
        "aepe_level5",
    }
    assert NAMED - set(figures) == missing | {"regression_ratio", "no_cost_injection_ratio"}
    assert "world_general" in figures["diffusion_reduction"].note


@pytest.mark.parametrize("part", matching.PARTS)
def test_a_part_is_measured_alone(model, quick, part):
    pytest.importorskip("cv2")
    found = matching.run(True, model=model / "ours", arms=model / "arms", parts=(part,))
    assert found
    assert ("seconds_per_pair" in found) == (part == "cost")
    assert ("regression_ratio_world" in found) == (part == "ablation")


def test_without_weights_one_sentence_names_the_recipes(tmp_path, monkeypatch):
    monkeypatch.setattr(matching_methods, "POCKET", tmp_path)
    with pytest.raises(WeightsMissing, match="match-features, then match-stage1, then match-stage2"):
        matching.run(True)
    with pytest.raises(WeightsMissing, match="diffwright train match-regression"):
        matching_methods.arms_of(tmp_path)
    assert matching_methods.arms_of(None) == {}


def test_an_arm_without_its_stage_is_refused(tmp_path):
    tiny_match.folder(tmp_path / "regression", stages=0)
    with pytest.raises(InputError, match="train match-regression"):
        matching_methods.arms_of(tmp_path)


def test_a_folder_without_pairs_is_refused_before_a_model_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(matching, "matcher_of", lambda *_: pytest.fail("a model was loaded"))
    with pytest.raises(InputError, match="holds neither"):
        matching.run(True, pairs=tmp_path)


def test_stage_1_of_the_bench_is_that_of_the_matcher():
    model = tiny_match.model(stages=1)
    a, b = texture(64, 64), texture(64, 64, seed=1)
    flow = torch.zeros(2, 64, 64)
    pair = Pair("x", "x", "view", "", a, b, flow, flow[0] == 0)
    ours = matching_methods.by_options(Matcher(model), matching_methods.STAGE1)(pair)
    again = matching_methods.compare(model, pair).sampled(model, samples=3, steps=5)
    assert torch.allclose(ours, again, atol=1e-3)


def test_corrupted_pairs_keep_their_truth_and_have_noise_of_their_own():
    image = texture(64, 64)
    flow = torch.zeros(2, 64, 64)
    bad = matching_trust.corrupted(
        Pair("x", "x", "view", "", image, image, flow, flow[0] == 0), "gaussian_noise"
    )
    assert bad.flow is flow
    assert not np.array_equal(bad.image_a, bad.image_b)


def test_the_full_plan_measures_everything():
    assert len(matching.Plan().corruptions) == 15
    assert set(matching_world.SUBSETS) == {"general", "textureless", "repetitive", "large"}
    k, t = matching_ablation.PATHS["path_gain"]
    for plan in (matching.Plan(), matching.QUICK):
        assert {k, 1} <= set(plan.samples)
        assert {t, k * t} <= set(plan.steps)


def test_without_opencv_the_extra_is_named(model, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtra, match="bench"):
        matching.run(True, model=model / "ours")
