import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from diffwright.bench import editing
from diffwright.bench.baselines.editing import CutAndPaste, LatentDrag, Renoised, identity
from diffwright.bench.editing_cases import TASKS, cases
from diffwright.bench.editing_cost import PUBLISHED_TFLOP, operations, parts, tflop
from diffwright.bench.editing_files import export_cases, score_folder
from diffwright.bench.editing_metrics import BEST_DB, mean, measure, object_mask, wins, zones
from diffwright.core.errors import InputError
from diffwright.core.images import save_png
from diffwright.editing.editor import ImageEditor
from diffwright.world.edits import dilated
from tests.editing.conftest import quick
from tests.support.tiny import pipeline


@pytest.fixture(scope="module")
def some():
    """One case a task; a hard one of removing."""
    found = {task: cases(task, "development", 1)[0] for task in TASKS}
    found["hard"] = cases("remove", "development", 3)[2]
    return found


def test_outside_of_what_an_edit_touches_nothing_differs(some):
    for name, case in some.items():
        same = (case.picture == case.truth).all(-1) | case.touched
        assert same.all(), name
        assert (case.picture != case.truth).any(), name


def test_masks_are_those_of_the_edit(some):
    assert not some["remove"].destination.any()
    assert not some["paste"].source.any()
    assert (some["move"].vacated == (some["move"].source & ~some["move"].destination)).all()
    np.testing.assert_array_equal(some["replace"].source, some["replace"].destination)
    assert some["hard"].hard
    for case in some.values():
        assert (case.source | case.destination).mean() > 0.03


def test_what_is_asked_for_leads_to_the_destination(some):
    for task in ("move", "resize", "paste"):
        case = some[task]
        reached = case.operation.place((64, 64)).destination
        overlap = (reached & case.destination).sum() / (reached | case.destination).sum()
        assert overlap > 0.6, task


def test_cases_are_the_same_every_time(some):
    again = cases("move", "development", 1)[0]
    np.testing.assert_array_equal(again.picture, some["move"].picture)
    np.testing.assert_array_equal(again.operation.mask, some["move"].operation.mask)


def test_the_truth_is_perfect_and_doing_nothing_is_not(some):
    for case in some.values():
        perfect, lazy = measure(case, case.truth), measure(case, identity(case))
        assert perfect["rmse_touched"] == 0
        assert perfect["psnr_whole"] == lazy["psnr_background"] == BEST_DB
        assert lazy["rmse_touched"] > 1
        if case.task == "replace":
            assert perfect["delta_e"] == 0 < lazy["delta_e"]
        elif case.task == "drag":
            assert perfect["handle_px"] == 0
        if case.task == "remove":
            assert perfect["residue"] == 0
            assert lazy["residue"] == 1
        elif case.task in ("move", "resize"):
            assert perfect["iou"] > 0.85
            assert perfect["iou"] > lazy["iou"]
            assert perfect["centroid_px"] < 1.5
        assert not (zones(case)["background"] & case.touched).any()
        assert (object_mask(case, case.truth) <= (case.source | case.destination)).all()


def test_scissors_and_paste_come_nearer_than_doing_nothing(some):
    pytest.importorskip("cv2")
    for task in ("move", "paste", "remove", "replace"):
        case = some[task]
        ours, nothing = measure(case, CutAndPaste("telea", 1)(case)), measure(case, identity(case))
        assert ours["rmse_touched"] < nothing["rmse_touched"], task


@pytest.fixture(scope="module")
def pipe():
    return pipeline("pocket")


def test_models_as_controls_keep_the_background(some, pipe):
    for editor, case in ((Renoised(pipe, 0.3, 6), some["move"]), (LatentDrag(pipe, 0.9, 2), some["drag"])):
        out = editor(case)
        far = ~dilated(torch.from_numpy(case.touched | case.operation.place((64, 64)).zone), 12).numpy()
        np.testing.assert_array_equal(out[far], case.picture[far])


def test_wins_and_means():
    ours = [{"rmse_touched": 1.0, "x": 2.0}, {"rmse_touched": 3.0}, {"rmse_touched": 2.0}]
    theirs = [{"rmse_touched": 2.0}, {"rmse_touched": 2.0}, {"rmse_touched": 2.0}]
    assert wins(ours, theirs) == pytest.approx({"win": 1 / 3, "tie": 1 / 3, "loss": 1 / 3})
    assert mean(ours, "x") == 2
    assert np.isnan(mean(ours, "y"))


def test_cases_go_out_and_pictures_come_back(some, tmp_path):
    pair = [some["move"], some["replace"]]
    assert export_cases(tmp_path / "cases", pair)["cases"].value == 2
    record = json.loads((tmp_path / "cases" / pair[0].name / "case.json").read_text())
    assert record["operation"]["kind"] in ("move", "resize")
    with pytest.raises(InputError, match=r"result\.png is missing"):
        score_folder(tmp_path / "cases", pair)
    for case in pair:
        save_png(case.truth, tmp_path / "cases" / case.name / "result.png")
    figures = score_folder(tmp_path / "cases", pair)
    assert figures["move_rmse_touched"].value == figures["replace_delta_e"].value == 0
    save_png(some["drag"].picture, tmp_path / "cases" / pair[0].name / "source.png")
    with pytest.raises(InputError, match="another version"):
        score_folder(tmp_path / "cases", pair)
    with pytest.raises(InputError, match="no exported case"):
        score_folder(tmp_path / "nothing", pair)


def test_operations_are_counted():
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    assert operations(lambda: a @ b) == 2 * 3 * 5 * 7


@pytest.mark.slow
def test_the_bench_gives_its_figures(some, pipe, monkeypatch):
    pytest.importorskip("cv2")
    monkeypatch.setattr(editing, "cases", lambda task, *_: [some[task]])
    small = {name: quick(name, steps=3) for name in editing.PRESETS}
    for module in (editing, __import__("diffwright.editing.presets", fromlist=["PRESETS"])):
        monkeypatch.setattr(module, "PRESETS", small)
    monkeypatch.setattr("diffwright.bench.editing_cost.PRESETS", small)
    monkeypatch.setattr(
        ImageEditor, "from_pretrained", classmethod(lambda cls, *_: cls(pipe, small["balanced"]))
    )
    few = {name: replace(settings, steps=3) for name, settings in list(editing.ABLATIONS.items())[:1]}
    monkeypatch.setattr(editing, "ABLATIONS", few)
    monkeypatch.setattr(editing, "SEEDS", 2)
    figures = editing.run(False)
    for name in (
        *("move_destination_psnr", "move_destination_psnr_paste", "move_residue", "move_centroid_px"),
        *("resize_scale_error", "drag_handle_px", "drag_handle_px_latent_opt", "replace_delta_e"),
        *("paste_destination_psnr", "remove_vacated_psnr", "remove_vacated_psnr_paste", "background_psnr"),
        *("move_win_rate", "resize_win_rate", "remove_win_rate", "hard_win_rate", "failed_share"),
        *("image_prompt_gain_db", "sde_diversity_ratio", "dragon_win_rate", "seconds_per_edit_fast"),
        *("second_edit_ratio", "cost_ratio_fast", "fast_loss_db"),
    ):
        assert np.isfinite(figures[name].value) or name == "hard_win_rate", name
    assert figures["failed_share"].value == 0


def test_operations_at_real_size_are_near_those_of_the_published_code():
    part = parts(512)
    assert part["unet"] == pytest.approx(0.803, rel=0.02)
    assert part["to_taps"] == pytest.approx(0.606, rel=0.02)
    assert part["backward"] == pytest.approx(0.661, rel=0.05)
    assert tflop(editing.PRESETS["reference"]) == pytest.approx(PUBLISHED_TFLOP, rel=0.1)
    assert tflop(editing.PRESETS["fast"]) <= 55
