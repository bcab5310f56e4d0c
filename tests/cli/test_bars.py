import io
import sys

import pytest

from diffwright.cli.bars import shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


def on_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    return terminal


def test_there_is_no_bar_without_a_terminal():
    with shown() as silent:
        assert silent is None


def test_each_step_has_a_bar_and_a_total_may_come_later(monkeypatch):
    terminal = on_terminal(monkeypatch)
    with shown() as show:
        assert show is not None
        assert show("rendering", 2, 2) is None
        assert show("training", 0, 0) is None
        assert show("training", 10, 40) is None
    drawn = terminal.getvalue()
    assert "rendering" in drawn
    assert "2/2" in drawn
    assert "10/40" in drawn


@pytest.mark.parametrize("rank", ["1", "3"])
def test_other_processes_show_no_bar(monkeypatch, rank):
    on_terminal(monkeypatch)
    monkeypatch.setenv("RANK", rank)
    with shown() as show:
        assert show is None
