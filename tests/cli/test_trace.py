import json

import pytest

from diffwright.cli.main import main, parse
from diffwright.tracing.result import TraceResult
from tests.support.tiny import folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return folder("sd1", tmp_path_factory.mktemp("model") / "tiny")


def code(*words):
    with pytest.raises(SystemExit) as left:
        main(["trace", *map(str, words)])
    return left.value.code


def test_a_trace_writes_table_plot_strip_and_record(model, tmp_path, capsys):
    out, record = tmp_path / "mug", tmp_path / "r.json"
    words = ["the red mug", "--subject", "mug", "--model", model, "--steps", 2, "--seeds", 1, "--rows", 20]
    assert code(*words, "--out", out, "--json", record) == 0
    assert {path.name for path in out.iterdir()} >= {"trace.png", "strip.png", "table.txt", "trace.json"}
    said = json.loads(record.read_text())
    assert said["prompt"] == "the red mug"
    assert said["settings"]["steps"] == 2
    assert said["command"].startswith("diffwright")
    assert said["figures"]["unet"]["states"] == 22
    assert not (tmp_path / "mug.part.json").exists()
    shown = capsys.readouterr().out
    assert "te." in shown
    assert "UNet rows; see" in shown
    assert TraceResult.load(out).seeds == [0]
    assert code(*words, "--out", out, "--text", "--metric", "embedding") == 0, "an earlier trace is replaced"


@pytest.mark.parametrize(
    ("flags", "parts", "components"),
    [
        ([], ["text", "unet"], []),
        (["--text"], ["text"], []),
        (["--unet", "--component", "attn2"], ["unet"], ["attn2"]),
        (["--component", "mlp"], ["text"], ["mlp"]),
        (["--component", "mlp", "--component", "branch"], ["text", "unet"], ["mlp", "branch"]),
        (["--screen", "--metric", "embedding"], ["text"], []),
    ],
)
def test_flags_choose_what_is_traced(flags, parts, components):
    assert parse("trace", ["a mug", "--subject", "mug", *flags])._chosen() == (parts, components)


@pytest.mark.parametrize(
    ("flags", "number", "said"),
    [
        (["--subject", "duck"], 3, "does not occur"),
        (["--subject", "mug", "--seeds", "0"], 2, "seeds is 0"),
        (["--subject", "mug", "--unet", "--component", "mlp"], 2, "component is 'mlp'"),
        (["--subject", "mug", "--metric", "embedding", "--scorer", "clip"], 2, "A scorer looks at pictures"),
        (["--subject", "mug", "--scorer", "no/such/folder"], 4, "not found"),
        (["--subject", "mug", "--window", "4", "--text"], 2, "window is 4"),
    ],
)
def test_what_does_not_fit_is_said(model, tmp_path, capsys, flags, number, said):
    assert code("the red mug", "--model", model, "--out", tmp_path / "o", "--steps", 1, *flags) == number
    assert said in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_the_rest_of_an_interrupted_trace_is_done_by_the_same_command(model, tmp_path, monkeypatch, capsys):
    from diffwright.core.errors import Cancelled
    from diffwright.tracing.job import Sample

    words = ["the red mug", "--subject", "mug", "--model", model, "--steps", 1, "--out", tmp_path / "o"]
    score, done = Sample.score, []

    def once(self, *rest):
        if done:
            raise Cancelled("stopped")
        done.append(1)
        return score(self, *rest)

    monkeypatch.setattr(Sample, "score", once)
    assert code(*words) == 130
    assert (tmp_path / "o.part.json").is_file()
    monkeypatch.setattr(Sample, "score", score)
    assert code(*words) == 0
    assert not (tmp_path / "o.part.json").exists()
    assert (tmp_path / "o" / "result.json").is_file()
