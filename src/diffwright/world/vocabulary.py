"""The words of the rendered world and what each of them means to the renderer."""

KINDS = (
    "sphere", "cube", "cone", "torus", "mushroom", "house", "mug", "tree", "car", "rocket", "duck", "snowman",
    "cylinder", "pyramid", "bottle", "chair", "table", "cactus", "tower", "boat", "lamp", "fish", "airplane",
    "apple",
)  # fmt: skip
COLORS = {
    "red": (0.84, 0.09, 0.08),
    "orange": (0.97, 0.45, 0.03),
    "yellow": (0.96, 0.82, 0.07),
    "green": (0.08, 0.58, 0.16),
    "blue": (0.09, 0.27, 0.85),
    "purple": (0.46, 0.13, 0.68),
    "pink": (0.97, 0.48, 0.69),
    "white": (0.93, 0.93, 0.92),
    "brown": (0.38, 0.20, 0.09),
    "black": (0.06, 0.06, 0.07),
}
MATERIALS = ("matte", "shiny", "metallic", "striped")
PLACES = ("grass", "sand", "snow", "wooden table", "tiles", "moon")
VIEWPOINTS = ("low angle", "eye level", "from above", "bird's eye")
POSES = ("standing", "lying", "tilted", "floating")
STYLES = ("photo", "pencil", "watercolor", "pixel art", "mosaic", "night")
RELATIONS = ("left of", "right of", "in front of", "behind", "on top of")
COUNTS = (1, 2, 3)

CORE_KINDS = KINDS[:12]
CORE_COLORS = tuple(COLORS)[:8]
CORE_STYLES = STYLES[:4]
CORE_VIEWPOINTS = VIEWPOINTS[:3]

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "color": tuple(COLORS),
    "style": STYLES,
    "viewpoint": VIEWPOINTS,
    "count": tuple(str(n) for n in COUNTS),
    "pose": POSES,
    "place": PLACES,
    "material": MATERIALS,
}

# A pose is shown only by kinds whose shape tells it.
UPRIGHT_ONLY = frozenset({"sphere", "apple", "torus"})
NEVER_LYING = frozenset({"cube", "fish", "airplane", "boat"})
FLAT_TOPS = frozenset({"cube", "cylinder", "table", "tower", "house"})


def poses_of(kind: str) -> tuple[str, ...]:
    """Poses that can be told apart on a kind."""
    if kind in UPRIGHT_ONLY:
        return ("standing", "floating")
    if kind in NEVER_LYING:
        return ("standing", "tilted", "floating")
    return POSES
