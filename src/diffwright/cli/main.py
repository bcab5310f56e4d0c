"""The command line: finds the verb, parses its flags, runs it, and turns errors into sentences.

A verb is a frozen dataclass with a ``run()``, imported only when it is asked for; verbs of one first word
share a file (``world`` and ``world cache``). None of these files imports torch at module level, so that
``--help`` answers at once.
"""

import difflib
import inspect
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from diffwright import __version__
from diffwright.core.errors import Cancelled, DiffwrightError

VERBS = {
    "generate": ("diffwright.cli.generate:Generate", "paint pictures from prompts"),
    "trace": ("diffwright.cli.trace:Trace", "find where a model keeps what a word of the prompt says"),
    "fix make": ("diffwright.cli.fix:Make", "make a concept edit: one word made to show another thing"),
    "fix apply": ("diffwright.cli.fix_files:Apply", "write a copy of a model with an edit in its weights"),
    "fix revert": ("diffwright.cli.fix_files:Revert", "write the base model again from such a copy"),
    "fix compose": ("diffwright.cli.fix_files:Compose", "join edits of one model into one"),
    "fix export": ("diffwright.cli.fix_files:Export", "write an edit as a LoRA for other programs"),
    "fix report": (
        "diffwright.cli.fix_report:Report",
        "measure what an edit changes, and what it leaves alone",
    ),
    "fix sweep": ("diffwright.cli.fix_report:Sweep", "try the layers and the strengths of an edit"),
    "edit move": ("diffwright.cli.edit:MoveObject", "move an object of a picture"),
    "edit resize": ("diffwright.cli.edit:ResizeObject", "make an object larger or smaller"),
    "edit drag": ("diffwright.cli.edit:DragPoints", "drag points of a picture to new places"),
    "edit replace": ("diffwright.cli.edit:ReplaceLook", "give an object the look of one in another picture"),
    "edit paste": ("diffwright.cli.edit:PasteObject", "put an object of another picture into this one"),
    "edit remove": ("diffwright.cli.edit:RemoveObject", "take an object away"),
    "edit replay": ("diffwright.cli.edit:Replay", "do a saved edit again, bit for bit"),
    "text": ("diffwright.cli.text:Write", "write, change or erase a word in a picture"),
    "text find": ("diffwright.cli.text:Find", "list the words of a picture"),
    "match": ("diffwright.cli.match:Match", "match two pictures: where each pixel of one is in the other"),
    "world": ("diffwright.cli.world:Sheet", "show pictures of the rendered world with their captions"),
    "world cache": ("diffwright.cli.world:Cache", "render pictures ahead for a training"),
    "train": ("diffwright.cli.train:Train", "train a pocket model by its recipe"),
    "bench": ("diffwright.cli.bench:Bench", "measure, print a table, write JSON"),
    "batch trace": ("diffwright.cli.batch:BatchTrace", "trace every prompt of a table"),
    "batch match": ("diffwright.cli.batch:BatchMatch", "match every pair of pictures of a table"),
    "batch edit": ("diffwright.cli.batch:BatchEdit", "edit every picture of a table"),
    "batch text": ("diffwright.cli.batch:BatchText", "write or erase a word in every picture of a table"),
    "demo": ("diffwright.cli.demo:Demo", "tour the shipped models, written as one web page"),
    "doctor": ("diffwright.cli.doctor:Doctor", "show versions, devices, supported models, shipped weights"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Args:
        arguments: Words after the program's name; those of the process without it.

    Raises:
        SystemExit: Always, with 0, 2 (usage), 3 (input), 4 (weights), 5 (failed) or 130 (interrupted).
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Another process on the same cores would otherwise be waited for in a busy loop.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    debug = "--debug" in words
    try:
        with warnings.catch_warnings(), _terminable():
            warnings.showwarning = _warn
            code = _dispatch([word for word in words if word != "--debug"])
    except KeyboardInterrupt:
        code = _fail("interrupted", Cancelled.exit_code)
    except DiffwrightError as error:
        if debug:
            raise
        code = _fail(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        if debug:
            raise
        code = _fail(
            f"unexpected {type(error).__name__}: {error}; run again with --debug to see where",
            DiffwrightError.exit_code,
        )
    sys.exit(code)


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end a verb as Ctrl-C does, so that it takes its worker processes along."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"diffwright {__version__}")
        return 0
    verb = _verb(words)
    if verb is None:
        return _unknown(words)
    parse(verb, words[len(verb.split()) :]).run()
    return 0


def parse(verb: str, flags: Sequence[str]) -> Any:
    """Build the command of a verb from its flags.

    Args:
        verb: A key of ``VERBS``.
        flags: The words after it.

    Returns:
        The verb's dataclass, ready to ``run()``.

    Raises:
        SystemExit: 0 after ``--help``, 2 when the flags don't fit.
    """
    import tyro

    module, name = VERBS[verb][0].split(":")
    command = getattr(import_module(module), name)
    return tyro.cli(
        command,
        prog=f"diffwright {verb}",
        args=list(flags),
        description=inspect.getdoc(command),
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def overview() -> str:
    """Return the text of ``diffwright --help``."""
    wide = max(map(len, VERBS))
    lines = [
        f"diffwright {__version__}: localize, edit and match what diffusion models know and show.",
        "",
        "usage: diffwright VERB [FLAGS]        diffwright VERB --help explains one",
        "",
        *(f"  {verb:<{wide}}  {line}" for verb, (_, line) in VERBS.items()),
        "",
        "  --debug anywhere shows the traceback of an error",
        "",
        'for example: diffwright generate "a red mug on grass" --out mug',
    ]
    return "\n".join(lines)


def _verb(words: list[str]) -> str | None:
    for count in (2, 1):
        if len(words) >= count and " ".join(words[:count]) in VERBS:
            return " ".join(words[:count])
    return None


def _unknown(words: list[str]) -> int:
    below = [verb for verb in VERBS if verb.split()[0] == words[0]]
    if below and (len(words) == 1 or words[1] in ("-h", "--help")):
        print("\n".join(f"diffwright {verb}: {VERBS[verb][1]}" for verb in below))
        return 0 if len(words) > 1 else 2
    given = " ".join(words[:2]) if below else words[0]
    close = difflib.get_close_matches(given, below or [*VERBS], n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else "diffwright --help lists them"
    return _fail(f"{given!r} is not a verb; {hint}", 2)


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"diffwright: warning: {message}", file=sys.stderr)


def _fail(message: str, code: int) -> int:
    print(f"diffwright: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
