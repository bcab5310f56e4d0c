"""The public names: one that disappears, or changes its parameters, fails here on purpose."""

import inspect

import pytest

import diffwright

SURFACE = {
    "ConceptEdit": None,
    "DiffGrad": None,
    "DiffGradW": None,
    "ImageEditor": (["pipe", "preset", "image_prompt", "tower"], set()),
    "Matcher": (["model", "coder", "dtype"], set()),
    "SceneTextEditor": (["model", "vae", "reader", "enlarge"], set()),
    "TraceResult": None,
    "__version__": None,
    "causal_trace": (
        ["pipe", "prompt", "subject"],
        {
            "parts",
            "components",
            "window",
            "tokens",
            "noise",
            "seeds",
            "metrics",
            "scorers",
            "sampling",
            "resume",
        },
    ),
    "edit_concepts": (
        ["pipe", "pairs", "preserve"],
        {"site", "lam", "templates", "tokens", "preserve_weight"},
    ),
    "load": (["source", "device", "dtype"], {"revision", "variant", "offline"}),
}
METHODS = {
    "ConceptEdit": ["apply", "revert", "report", "save", "load"],
    "ImageEditor": [
        *("from_pretrained", "set_image", "move", "resize", "drag", "replace", "paste", "remove"),
        *("edit", "preview", "replay"),
    ],
    "Matcher": ["from_pretrained", "save_pretrained", "match", "refine", "to"],
    "SceneTextEditor": ["from_pretrained", "write", "write_all", "read", "to"],
    "TraceResult": ["table", "plot", "top", "save", "load"],
}


def test_the_public_names_are_exactly_these():
    assert sorted(diffwright.__all__) == sorted(SURFACE)
    assert dir(diffwright) == sorted(SURFACE)


@pytest.mark.parametrize("name", sorted(SURFACE))
def test_each_name_resolves_and_is_documented(name):
    value = getattr(diffwright, name)
    if name != "__version__":
        assert inspect.getdoc(value)
    for method in METHODS.get(name, []):
        assert inspect.getdoc(getattr(value, method))


@pytest.mark.parametrize("name", [name for name, parameters in SURFACE.items() if parameters])
def test_parameters_stay_in_place(name):
    positional, by_name = SURFACE[name]
    found = inspect.signature(getattr(diffwright, name)).parameters
    assert list(found)[: len(positional)] == positional
    assert by_name <= set(found)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'causal_trance'"):
        _ = diffwright.causal_trance
