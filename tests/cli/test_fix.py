import json

import pytest
import torch
from safetensors.torch import save_file

from diffwright.cli.main import main
from diffwright.concepts.edit import ConceptEdit
from diffwright.core.errors import InputError
from diffwright.weights.fingerprint import fingerprint
from diffwright.weights.load import load
from tests.support.tiny import folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return folder("sd1", tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def made(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("fix") / "edit"
    words = ["--from", "cat", "--to", "dog", "--from", "red mug", "--to", "mug", "--preserve", "the"]
    flags = [
        "--preview",
        "the red cat",
        "--preview",
        "a zebra",
        "--steps",
        "2",
        "--count",
        "2",
        "--lam",
        "1e-5",
    ]
    assert code("fix", "make", "--model", str(model), *words, *flags, "--out", str(out)) == 0
    return out


def code(*words):
    with pytest.raises(SystemExit) as left:
        main(words)
    return left.value.code


def test_make_writes_the_edit_the_strip_and_the_report(made):
    record = json.loads((made / "result.json").read_text())
    assert record["pairs"] == [["cat", "dog"], ["red mug", "mug"]]
    assert record["preserve"] == ["the"]
    assert [fit["source"] for fit in record["fits"]] == ["cat", "red mug"]
    assert any("a zebra" in warning for warning in record["warnings"])
    assert record["figures"]["size_kib"] < 10
    assert (made / "before-and-after.png").is_file()
    assert "cat -> dog" in (made / "report.txt").read_text()
    assert ConceptEdit.load(made).choice.lam == 1e-5


def test_pairs_come_from_a_file_too(model, tmp_path):
    table = tmp_path / "pairs.csv"
    table.write_text("cat, dog\n\nred mug,mug\n")
    flags = ["--steps", "1", "--count", "1", "--out", str(tmp_path / "out")]
    assert code("fix", "make", "--model", str(model), "--pairs", str(table), *flags) == 0
    assert ConceptEdit.load(tmp_path / "out").pairs == (("cat", "dog"), ("red mug", "mug"))


@pytest.mark.parametrize("text", ["cat,dog,mug\n", "cat,dog,fact,x\n", "cat,\n", "cat\n", ""])
def test_tables_that_hold_no_pairs_are_refused(model, tmp_path, text, capsys):
    table = tmp_path / "pairs.csv"
    table.write_text(text)
    assert (
        code("fix", "make", "--model", str(model), "--pairs", str(table), "--out", str(tmp_path / "o")) == 3
    )
    assert "pair" in capsys.readouterr().err or text.startswith("cat")
    assert not (tmp_path / "o").exists()


def test_unequal_numbers_of_from_and_to_are_refused(model, capsys):
    assert code("fix", "make", "--model", str(model), "--from", "cat") == 3
    assert "1 --from and 0 --to" in capsys.readouterr().err


def test_an_edit_without_effect_warns(model, tmp_path, capsys):
    words = ["--from", "cat", "--to", "cat", "--steps", "1", "--count", "1", "--out", str(tmp_path / "out")]
    assert code("fix", "make", "--model", str(model), *words, "--json", "-") == 0
    shown = capsys.readouterr()
    assert "changes nothing" in shown.err
    assert "changed no picture" in shown.err
    assert json.loads(shown.out)["pairs"] == [["cat", "cat"]], "nothing but JSON on standard output"


def test_apply_and_revert_on_disk(model, made, tmp_path):
    base = fingerprint(load(model))
    edited, back = tmp_path / "edited", tmp_path / "back"
    assert code("fix", "apply", "--model", str(model), "--edit", str(made), "--out", str(edited)) == 0
    assert fingerprint(load(edited)) != base
    assert code("fix", "revert", "--model", str(edited), "--out", str(back)) == 0
    assert fingerprint(load(back)) == base
    assert (
        code("fix", "apply", "--model", str(edited), "--edit", str(made), "--out", str(tmp_path / "no")) == 4
    )


def test_report_measures_a_saved_edit(model, made, tmp_path, capsys):
    record = tmp_path / "report.json"
    words = ["--edit", str(made), "--neighbour", "mug", "--json", str(record)]
    assert code("fix", "report", "--model", str(model), *words) == 0
    moved = json.loads(record.read_text())["figures"]["encoding"]["cat -> dog"]
    assert set(moved) == {"paraphrases", "neighbours"}
    assert "of the way" in capsys.readouterr().out


def test_sweep_screens_without_a_judge(model, tmp_path, capsys):
    record = tmp_path / "sweep.json"
    words = ["--pairs", "1", "--finalists", "0", "--json", str(record)]
    assert code("fix", "sweep", "--model", str(model), *words) == 0
    found = json.loads(record.read_text())
    assert len(found["rows"]) > 20
    assert {"recovery", "drift", "choice"} <= set(found["rows"][0])
    assert found["recommended"]["reason"] in capsys.readouterr().out
    assert code("fix", "sweep", "--model", str(model), "--pairs", "1") == 3
    assert "No judge" in capsys.readouterr().err


def test_kinds_modes_and_held_prompts_reach_the_edit(model, tmp_path):
    table, held = tmp_path / "pairs.csv", tmp_path / "held.txt"
    table.write_text("red mug,zebra,fact\nthe dog,,erase\n")
    held.write_text("a zebra\n\nthe car\n")
    words = ["--from", "cat", "--to", "dog|mug", "--kind", "debias", "--erase", "car", "--pairs", str(table)]
    flags = [
        "--mode",
        "covariance",
        "--hold",
        str(held),
        "--preserve-weight",
        "3",
        "--average",
        "--lam",
        "1e-5",
    ]
    short = ["--steps", "1", "--count", "1", "--out", str(tmp_path / "out")]
    assert code("fix", "make", "--model", str(model), *words, *flags, *short) == 0
    edit = ConceptEdit.load(tmp_path / "out")
    assert [(r.kind, r.target) for r in edit.rewrites] == [
        ("debias", "dog | mug"),
        ("erase", "nothing"),
        ("fact", "zebra"),
        ("erase", "nothing"),
    ]
    assert (edit.choice.mode, edit.choice.held) == ("covariance", ("a zebra", "the car"))
    assert (edit.choice.preserve_weight, edit.choice.average) == (3.0, True)


def test_site_auto_says_what_it_chose_and_why(model, tmp_path, capsys):
    effects = tmp_path / "effects.json"
    effects.write_text('{"unet.down.0.resnet.0": 2.0, "te.1.mlp": 0.75, "te.0.attn": 0.5}')
    words = ["--from", "cat", "--to", "dog", "--site", "auto", "--effects", str(effects), "--lam", "1e-5"]
    short = ["--steps", "1", "--count", "1", "--out", str(tmp_path / "out")]
    assert code("fix", "make", "--model", str(model), *words, *short) == 0
    assert "site: te.1.mlp has the strongest effect" in capsys.readouterr().out
    assert ConceptEdit.load(tmp_path / "out").choice.site == ("te.1.mlp.out",)
    assert "site: te.1.mlp" in (tmp_path / "out" / "report.txt").read_text()


@pytest.mark.parametrize(
    "flags",
    [
        ["--site", "auto", "--site", "te.0.attn.out"],
        ["--effects", "EFFECTS"],
        ["--site", "auto", "--mode", "legacy"],
    ],
)
def test_flags_that_contradict_each_other_are_refused(model, tmp_path, flags, capsys):
    effects = tmp_path / "effects.json"
    effects.write_text('{"te.0.attn": 0.5}')
    flags = [str(effects) if flag == "EFFECTS" else flag for flag in flags]
    assert code("fix", "make", "--model", str(model), "--erase", "cat", *flags) == 3
    assert "auto" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"te.0.attn": "much"}', '{"te.0.attn": NaN}'])
def test_files_without_effects_are_refused(tmp_path, text, capsys):
    effects = tmp_path / "effects.json"
    effects.write_text(text)
    assert code("fix", "sweep", "--effects", str(effects)) == 3
    assert "effects" in capsys.readouterr().err
    assert code("fix", "sweep", "--effects", str(tmp_path / "none.json")) == 3


def test_effects_are_read_from_a_trace(tmp_path):
    import numpy as np

    from diffwright.cli.fix_words import effects
    from diffwright.tracing.effects import Scores
    from diffwright.tracing.result import Trace, TraceResult
    from diffwright.tracing.states import State

    states = (
        State("te.0.attn", "attn", 0, 3),
        State("te.0.attn", "attn", 0, 4),
        State("te.1.mlp", "mlp", 1, 4),
    )
    scores = Scores(np.array([1.0]), np.array([0.0]), np.array([[0.25], [0.5], [-0.125]]))
    TraceResult(
        prompt="a cat",
        subject="cat",
        tokens={"te": ("a", "cat")},
        spans={"te": (2, 2)},
        traces={"text": Trace(states, {"embedding": scores})},
        model="0" * 64,
    ).save(tmp_path / "trace")
    assert effects(tmp_path / "trace").of("0" * 64) == {"te.0.attn": 0.5, "te.1.mlp": -0.125}
    with pytest.raises(InputError, match="another model"):
        effects(tmp_path / "trace").of("f" * 64)


def test_a_weaker_edit_is_applied_and_comes_off(model, made, tmp_path):
    half = tmp_path / "half"
    words = ["--edit", str(made), "--strength", "0.5", "--out", str(half)]
    assert code("fix", "apply", "--model", str(model), *words) == 0
    whole, base = load(model), load(model)
    ConceptEdit.load(made).apply(whole)
    name = "encoder.layers.0.self_attn.out_proj.weight"
    one, two, three = (pipe.text_encoder.get_parameter(name) for pipe in (base, load(half), whole))
    assert float((two - (one + three) / 2).abs().max()) < 1e-6
    assert code("fix", "revert", "--model", str(half), "--out", str(tmp_path / "back")) == 0
    assert fingerprint(load(tmp_path / "back")) == fingerprint(base)


def test_edits_are_composed_and_exported(model, made, tmp_path, capsys):
    flags = ["--from", "zebra", "--to", "car", "--lam", "1e-5", "--steps", "1", "--count", "1"]
    other, both = tmp_path / "other", tmp_path / "both.safetensors"
    assert code("fix", "make", "--model", str(model), *flags, "--out", str(other)) == 0
    words = ["--edit", str(made), "--edit", str(other)]
    assert code("fix", "compose", *words, "--strength", "1", "--strength", "0.5", "--out", str(both)) == 0
    assert "composed of 2 edits" in capsys.readouterr().out
    assert ConceptEdit.load(both).pairs[-1] == ("zebra", "car")
    lora = tmp_path / "lora.safetensors"
    assert code("fix", "export", "--edit", str(both), "--rank", "2", "--out", str(lora)) == 0
    assert "warning: Rank 2 keeps" in capsys.readouterr().out
    assert lora.is_file()
    assert code("fix", "compose", *words, "--strength", "1", "--out", str(tmp_path / "no")) == 3
    assert code("fix", "compose", "--out", str(tmp_path / "no")) == 3
    assert "2 --edit and 1 --strength" in capsys.readouterr().err


def test_no_output_replaces_what_is_read_or_what_is_not_ours(model, made, tmp_path, capsys):
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    foreign = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(2)}, foreign)
    inside = str(made / "edit.safetensors")
    asked = [
        (["export", "--edit", str(made), "--out", inside], "write over the input"),
        (["compose", "--edit", str(made), "--out", inside], "write over the input"),
        (["apply", "--model", str(model), "--edit", str(made), "--out", str(made)], "write over the input"),
        (["apply", "--model", str(model), "--edit", str(made), "--out", str(model)], "write over the input"),
        (["revert", "--model", str(model), "--out", str(model)], "write over the input"),
        (["export", "--edit", str(made), "--out", str(foreign)], "neither an edit nor a LoRA"),
        (["compose", "--edit", str(made), "--out", str(tmp_path / "a.txt")], "named FILE.safetensors"),
    ]
    for words, said in asked:
        assert code("fix", *words) == 3
        assert said in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    again = tmp_path / "again.safetensors"
    for _ in range(2):
        assert code("fix", "export", "--edit", str(made), "--strength", "0", "--out", str(again)) in (0, 3)


def test_a_strength_of_zero_warns(model, made, tmp_path, capsys):
    words = ["--edit", str(made), "--strength", "0", "--out", str(tmp_path / "same")]
    assert code("fix", "apply", "--model", str(model), *words) == 0
    assert "changes nothing" in capsys.readouterr().out


def test_a_table_with_a_byte_order_mark_is_read_without_it(tmp_path):
    from diffwright.cli.fix_words import asked, lines

    table = tmp_path / "pairs.csv"
    table.write_text("cat,dog\n", "utf-8-sig")
    (found,) = asked((), (), "replace", (), table)
    assert found.source == "cat"
    assert lines(table) == ["cat,dog"]
