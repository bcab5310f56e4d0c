"""Which groups of equal things the sampler can frame: each large enough, visible enough, inside the picture.

``python -m diffwright.world.crowds`` measures the table again.
"""

from diffwright.world.vocabulary import KINDS, POSES, VIEWPOINTS, poses_of

TRIALS = 24
LEAST = 3  # of the trials
# For two and for three things: a group of letters for each viewpoint, a letter for each pose, "-" for none.
CROWDS: dict[str, tuple[str, str]] = {
    "sphere": ("s - sf sf", "sf sf sf sf"),
    "cube": ("tf stf stf stf", "t t - stf"),
    "cone": ("sltf sltf sltf sltf", "sf sf sltf sltf"),
    "torus": ("sf sf sf sf", "sf sf sf -"),
    "mushroom": ("sltf sltf sltf sltf", "l l sltf sltf"),
    "house": ("sltf sltf sltf sltf", "- - sltf sltf"),
    "mug": ("stf stf sltf sltf", "- - sltf lt"),
    "tree": ("sltf sltf sltf sltf", "sf sf stf sltf"),
    "car": ("sltf sltf sltf sltf", "- - sltf sltf"),
    "rocket": ("sltf sltf sltf l", "sf sf stf l"),
    "duck": ("sltf sltf sltf slf", "- - l l"),
    "snowman": ("sltf sltf sltf sltf", "stf stf stf sltf"),
    "cylinder": ("t t stf -", "t t t -"),
    "pyramid": ("sltf sltf sltf sltf", "- - sltf sltf"),
    "bottle": ("lt sltf sltf sltf", "t stf stf stf"),
    "chair": ("sltf sltf sltf sltf", "stf stf lt sltf"),
    "table": ("sltf sltf sltf sltf", "- - sltf sltf"),
    "cactus": ("sltf sltf sltf sltf", "stf stf sltf l"),
    "tower": ("stf t stf stf", "stf t stf stf"),
    "boat": ("sf sf sf -", "- - - -"),
    "lamp": ("sltf sltf sltf sltf", "sf sf stf stf"),
    "fish": ("sf sf - -", "- - - -"),
    "airplane": ("- - - -", "- - - -"),
    "apple": ("sf sf sf sf", "f sf sf sf"),
}


def can_frame(kind: str, count: int, viewpoint: str | None, pose: str | None, among: tuple[str, ...]) -> bool:
    """Whether the sampler draws such a group now and then.

    Args:
        kind: Shape.
        count: Things, 1 to 3.
        viewpoint: Seen from where; None for any of ``among``.
        pose: How they are held; None stands for standing.
        among: Viewpoints to choose from.
    """
    if count == 1:
        return True
    groups: dict[str, str] = dict(zip(VIEWPOINTS, CROWDS[kind][count - 2].split(), strict=True))
    views = among if viewpoint is None else (viewpoint,)
    return any((pose or POSES[0])[0] in groups[view] for view in views)


def measure(kind: str, count: int) -> str:
    """Try arrangements of a group from each viewpoint and give its entry of ``CROWDS``."""
    from diffwright.world.sample import PATIENCE, legible, propose

    groups = []
    for viewpoint in VIEWPOINTS:
        letters = ""
        for pose in poses_of(kind):
            fixed = {"kind": kind, "count": count, "viewpoint": viewpoint, "pose": pose, "relation": None}
            drawn = [propose(seed, seed % PATIENCE, False, fixed) for seed in range(TRIALS)]
            framed = legible([scene for scene in drawn if len(scene.things) == count])
            letters += pose[0] if sum(framed) >= LEAST else ""
        groups.append(letters or "-")
    return " ".join(groups)


def main() -> None:
    """Print the table."""
    for kind in KINDS:
        print(f'    "{kind}": {(measure(kind, 2), measure(kind, 3))},'.replace("'", '"'), flush=True)


if __name__ == "__main__":
    main()
