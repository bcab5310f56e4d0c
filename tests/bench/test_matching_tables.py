import csv

import numpy as np
import pytest
import torch

from diffwright.bench import matching_tables as tables
from diffwright.bench.matching_pairs import Pair
from diffwright.core.errors import JobFailed


def pair(name="one", level="I", shift=(3.0, 4.0)):
    flow = torch.tensor(shift).view(2, 1, 1).expand(2, 8, 10).clone()
    valid = torch.ones(8, 10, dtype=torch.bool)
    valid[:, 5:] = False
    blank = np.zeros((8, 10, 3), np.uint8)
    return Pair(name, "set", "view", level, blank, blank, flow, valid)


def zero(given):
    return torch.zeros_like(given.flow)


def test_rows_hold_errors_over_valid_pixels():
    (row,) = tables.measure("view_240", "zero", [pair()], zero)
    assert (row.aepe, row.pck1, row.pck3, row.pck5, row.pixels) == (5, 0, 0, 100, 40)
    assert row.seconds >= 0


def test_figures_weigh_pairs_alike_and_name_their_interval():
    rows = tables.measure("p", "zero", [pair("a"), pair("b", "II", (0.0, 1.0))], zero)
    found = tables.figure(rows, note="at 240")
    assert found.value == 3
    assert found.better == "lower"
    assert found.note == "at 240; 2 pairs, 95 % 1 to 5"
    assert tables.figure(rows, "pck5").value == 100
    assert [row.pair for row in tables.chosen(rows, "p", "zero", "II")] == ["b"]
    assert tables.mean(tables.chosen(rows, "p", "zero", "II")) == 1


def test_the_path_has_a_curve_for_each_number_of_steps(tmp_path):
    pytest.importorskip("matplotlib")
    rows = []
    for k in (1, 3):
        for t in (1, 5):
            rows += tables.measure("path", f"K={k} T={t}", [pair()], zero)
    found = tables.path_curves(rows)
    assert found == {"T=1 step": ([1, 3], [5, 5]), "T=5 steps": ([1, 3], [5, 5])}
    tables.write_tables(tmp_path, rows)
    assert (tmp_path / "path.png").stat().st_size > 1000


@pytest.mark.parametrize("flow", [torch.zeros(2, 8, 9), torch.full((2, 8, 10), float("nan"))])
def test_a_flow_that_cannot_be_scored_is_an_error(flow):
    with pytest.raises(JobFailed, match="bad gave"):
        tables.score("p", "bad", pair(), flow)


def test_the_tables_hold_a_line_a_row_and_the_means(tmp_path):
    pairs = [pair("a"), pair("b", "V", (0.0, 1.0))]
    rows = tables.measure("p", "zero", pairs, zero) + tables.measure("q", "zero", pairs[:1], zero)
    tables.write_tables(tmp_path / "new", rows)
    lines = list(csv.DictReader((tmp_path / "new" / "pairs.csv").read_text().splitlines()))
    assert [line["pair"] for line in lines] == ["a", "b", "a"]
    assert float(lines[0]["aepe"]) == 5
    page = (tmp_path / "new" / "tables.md").read_text()
    assert "| method | I | V | mean |" in page
    assert "| zero | 5.00 | 1.00 | 3.00 | 50.0 | 50.0 | 100.0 |" in page
    assert "## q" in page


def test_array_flow_becomes_channels_first():
    flow = np.zeros((4, 5, 2))
    flow[..., 0] = 7
    assert tables.as_flow(flow)[0].eq(7).all()
