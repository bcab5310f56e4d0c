"""Whether an edit holds when the same is said in other words, judged on the rendered world."""

from __future__ import annotations

from collections.abc import Sequence

from diffwright.bench.harness import Figure
from diffwright.concepts.choice import default_choice
from diffwright.concepts.judged import Change, Gallery, share_of, turned
from diffwright.concepts.probes import probes
from diffwright.concepts.sweep import make_edit
from diffwright.concepts.wordings import FRAMES, REWORDINGS, paraphrased, reworded
from diffwright.core.progress import report
from diffwright.diffusion.backbones import require

WHAT = {
    "case": "the concept in capitals",
    "typo": "two of its letters swapped",
    "position": "a longer beginning before the prompt",
}


def figures(
    gallery: Gallery, changes: Sequence[Change], *, sentences: int = len(FRAMES)
) -> dict[str, Figure]:
    """Measure edits on sentences, spellings and positions that they were not made from.

    Args:
        gallery: paints and judges.
        changes: source and target of each edit.
        sentences: paraphrases of each, at most 20; one picture each.

    Returns:
        ``paraphrase_efficacy``, ``case_efficacy``, ``typo_efficacy`` and ``position_efficacy``: shares of pictures
        judged source before that are judged target after; and ``paraphrase_share``, the first over the same share
        in the sentences that measure efficacy elsewhere.
    """
    usual = default_choice(require(gallery.pipe, "fix").layout)
    hits: dict[str, list[bool]] = {name: [] for name in ("paraphrase", *REWORDINGS)}
    usually: list[bool] = []
    for number, change in enumerate(changes):
        edit = make_edit(gallery.pipe, change, usual)
        plain = probes(change.attribute, change.source, 1)
        usually += turned(gallery, edit, change, probes(change.attribute, change.source, 4)[:sentences])
        hits["paraphrase"] += turned(
            gallery, edit, change, paraphrased(change.attribute, change.source)[:sentences]
        )
        for how in REWORDINGS:
            hits[how] += turned(gallery, edit, change, [reworded(probe, how) for probe in plain])
        report(gallery.progress, "other words", number + 1, len(changes))
    figures = {
        f"{name}_efficacy": Figure(
            share_of(found),
            "",
            "higher",
            f"{WHAT.get(name, f'{sentences} unseen sentences')}; {len(found)} pictures judged source before",
        )
        for name, found in hits.items()
    }
    plain_share = share_of(usually)
    return figures | {
        "paraphrase_share": Figure(
            share_of(hits["paraphrase"]) / max(plain_share, 1e-9),
            "",
            "higher",
            f"over the efficacy in the usual sentences of the same run, {plain_share:.2f} of {len(usually)} pictures",
        )
    }
