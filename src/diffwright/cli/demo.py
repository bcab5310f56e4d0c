"""``diffwright demo``: a tour over the pocket models, written as one web page."""

import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from diffwright.cli.bars import shown
from diffwright.cli.flags import SeedFlags, command_line
from diffwright.core.checks import text, whole
from diffwright.core.errors import ConfigError
from diffwright.core.progress import Progress

UNTRAINED = "Matching two views (match) is built, but this version ships no weights for it."
UNWRITTEN = "Writing a word (text) is built, but this version ships no weights for it."


@dataclass(frozen=True, kw_only=True)
class Demo(SeedFlags):
    """Tour the shipped models: writes one web page with every picture inside.

    diffwright demo --prompt "a pink rocket on snow" --fix mug rocket --out demo
    """

    prompt: Annotated[str | None, arg(metavar="TEXT")] = None
    """Your own words, painted beside ours."""
    fix: Annotated[tuple[str, str], arg(metavar="FROM TO")] = ("red", "blue")
    """The kind or color whose word is rewritten, and what it shows afterwards."""
    pair: Annotated[tuple[Path, Path] | None, arg(metavar="A B")] = None
    """Your own two pictures, matched beside ours."""
    write: Annotated[str | None, arg(metavar="TEXT")] = None
    """Your own word, written on our signs in place of ours."""
    out: Path = Path("demo")
    """Folder of index.html."""

    def run(self) -> None:
        """Make every chapter and write the page."""
        whole("seed", self.seed, 0, 10_000)
        if self.prompt is not None:
            text("prompt", self.prompt)
        if self.pair is not None:
            from diffwright.core.images import load_image

            for picture in self.pair:
                load_image(picture)

        from diffwright.cli.demo_page.fix import fix
        from diffwright.cli.demo_page.move import move
        from diffwright.cli.demo_page.page import page
        from diffwright.cli.demo_page.paint import paint
        from diffwright.cli.demo_page.trace import trace
        from diffwright.core.atomic import write_text
        from diffwright.metrics.judge import Judge
        from diffwright.weights.fingerprint import fingerprint
        from diffwright.weights.load import load

        start = time.perf_counter()
        pipe, judge, matcher = load("pocket", device="cpu"), Judge.from_pretrained(), _matcher()
        writer = _writer()
        source, target = self.fix
        chapters, timings = [], {}
        tour: list[tuple[str, Callable[[Progress | None], Any]]] = [
            (
                "a prompt painted",
                lambda p: paint(pipe, judge, prompt=self.prompt, seed=self.seed, progress=p),
            ),
            ("where it lives", lambda p: trace(pipe, judge, seed=self.seed, progress=p)),
            (
                "a concept fixed",
                lambda p: fix(pipe, judge, source=source, target=target, seed=self.seed, progress=p),
            ),
            ("an object moved", lambda p: move(pipe, seed=self.seed, progress=p)),
        ]
        if matcher is not None:
            from diffwright.cli.demo_page.match import match

            tour.append(
                ("two views matched", lambda p: match(matcher, pair=self.pair, seed=self.seed, progress=p))
            )
        elif self.pair is not None:
            raise ConfigError("--pair was given, but this version ships no pocket-match; leave it out")
        if writer is not None:
            from diffwright.cli.demo_page.text import write

            tour.append(
                ("a word changed", lambda p: write(writer, word=self.write, seed=self.seed, progress=p))
            )
        elif self.write is not None:
            raise ConfigError("--write was given, but this version ships no pocket-text; leave it out")
        for number, (name, chapter) in enumerate(tour, 1):
            print(f"[{number}/{len(tour)}] {name} ...", file=sys.stderr, flush=True)
            began = time.perf_counter()
            with shown() as progress:
                chapters.append(chapter(progress))
            timings[name] = round(time.perf_counter() - began, 2)
        model = fingerprint(pipe.unet)
        missing = " ".join([UNTRAINED] * (matcher is None) + [UNWRITTEN] * (writer is None))
        footer = [
            ("command", command_line()),
            ("time", f"{time.perf_counter() - start:.0f} s on {os.cpu_count()} cores ({platform.machine()})"),
            ("model", f"pocket, UNet {model[:12]}"),
            ("seed", str(self.seed)),
            *_versions(),
        ]
        path = write_text(self.out / "index.html", page(chapters, missing, footer))
        record = {
            "page": str(path),
            "command": command_line(),
            "model": model,
            "seeds": [self.seed],
            "timings_s": timings,
            "figures": {
                chapter.key: {"value": chapter.figure.value, "control": chapter.figure.control}
                for chapter in chapters
            },
        }
        lines = [f"{c.title}: {c.figure.value} {c.figure.name}" for c in chapters]
        self.say(record, "\n".join([*lines, f"Open {path.resolve()}"]))


def _matcher() -> Any:
    """Load the matcher, or give None where its weights are not shipped."""
    from diffwright.weights.names import shipped_names

    if "pocket-match" not in shipped_names():
        return None
    from diffwright.matching.matcher import Matcher

    return Matcher.from_pretrained()


def _writer() -> Any:
    """Load what writes words, or give None where its weights are not shipped."""
    from diffwright.weights.names import shipped_names

    if "pocket-text" not in shipped_names():
        return None
    from diffwright.scenetext.editor import SceneTextEditor

    return SceneTextEditor.from_pretrained()


def _versions() -> list[tuple[str, str]]:
    from importlib.metadata import version

    from diffwright import __version__

    stack = " · ".join(f"{name} {version(name)}" for name in ("torch", "diffusers"))
    return [("diffwright", __version__), ("stands on", stack)]
