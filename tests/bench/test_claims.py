from pathlib import Path

import pytest

from diffwright.bench.claims import (
    benchmarks_page,
    claims_page,
    load,
    verdict,
    write_pages,
)
from diffwright.bench.harness import BENCHES, Figure, write_json
from diffwright.bench.papers import GOALS, PAPERS
from diffwright.core.errors import InputError

DOCS = Path(__file__).parents[2] / "docs"
CLAIMS = [claim for paper in PAPERS for claim in paper.claims]


def measured(**values):
    figures = {name: {"value": value, "unit": "", "better": "higher"} for name, value in values.items()}
    return {"concepts": {"figures": figures, "environment": {}}}


def the_claim(words):
    return next(claim for claim in CLAIMS if words in claim.text)


def test_every_linked_bench_exists_and_every_paper_has_claims():
    assert len(PAPERS) == 5
    assert all(paper.claims for paper in PAPERS)
    assert {claim.bench for claim in CLAIMS} - {""} <= set(BENCHES)
    assert set(GOALS) <= set(BENCHES)
    assert all((claim.bench == "") == (claim.bounds == ()) for claim in CLAIMS)
    assert all(bool(claim.control) for claim in CLAIMS if claim.bounds), "a measured claim needs a control"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "not run here"),
        ({"efficacy": 0.9}, "not run here"),
        ({"efficacy": 0.9, "unrelated_drop": 0.01}, "confirmed"),
        ({"efficacy": 0.7, "unrelated_drop": 0.05}, "confirmed"),
        ({"efficacy": 0.69, "unrelated_drop": 0.01}, "refuted"),
        ({"efficacy": 0.9, "unrelated_drop": 0.06}, "refuted"),
    ],
)
def test_verdict_follows_the_figures(values, expected):
    assert verdict(the_claim("The edit works"), measured(**values)) == expected


def test_a_claim_is_not_decided_on_a_model_that_is_not_fit_for_it():
    found = measured(efficacy=0.9, unrelated_drop=0.5)
    assert verdict(the_claim("The edit works"), found) == "refuted"
    found["t2i"] = {"figures": {"kind_accuracy": {"value": 0.2}}, "environment": {}}
    assert verdict(the_claim("The edit works"), found) == "not run here"
    assert "not fit for it yet: kind_accuracy = 0.2 (at least 0.8)" in claims_page(found)
    found["t2i"]["figures"]["kind_accuracy"]["value"] = 0.85
    assert verdict(the_claim("The edit works"), found) == "refuted"


def test_pages_show_figures_goals_controls_and_commands(tmp_path):
    surroundings = {
        "commit": "0123456789abcdef",
        "dirty": True,
        "date": "2026-11-20",
        "machine": "x86",
        "cores": 2,
    }
    figures = {
        "edit_ms_clip_l": Figure(412.34, "ms", "lower", "21 runs | warm"),
        "reference_path_ratio": Figure(17.2, "x", "higher"),
    }
    write_json(
        tmp_path / "bench" / "concepts.json", figures, {**surroundings, "busy": "the machine was busy"}
    )
    write_pages(tmp_path)
    claims, benchmarks = (tmp_path / "claims.md").read_text(), (tmp_path / "benchmarks.md").read_text()
    row = next(line for line in claims.splitlines() if "under a second" in line)
    assert "**confirmed**" in row
    assert "edit_ms_clip_l = 412.3 ms (at most 1000)" in row
    assert "reference_path_ratio = 17.2 x" in row
    assert "diffwright bench concepts --json docs/bench/concepts.json" in row
    assert "at most 300: **missed**" in benchmarks
    assert "at least 10: reached" in benchmarks
    assert "21 runs \\| warm" in benchmarks
    assert "commit 0123456789 with uncommitted changes" in benchmarks
    assert "the machine was busy" in benchmarks


def test_the_recorded_command_is_shown_where_there_is_one():
    typed = "diffwright bench concepts --quick --json out.json"
    found = measured(efficacy=0.9, unrelated_drop=0.01)
    found["concepts"]["environment"] = {"command": typed}
    for page in (claims_page(found), benchmarks_page(found)):
        assert f"`{typed}`" in page
        assert "docs/bench/concepts.json" not in page


def test_parts_of_a_bench_are_records_of_their_own(tmp_path):
    folder = tmp_path / "bench"
    write_json(
        folder / "concepts.speed.json", {"edit_ms_clip_l": Figure(20.0, "ms", "lower")}, {"date": "May"}
    )
    write_json(folder / "concepts.quality.json", {"efficacy": Figure(0.9, "", "higher")}, {"date": "June"})
    write_pages(tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    quality, speed = page.split("## ")[1:]
    assert quality.startswith("concepts.quality")
    assert "June" in quality
    assert "at least 0.7: reached" in quality
    assert "edit_ms_clip_l" in speed
    assert "diffwright bench concepts --json docs/bench/concepts.speed.json" in speed


def test_without_figures_nothing_is_claimed():
    page = claims_page({})
    assert "0 confirmed, 0 refuted" in page
    assert page.count("not run here |") == len(CLAIMS)
    assert "No bench has been run" in benchmarks_page({})


@pytest.mark.parametrize(
    ("name", "text"),
    [("concepts", "{"), ("concepts", "[]"), ("concepts", '{"figures": {"a": 1}}'), ("unknown", "{}")],
)
def test_other_files_are_refused(tmp_path, name, text):
    (tmp_path / f"{name}.json").write_text(text)
    with pytest.raises(InputError):
        load(tmp_path)


def test_the_committed_pages_are_those_of_the_committed_figures():
    found = load(DOCS / "bench")
    hint = "run python -m diffwright.bench.claims and commit the pages"
    assert (DOCS / "claims.md").read_text() == claims_page(found), hint
    assert (DOCS / "benchmarks.md").read_text() == benchmarks_page(found), hint
