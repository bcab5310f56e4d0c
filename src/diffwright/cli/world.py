"""``diffwright world``: a contact sheet of rendered scenes; ``world cache``: many of them on disk."""

import os
from dataclasses import dataclass
from pathlib import Path

from diffwright.cli.bars import shown
from diffwright.cli.flags import SeedFlags, command_line
from diffwright.core.checks import whole
from diffwright.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Sheet(SeedFlags):
    """Show rendered scenes with their captions; "world cache" renders many ahead for a training.

    diffwright world --count 16 --seed 3 --out sheet.png
    """

    count: int = 16
    """Scenes, with seeds SEED, SEED + 1 and so on."""
    size: int = 64
    """Side of a picture in pixels; it is shown at 256 or more by repeating pixels."""
    core: bool = False
    """Only the core vocabulary: 12 kinds, 8 colors, 4 styles, 3 viewpoints."""
    columns: int = 4
    """Pictures a row."""
    out: Path = Path("sheet.png")
    """The PNG file."""

    def run(self) -> None:
        """Render and write the sheet."""
        whole("columns", self.columns, 1, 100)
        if self.out.suffix.lower() != ".png":
            raise ConfigError(f"--out is {self.out}, expected a name that ends in .png; rename it")
        from diffwright.world.sheet import save_contact_sheet

        path = save_contact_sheet(
            self.out, self.count, self.seed, size=self.size, core=self.core, columns=self.columns
        )
        record = {
            "command": command_line(),
            "sheet": str(path),
            "seeds": list(range(self.seed, self.seed + self.count)),
        }
        self.say(record, f"{self.count} scenes in {path}")


@dataclass(frozen=True, kw_only=True)
class Cache(SeedFlags):
    """Render scenes into a folder of shards, which a training reads; a stopped run goes on where it was.

    diffwright world cache --count 100000 --out .cache/renders
    """

    count: int = 100_000
    """Scenes, rounded up to whole shards of 1,000."""
    size: int = 64
    """Side of a picture in pixels."""
    core_share: float = 0.75
    """Share of scenes from the core vocabulary, 0 to 1."""
    workers: int = os.cpu_count() or 1
    """Processes, one thread each."""
    out: Path = Path(".cache/renders")
    """Folder of the shards; SEED is the first scene's seed."""

    def run(self) -> None:
        """Render what is missing."""
        from diffwright.world.cache import SHARD, CacheSettings, render_cache

        settings = CacheSettings(start_seed=self.seed, core_share=self.core_share, size=self.size)
        with shown() as progress:
            folder = render_cache(self.out, self.count, settings, self.workers, progress)
        scenes = -(-self.count // SHARD) * SHARD
        record = {"command": command_line(), "folder": str(folder), "scenes": scenes}
        self.say(record, f"{scenes} scenes in {folder}")
