"""One test for each case of torch's ``TestOptimRenewed``, named after it, driven by ``OptimizerInfo``."""

import pytest
import torch

from diffwright.bench.optim_cases import cases, listed, optimizer_infos, run_case

CASES = cases()


def make(case, info):
    def test():
        torch.manual_seed(0)
        case.run(info, "cpu")

    return test


for case in CASES.values():
    if case.run is not None and not case.needs:
        for info in optimizer_infos():
            globals()[f"{case.name}_{info.name}"] = make(case, info)


def test_the_committed_list_is_complete_and_every_case_has_a_status():
    entries = listed()["cases"]
    assert list(entries) == list(CASES)
    assert len(entries) == 44
    for name, (status, reason) in entries.items():
        assert status in ("passed", "failed", "inapplicable")
        assert bool(reason) == (status != "passed"), name


def test_the_committed_list_claims_what_the_tests_above_prove():
    entries = listed()["cases"]
    proved = [case.name for case in CASES.values() if case.run is not None and not case.needs]
    if listed()["device"] == "cpu":
        assert [name for name, (status, _) in entries.items() if status == "passed"] == proved
    assert not [name for name, (status, _) in entries.items() if status == "failed"]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.needs or case.run is None])
def test_a_case_that_cannot_run_is_inapplicable_with_a_reason_or_passes(name):
    outcome = (
        run_case(CASES[name]) if not torch.cuda.is_available() and CASES[name].needs != "64 GB" else None
    )
    assert outcome is None or (outcome.status == "inapplicable" and outcome.reason)
