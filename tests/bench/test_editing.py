import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from diffwright.bench import editing, editing_arms, editing_tune, harness
from diffwright.bench.baselines.editing import CutAndPaste, LatentDrag, Renoised, identity
from diffwright.bench.editing_arms import Bench
from diffwright.bench.editing_cases import TASKS, cases
from diffwright.bench.editing_cost import PUBLISHED_TFLOP, evaluations, operations, parts, tflop
from diffwright.bench.editing_files import export_cases, score_folder
from diffwright.bench.editing_metrics import BEST_DB, mean, measure, object_mask, wins, zones
from diffwright.bench.editing_plan import ABLATIONS, QUICK, Plan, calls, cost_table, work
from diffwright.bench.editing_tune import Tune, drawn
from diffwright.core.errors import ConfigError, InputError
from diffwright.core.images import save_png
from diffwright.editing.composition import zone_of
from diffwright.editing.editor import ImageEditor
from diffwright.editing.frame import Sight, choose_frame
from diffwright.editing.operations import Drag, Move
from diffwright.editing.presets import PRESETS
from tests.editing.conftest import quick
from tests.editing.test_image_prompt import tower, trained
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


def test_models_as_controls_keep_what_lies_outside_the_feathered_zone(some, pipe):
    small = {name: shrunk(some[name]) for name in ("move", "drag")}
    for editor, case in ((Renoised(pipe, 0.3, 6), small["move"]), (LatentDrag(pipe, 0.9, 2), small["drag"])):
        places = [case.operation.place((64, 64))]
        frame = choose_frame((64, 64), (0, 0, 64, 64), Sight.of(pipe))
        outside = zone_of(places, frame) == 0
        assert outside.mean() > 0.1
        out = editor(case)
        np.testing.assert_array_equal(out[outside], case.picture[outside])
        assert (out != case.picture).any()


def shrunk(case):
    """The same picture with an operation in one corner: cells of the tiny model are eight pixels wide."""
    mask = np.zeros((64, 64), bool)
    mask[4:12, 4:12] = True
    dragged, moved = Drag(((8.0, 8.0),), ((11.0, 8.0),), mask), Move(mask, (3.0, 0.0))
    return replace(case, operation=dragged if case.task == "drag" else moved)


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


def test_operations_are_counted_forward_and_backward():
    a, b = torch.ones(3, 5), torch.ones(5, 7, requires_grad=True)
    assert operations(lambda: a @ b) == 2 * 3 * 5 * 7
    assert operations(lambda: torch.autograd.grad((a @ b).sum(), b)) == 2 * 2 * 3 * 5 * 7
    q = torch.ones(1, 2, 4, 8)
    attention = operations(lambda: torch.nn.functional.scaled_dot_product_attention(q, q, q))
    assert attention == 2 * 2 * (4 * 4 * 8) * 2


def test_what_an_edit_calls_is_known_beforehand(some, pipe):
    case = shrunk(some["move"])
    for name in PRESETS:
        preset = quick(name)
        editor = ImageEditor(pipe, preset).set_image(case.picture)
        result = editor.edit([case.operation])
        told = evaluations(preset)
        assert told["unet"] + told["to_taps"] == result.figures["unet_passes"], name


def test_costs_are_evaluations_times_milliseconds(pipe):
    editor = ImageEditor(pipe)
    figures = cost_table(editor, QUICK, ("quality", "ablation", "prompts", "cost"))
    assert figures["planned_minutes"].value > 0
    assert figures["planned_minutes_prompts"].value == 0
    assert "latent_drag 1 x 1" in figures["planned_minutes_quality"].note
    assert set(work(Plan(), "ablation", False)) >= set(ABLATIONS) - {"reference_without_image_prompt"}
    assert "reference_without_image_prompt" not in work(Plan(), "ablation", False)
    assert calls("paste", "move") == dict.fromkeys(calls("balanced", "move"), 0)


@pytest.fixture
def small(some, pipe, monkeypatch):
    """The bench on one case a task, with the tiny model, presets of few steps, and an image prompt or none."""
    pytest.importorskip("cv2")
    for name in PRESETS:
        monkeypatch.setitem(PRESETS, name, quick(name, steps=3))
    for name in ABLATIONS:
        monkeypatch.setitem(ABLATIONS, name, PRESETS[name.partition("_")[0]])
    given = {task: [replace(some[task], hard=True)] for task in TASKS}
    for module in (editing, editing_arms):
        monkeypatch.setattr(module, "cases", lambda task, *_: given[task])
    monkeypatch.setattr(Bench, "cases", lambda _, task, count: given[task][:count])

    def install(*prompt):
        monkeypatch.setattr(
            ImageEditor, "from_pretrained", classmethod(lambda cls, *_: cls(pipe, "balanced", *prompt))
        )

    install()
    return install


@pytest.mark.slow
def test_the_short_bench_gives_every_figure(small, pipe):
    small(trained(pipe.unet), tower())
    figures = editing.run(True)
    for name in (
        *("move_destination_psnr", "move_destination_psnr_paste", "move_residue", "move_centroid_px"),
        *("resize_scale_error", "drag_handle_px", "drag_handle_px_latent_opt", "replace_delta_e"),
        *("paste_destination_psnr", "remove_vacated_psnr", "remove_vacated_psnr_paste", "background_psnr"),
        *("move_win_rate", "resize_win_rate", "remove_win_rate", "hard_win_rate", "failed_share"),
        *("image_prompt_gain_db", "sde_diversity_ratio", "dragon_win_rate", "seconds_per_edit_fast"),
        *("second_edit_ratio", "cost_ratio_fast", "fast_loss_db", "fast_tflop_512", "planned_minutes"),
        *("move_win_rate_uncomposed", "move_win_rate_identity", "zone_move_psnr_vacated"),
        *("ablation_reference_without_bank", "image_prompt_gain_db_mismatched"),
    ):
        assert np.isfinite(figures[name].value), name
    assert next(iter(figures)) == "planned_minutes"
    assert figures["failed_share"].value == 0
    assert all(np.isfinite(figure.value) for figure in figures.values())


def test_figures_of_an_image_prompt_are_left_out_by_name(small):
    figures = editing.run(True, parts=("prompts",))
    assert "image_prompt_gain_db" not in figures
    note = figures["image_prompt_figures"].note
    assert note.startswith("not run: this model has no image prompt: image_prompt_gain_db")


def test_parts_and_folders_are_chosen_on_the_command_line(small, tmp_path):
    figures = harness.run("editing", True, export=tmp_path / "cases")
    assert figures["cases"].value == len(TASKS)
    assert (tmp_path / "cases" / "README.txt").is_file()
    with pytest.raises(InputError, match=r"result\.png is missing"):
        harness.run("editing", True, score=tmp_path / "cases")
    with pytest.raises(ConfigError, match="part"):
        harness.run("editing", True, parts=("speed",))


def test_operations_at_real_size_are_near_those_of_the_published_code():
    part = parts(512)
    assert part["unet"] == pytest.approx(0.803, rel=0.02)
    assert part["to_taps"] == pytest.approx(0.606, rel=0.02)
    assert part["backward"] == pytest.approx(0.661, rel=0.05)
    assert tflop(PRESETS["reference"]) == pytest.approx(PUBLISHED_TFLOP, rel=0.1)
    assert tflop(PRESETS["fast"]) <= 55


def test_trials_are_the_same_for_a_number_and_go_on_where_they_stopped(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(editing_tune, "cases", lambda task, _, count: editing.cases(task)[:count])
    assert drawn("reference", 0) == drawn("fast", 0) == {}
    assert drawn("balanced", 3) == drawn("balanced", 3) != drawn("balanced", 4)
    for name in PRESETS:
        for trial in range(40):
            replace(PRESETS[name], **drawn(name, trial))
    search = Tune(out=tmp_path / "t.jsonl", presets=("reference", "fast"), trials=1, tasks=("move",), cases=1)
    first = search.run()
    assert [t["preset"] for t in first] == ["reference", "fast"]
    assert "2/2, 0 min left" in capsys.readouterr().out
    lines = search.out.read_text().splitlines(keepends=True)
    search.out.write_text(lines[0] + lines[1][:20])
    again = search.run()
    assert "1/1, 0 min left" in capsys.readouterr().out
    assert again[1]["score"] == pytest.approx(first[1]["score"], rel=1e-3, abs=1e-3)
    with pytest.raises(InputError, match="other cases"):
        replace(search, cases=2).run()
