"""The errors that facetell raises on purpose.

FacetellError                 base: catch this one
├── ImageError                a picture that cannot be decoded, or must not be
├── ModelError                a bundle or .tflite file that is missing, changed or not ours
├── DatasetError              folders, manifests or runs that the pipeline cannot work with
├── SourceError               a path or camera that gives no pictures, or an output that cannot be written
└── RuntimeMissingError       a TFLite runtime or an extra that is not installed, or does not work here

Each message says what was wrong, what was wanted, what was got and what to do next, in one or two lines.
"""


class FacetellError(Exception):
    """Base of all errors that facetell raises on purpose."""


class ImageError(FacetellError):
    """A picture cannot be decoded, or is refused before decoding."""


class ModelError(FacetellError):
    """A bundle or model file is missing, changed, or not what it claims to be."""


class DatasetError(FacetellError):
    """A data set, manifest or run folder is not what a pipeline stage needs."""


class SourceError(FacetellError):
    """A path gives no pictures, or an output cannot be written."""


class RuntimeMissingError(FacetellError):
    """A TFLite runtime or optional package is not installed or does not work here."""


def printable(text: str) -> str:
    """Return text with every control code replaced: a file name must not steer the terminal."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
