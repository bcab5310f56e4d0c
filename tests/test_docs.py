"""What the documents say must hold: links lead somewhere, commands parse, the table is the real one."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from diffwright.cli import main as cli
from diffwright.diffusion.backbones import table

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
COMMANDS = sorted(
    {
        (page.name, line.split("#")[0].strip())
        for page in PAGES
        for block in re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.S)
        for line in block.splitlines()
        if line.startswith("diffwright ") and line == line.rstrip("\\")
    }
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_commands_in_the_documents_parse(page, command):
    words = shlex.split(command)[1:]
    verb = " ".join(words[:2]) if " ".join(words[:2]) in cli.VERBS else words[0]
    assert verb in cli.VERBS
    cli.parse(verb, words[len(verb.split()) :])


def test_the_readme_lists_every_verb_and_every_guide():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [verb for verb in cli.VERBS if f"| `{verb.split()[0]}` |" not in readme] == []
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"docs/{page.name}" not in readme] == []


@pytest.mark.parametrize("name", ["vae", "clip", "judge", "t2i"])
def test_the_training_guide_gives_the_minutes_of_the_recipe(name):
    sheet = (ROOT / "src" / "diffwright" / "training" / "recipes" / f"{name}.yaml").read_text("utf-8")
    minutes = yaml.safe_load(sheet)["settings"]["minutes"]
    assert f"# diffwright train {name} --minutes {minutes}\n" in sheet
    guide = (ROOT / "docs" / "training.md").read_text("utf-8")
    told = re.findall(rf"^diffwright train {name} +# (\d+) minutes", guide, re.M)
    assert told == [str(minutes)], f"docs/training.md should give {minutes} minutes for {name}"


def test_the_guide_shows_the_table_that_decides():
    guide = (ROOT / "docs" / "models.md").read_text("utf-8")
    assert guide.split("<!-- backbones -->\n")[1].split("<!-- /backbones -->")[0] == table()
