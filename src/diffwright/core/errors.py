"""The errors a user can meet, each with the exit code of the command line.

A message says what was given, what was expected and what to do.
"""


class DiffwrightError(Exception):
    """Root of every error that this package raises on purpose."""

    exit_code = 5


class ConfigError(DiffwrightError, ValueError):
    """An option or a recipe value is unknown or out of range."""

    exit_code = 2


class MissingExtra(DiffwrightError, ImportError):
    """A feature needs a package that an extra installs."""

    exit_code = 2


class InputError(DiffwrightError, ValueError):
    """A picture, mask, prompt or file given by the user cannot be used."""

    exit_code = 3


class WeightsError(DiffwrightError):
    """Root of the errors about model files."""

    exit_code = 4


class WeightsMissing(WeightsError, FileNotFoundError):
    """A model or one of its files is not there."""


class WeightsCorrupt(WeightsError):
    """A model file is damaged, truncated, or holds NaN."""


class UnsafeWeights(WeightsError):
    """A model asks for a file format or a class that could execute code."""


class UnsupportedBackbone(WeightsError):
    """The model is sound, but of a layout that is not supported."""


class JobFailed(DiffwrightError):
    """A run ended before its result was complete."""


class Cancelled(DiffwrightError):
    """The user stopped the run."""

    exit_code = 130
