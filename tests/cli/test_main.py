import dataclasses
import inspect
import shlex
import sys
from importlib import import_module

import pytest

from diffwright.cli import main as cli
from diffwright.core.errors import InputError, WeightsMissing


def run(*words):
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    return stopped.value.code


def command(verb):
    module, name = cli.VERBS[verb][0].split(":")
    return getattr(import_module(module), name)


def test_help_lists_every_verb(capsys):
    assert run("--help") == run() == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in cli.VERBS)


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("diffwright 0.")


@pytest.mark.parametrize("verb", cli.VERBS)
def test_the_example_in_each_help_is_a_command_that_parses(verb, capsys):
    lines = inspect.getdoc(command(verb)).splitlines()
    examples = [line for line in lines if line.startswith(f"diffwright {verb} ")]
    assert examples
    for example in examples:
        parsed = cli.parse(verb, shlex.split(example)[1 + len(verb.split()) :])
        assert dataclasses.is_dataclass(parsed)
    with pytest.raises(SystemExit) as stopped:
        cli.parse(verb, ["--help"])
    assert stopped.value.code == 0
    assert examples[0].split(" --")[0] in capsys.readouterr().out


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_writes_json_and_what_is_random_takes_a_seed(verb):
    fields = {field.name for field in dataclasses.fields(command(verb))}
    assert "json" in fields
    assert "seed" in fields or verb in ("bench", "doctor") or verb.startswith("fix ")


def test_an_unknown_verb_offers_the_nearest(capsys):
    assert run("genrate") == 2
    assert capsys.readouterr().err == "diffwright: 'genrate' is not a verb; did you mean 'generate'?\n"


def test_an_unknown_flag_is_a_usage_error(capsys):
    assert run("doctor", "--jsn", "x") == 2
    assert "--json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("the picture is torn"), 3, "diffwright: the picture is torn\n"),
        (WeightsMissing("no such model"), 4, "diffwright: no such model\n"),
        (KeyboardInterrupt(), 130, "diffwright: interrupted\n"),
        (ZeroDivisionError("by zero"), 5, "diffwright: unexpected ZeroDivisionError: by zero; run again"),
    ],
)
def test_errors_become_one_sentence_and_a_code(error, code, said, monkeypatch, capsys):
    def fail(self):
        raise error

    monkeypatch.setattr(command("doctor"), "run", fail)
    assert run("doctor") == code
    shown = capsys.readouterr()
    assert shown.err.startswith(said)
    assert shown.err.count("\n") == 1
    assert not shown.out


def test_debug_shows_where(monkeypatch):
    def fail(self):
        raise InputError("torn")

    monkeypatch.setattr(command("doctor"), "run", fail)
    with pytest.raises(InputError):
        cli.main(["doctor", "--debug"])


def test_words_after_the_program_are_read_from_the_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["diffwright", "--version"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "diffwright" in capsys.readouterr().out
