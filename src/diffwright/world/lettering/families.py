"""The font families that training and tests draw with: legible ones of Debian, each with its kind.

Any other installed family can be asked for by name, but neither split holds it, so that a split is the same
wherever the same packages are installed.
"""

KINDS = ("serif", "sans", "mono", "script", "display", "slab")

FAMILIES: dict[str, tuple[str, ...]] = {
    "sans": (
        "Allerta", "Averia Sans GWF", "Bebas Neue", "Cabin", "Cantarell", "Carlito", "Comfortaa", "DejaVu Sans",
        "Dosis", "Dustismo", "FreeSans", "Gillius ADF", "Ikarius ADF Std", "Irianis ADF Std", "Jura", "Karla", "Lato",
        "League Spartan", "Liberation Sans", "Liberation Sans Narrow", "Libris ADF Std", "Manrope", "Nimbus Sans",
        "Nimbus Sans Narrow", "Open Sans", "OpenDyslexic", "Play", "Roadgeek 2014 Series D", "Roboto",
        "Roboto Condensed", "Sora", "Switzera ADF", "Tiresias Signfont", "Tuffy", "URW Gothic",
        "Universalis ADF Std", "Verana Sans", "Yanone Kaffeesatz", "Yusei Magic",
    ),
    "serif": (
        "Accanthis ADF Std", "Arapey", "Averia Serif GWF", "Baskervald ADF Std", "Berenis ADF Pro", "C059", "Caladea",
        "Caslon", "DejaVu Serif", "Dustismo Roman", "EB Garamond", "Essays1743", "Goudy Bookletter 1911",
        "Liberation Serif", "Nimbus Roman", "Old Standard TT", "P052", "Prociono", "Quattrocento", "Romande ADF Std",
        "Tribun ADF Std", "URW Bookman", "Vollkorn",
    ),
    "slab": ("Mekanus ADF Std", "Roboto Slab"),
    "mono": (
        "Anonymous Pro", "Courier Prime Code", "DejaVu Sans Mono", "Fantasque Sans Mono", "Fira Code", "GNUTypewriter",
        "Hack", "Inconsolata", "League Mono", "Liberation Mono", "Nimbus Mono PS", "OCR B", "OCRA", "monofur",
    ),
    "script": ("Dancing Script", "Kaushan Script", "Leckerli One", "Lobster Two", "Romande ADF Script Std", "Z003"),
    "display": (
        "Averia GWF", "Cabin Sketch", "Cherry Bomb", "Domestic Manners", "Humor Sans", "Oldania ADF Std",
        "Tomson Talks",
    ),
}  # fmt: skip
KIND_OF = {family: kind for kind, families in FAMILIES.items() for family in families}

ALIASES = {
    "arial": "Liberation Sans", "helvetica": "Liberation Sans", "times": "Liberation Serif",
    "timesnewroman": "Liberation Serif", "courier": "Liberation Mono", "couriernew": "Liberation Mono",
    "calibri": "Carlito", "cambria": "Caladea", "garamond": "EB Garamond", "lobster": "Lobster Two",
    "sansserif": "sans", "monospace": "mono", "handwriting": "script",
}  # fmt: skip
"""Well-known names, without spaces, to the family that has the same metrics or looks alike."""

ONE_CASE = frozenset({"Bebas Neue", "Humor Sans", "Tomson Talks"})
"""Families whose small letters are capitals: words are drawn in capitals only."""

NOT_LETTERS = frozenset({"D050000L", "Standard Symbols PS", "DejaVu Math TeX Gyre", "Berenis ADF Pro Math"})
"""Families that map letters to signs."""


def guess_kind(family: str) -> str:
    """Guess the kind of a family that is not in the table, from its name."""
    words = family.lower()
    signs = (
        ("mono", ("mono", "code", "typewriter", "courier")),
        ("slab", ("slab",)),
        ("sans", ("sans", "gothic", "grotesk")),
        ("serif", ("serif", "roman", "garamond", "times")),
        ("script", ("script", "hand", "chancery")),
    )
    return next((kind for kind, marks in signs if any(mark in words for mark in marks)), "display")
