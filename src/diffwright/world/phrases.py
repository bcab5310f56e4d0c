"""How English says each value of the world's vocabulary; the first phrase of a list is the plainest."""

from diffwright.world.vocabulary import KINDS

PLURALS = {kind: kind + "s" for kind in KINDS} | {
    "torus": "tori",
    "snowman": "snowmen",
    "cactus": "cacti",
    "fish": "fish",
}
NUMBERS = {"1": ("a", "a", "a", "a", "a", "a", "a", "one", "a single"), "2": ("two",), "3": ("three",)}

STYLES = {
    "photo": ("a photo",),
    "pencil": ("a pencil drawing", "a pencil sketch"),
    "watercolor": ("a watercolor painting", "a watercolor"),
    "pixel art": ("pixel art", "a pixel art picture"),
    "mosaic": ("a mosaic", "a mosaic picture"),
    "night": ("a night picture", "a night scene"),
}
MANNERS = {
    "photo": ("as a photo", "in the style of a photo"),
    "pencil": ("in the style of a pencil drawing", "drawn in pencil", "as a pencil sketch"),
    "watercolor": ("in the style of a watercolor painting", "painted in watercolor", "as a watercolor"),
    "pixel art": ("in the style of pixel art", "as pixel art"),
    "mosaic": ("in the style of a mosaic", "as a mosaic"),
    "night": ("at night",),
}
VIEWS = {
    "low angle": ("from a low angle", "seen from a low angle"),
    "eye level": ("at eye level", "seen at eye level"),
    "from above": ("from above", "seen from above"),
    "bird's eye": ("from a bird's eye view", "seen from a bird's eye view"),
}
VIEW_NOUNS = {
    "low angle": ("a low angle view",),
    "eye level": ("an eye level view",),
    "from above": ("a view from above",),
    "bird's eye": ("a bird's eye view",),
}
PLACES = {
    "grass": ("on grass", "on the grass"),
    "sand": ("on sand", "on the sand"),
    "snow": ("on snow", "on the snow"),
    "wooden table": ("on a wooden table",),
    "tiles": ("on tiles", "on a tiled floor"),
    "moon": ("on the moon",),
}
POSES = {
    "standing": ("standing",),
    "lying": ("lying on its side", "lying"),
    "tilted": ("tilted", "tilted to one side"),
    "floating": ("floating",),
}
POSE_ADJECTIVES = frozenset({"tilted", "floating"})
MATERIALS = {
    "matte": ("matte",),
    "shiny": ("shiny", "glossy"),
    "metallic": ("metallic", "metal"),
    "striped": ("striped",),
}
RELATIONS = {
    "left of": ("to the left of", "left of"),
    "right of": ("to the right of", "right of"),
    "in front of": ("in front of",),
    "behind": ("behind",),
    "on top of": ("on top of",),
}


def with_article(words: str) -> str:
    """Put "a" or "an" before words.

    Example:
        >>> with_article("orange airplane")
        'an orange airplane'
    """
    return ("an " if words[0] in "aeiou" else "a ") + words
