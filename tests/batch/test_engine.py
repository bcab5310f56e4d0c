import json
from contextlib import contextmanager

import pytest

from diffwright.batch.engine import run
from diffwright.batch.job import Prepared, Worker
from diffwright.batch.manifest import locked
from diffwright.batch.rows import Columns, read_rows
from diffwright.core.errors import Cancelled, ConfigError, InputError, JobFailed, WeightsMissing
from diffwright.core.results import Result
from tests.batch.fake import Fake, job, marks, table


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def rows_of(out, *cells, heading="what,seconds"):
    return read_rows(table(out.parent / "t.csv", cells, heading), Columns(("what",), ("seconds",)))


def manifest(out):
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def test_results_errors_manifest_and_a_second_run(out):
    rows = rows_of(out, "duck", "bad", "odd", "bug", "crash", "a,b,c", "mug")
    steps = []
    summary = run(job(out), rows, out, workers=2, progress=lambda *told: steps.append(told))
    assert (summary.rows, summary.done, summary.earlier) == (7, 3, 0)
    assert steps == [("rows", done, 7) for done in range(8)]
    assert [line["id"] for line in summary.errors] == ["00002", "00004", "00005", "00006"]
    assert [line["error"] for line in summary.errors] == [
        *("InputError", "ZeroDivisionError", "JobFailed", "InputError")
    ]
    said = [line["message"] for line in summary.errors]
    assert said[0] == "the picture is torn"
    assert said[1] == "unexpected ZeroDivisionError: by zero"
    assert "ended 3 workers (exit code 7)" in said[2]
    assert "3 cells for 2 columns" in said[3]
    assert sorted(path.name for path in (out / "results").iterdir()) == ["00001", "00003", "00007"]
    lines = {line["id"]: line for line in manifest(out)}
    assert len(lines) == len(manifest(out)) == 7
    assert lines["00001"]["figures"] == {"letters": 4}
    assert lines["00003"]["warnings"] == ["odd"]
    assert json.loads((out / "results" / "00001" / "row.json").read_text()) == lines["00001"]
    assert 2 <= len(marks(out, "load")) <= 5, "a worker loads once, and its successor once"
    before = len(marks(out))
    again = run(job(out), rows, out, workers=2)
    assert (again.done, again.earlier, len(again.errors)) == (3, 7, 4)
    assert len(marks(out)) == before, "nothing is left to do"


def test_errors_are_done_again_on_request_and_mended_rows_without(out):
    run(job(out), rows_of(out, "duck", "bad", "bad"), out)
    summary = run(job(out), rows_of(out, "duck", "mug", "bad"), out)
    assert (summary.done, summary.earlier) == (2, 2)
    assert len(marks(out, "00003")) == 1
    run(job(out), rows_of(out, "duck", "mug", "bad"), out, retry=True)
    assert [len(marks(out, f"0000{n}")) for n in (1, 2, 3)] == [1, 2, 2]
    assert sorted(line["id"] for line in manifest(out)) == ["00001", "00002", "00003"]


def test_results_are_found_without_their_lines_and_torn_lines_are_mended(out):
    rows = rows_of(out, "duck", "mug", "bad", "cat")
    run(job(out), rows, out)
    whole = {line["id"]: line for line in manifest(out)}
    text = (out / "manifest.jsonl").read_text()
    (out / "manifest.jsonl").write_text(text.splitlines()[0] + "\n" + text.splitlines()[1][:20])
    (out / "results" / ".00009.abc.tmp").mkdir()
    run(job(out), rows[:2], out)
    assert len(marks(out)) == 5
    assert sorted(path.name for path in (out / "results").iterdir()) == ["00001", "00002", "00004"]
    (out / "manifest.jsonl").unlink()
    summary = run(job(out), rows, out)
    assert summary.earlier == 3, "only the error is done again"
    for line in manifest(out):
        assert {k: v for k, v in line.items() if k != "seconds"} == {
            k: v for k, v in whole[line["id"]].items() if k != "seconds"
        }


def test_the_folder_of_another_job_table_or_model_is_refused(out):
    run(job(out), rows_of(out, "duck"), out)
    with pytest.raises(InputError, match="another job: loading was '', now 'slow'"):
        run(job(out, loading="slow"), rows_of(out, "duck"), out)
    with pytest.raises(InputError, match="row 1 of the table differs"):
        run(job(out), rows_of(out, "goose"), out)
    mark = json.loads((out / "batch.json").read_text())
    (out / "batch.json").write_text(json.dumps({**mark, "model": "other"}))
    with pytest.raises(InputError, match="results of weights other, the model given now has w1"):
        run(job(out), rows_of(out, "duck", "mug"), out)
    (out / "batch.json").write_text(json.dumps({**mark, "job": "match"}))
    with pytest.raises(InputError, match="results of batch match, not fake"):
        run(job(out), rows_of(out, "duck"), out)
    (out / "batch.json").write_text("{}")
    with pytest.raises(InputError, match="of no batch of this version"):
        run(job(out), rows_of(out, "duck"), out)
    mine = out.parent / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("hello")
    with pytest.raises(InputError, match=r"'letter.txt', which is of no batch"):
        run(job(out), rows_of(out, "duck"), mine)
    with pytest.raises(InputError, match="is not a folder"):
        run(job(out), rows_of(out, "duck"), mine / "letter.txt")
    with locked(out), pytest.raises(ConfigError, match="another run"), locked(out):
        pass


@pytest.mark.parametrize(
    ("changes", "cell", "error", "said"),
    [
        ({"loading": "missing"}, "duck", WeightsMissing, "no such model"),
        ({"loading": "crash"}, "duck", JobFailed, r"3 workers ended while .* \(exit code 9\)"),
        ({}, "options", ConfigError, "steps is 0"),
    ],
)
def test_what_concerns_all_rows_ends_the_batch(out, changes, cell, error, said):
    with pytest.raises(error, match=said):
        run(job(out, **changes), rows_of(out, cell), out)
    assert manifest(out) == []


def test_progress_may_stop_it(out):
    rows = rows_of(out, *["duck"] * 5)
    with pytest.raises(Cancelled):
        run(job(out), rows, out, progress=lambda what, done, total: done == 2)
    assert len(manifest(out)) == 2
    with pytest.raises(ConfigError, match="workers is 0"):
        run(job(out), rows, out, workers=0)


def test_a_full_disk_ends_the_batch_and_a_result_that_is_no_json_does_not(out, monkeypatch):
    prepared = Prepared(lambda row: Result(figures={"loss": float(row.text("what"))}))
    worker = Worker(job(out), prepared, out)
    odd, sound = rows_of(out, "nan", "1")
    line = worker.finish(odd)
    assert (line["error"], "not plain JSON" in line["message"]) == ("JobFailed", True)

    @contextmanager
    def full(path):
        raise JobFailed("no space left") from OSError("no space left")
        yield

    monkeypatch.setattr("diffwright.batch.job.directory", full)
    with pytest.raises(JobFailed, match="no space left"):
        worker.finish(sound)


def test_settings_leave_out_where_it_runs():
    settings = Fake(marks="m", device="cuda", command="diffwright batch").settings()
    assert settings == {"model": "", "marks": "m", "weights": "w1", "loading": ""}
