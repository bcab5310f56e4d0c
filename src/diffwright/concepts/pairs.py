"""The pairs that concept edits are tuned on, and those they are measured on; none is in both."""

from diffwright.concepts.judged import Change

DEVELOPMENT = (
    Change("kind", "mug", "rocket"),
    Change("color", "green", "orange"),
    Change("kind", "sphere", "house"),
    Change("style", "watercolor", "photo"),
    Change("kind", "snowman", "tree"),
    Change("color", "purple", "yellow"),
    Change("kind", "duck", "torus"),
    Change("style", "photo", "pencil"),
    Change("kind", "car", "cone"),
    Change("color", "red", "white"),
)
"""Ten changes that choose site and strength."""

TEST = (
    Change("kind", "mug", "duck"),
    Change("color", "red", "blue"),
    Change("kind", "tree", "car"),
    Change("style", "pencil", "watercolor"),
    Change("kind", "house", "mushroom"),
    Change("color", "green", "pink"),
    Change("kind", "rocket", "snowman"),
    Change("kind", "cube", "tree"),
    Change("color", "yellow", "green"),
    Change("style", "watercolor", "pencil"),
    Change("kind", "cone", "mug"),
    Change("kind", "torus", "house"),
    Change("color", "orange", "purple"),
    Change("kind", "mushroom", "rocket"),
    Change("style", "pixel art", "photo"),
    Change("kind", "duck", "car"),
    Change("color", "blue", "yellow"),
    Change("kind", "snowman", "cube"),
    Change("color", "white", "blue"),
    Change("style", "pencil", "pixel art"),
)
"""Twenty changes that measure the result; the first few are also a fair small sample."""
