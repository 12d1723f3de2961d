"""The root of the command line: one verb a command, its code loaded when it is called."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from importlib import import_module

import click

from ..edge.errors import FacetellError, printable

COMMANDS = {
    "On the device": {
        "scan": "facetell.tools.cluster.commands",
        "camera": "facetell.edge.commands",
        "explain": "facetell.edge.commands",
        "info": "facetell.edge.commands",
    },
    "From data to model": {
        "eda": "facetell.pipeline.commands",
        "merge": "facetell.pipeline.commands",
        "audit": "facetell.pipeline.commands",
        "crop": "facetell.tools.cluster.commands",
        "split": "facetell.pipeline.commands",
        "train": "facetell.pipeline.commands",
        "evaluate": "facetell.pipeline.commands",
        "left-out": "facetell.pipeline.commands",
        "compare": "facetell.tools.commands",
        "export": "facetell.convert.commands",
        "verify": "facetell.convert.commands",
        "pipeline": "facetell.tools.commands",
    },
    "Around": {
        "serve": "facetell.tools.web.commands",
        "phone": "facetell.tools.phone.commands",
        "bench": "facetell.tools.commands",
        "doctor": "facetell.tools.commands",
    },
}

_GO_ON = ("crop", "train", "left-out", "pipeline")
"""What does not do again what is done."""

EXTRAS = {
    **dict.fromkeys(("tensorflow", "keras", "mediapipe", "sklearn", "matplotlib", "jinja2"), "train"),
    **dict.fromkeys(("imagehash", "psutil", "kagglehub", "litert_quantizer", "ai_edge_litert"), "train"),
    **dict.fromkeys(("model_signing", "OpenSSL"), "sign"),
    **dict.fromkeys(("ray", "pyarrow"), "cluster"),
    **dict.fromkeys(("gradio", "fastapi", "uvicorn", "limits", "fpdf"), "web"),
}
"""Module -> the extra that brings it."""

_VERBOSE = ("-v", "--verbose")
_VERBOSE_HELP = "Show where an error came from."

# mediapipe brings the OpenCV build with windows, which shares its folder with ours and may replace it.
_LIBGL_HINT = "run: apt install libgl1, or: pip install --force-reinstall --no-deps opencv-python-headless==4.11.0.86"


class LazyGroup(click.Group):
    """A group that imports a command's module only when it is shown or called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of use."""
        return [verb for verbs in COMMANDS.values() for verb in verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb's command; -v may stand behind the verb, too."""
        module = next((verbs[cmd_name] for verbs in COMMANDS.values() if cmd_name in verbs), None)
        if module is None:
            return None
        command: click.Command = getattr(import_module(module), cmd_name.replace("-", "_"))
        if not any(_VERBOSE[0] in parameter.opts for parameter in command.params):
            command.params.append(click.Option(_VERBOSE, is_flag=True, expose_value=False, help=_VERBOSE_HELP))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs by what they are for."""
        for title, verbs in COMMANDS.items():
            with formatter.section(title):
                commands = ((verb, self.get_command(ctx, verb)) for verb in verbs)
                formatter.write_dl([(verb, command.get_short_help_str(90)) for verb, command in commands if command])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="facetell")
@click.option(*_VERBOSE, is_flag=True, expose_value=False, help=_VERBOSE_HELP)
def cli() -> None:
    """Every fake has a tell: real faces from fake ones, where the photos are.

    A verdict is evidence, not proof.
    """


def main() -> None:
    """Run the command line; exit 0 done, 1 failed, 2 usage, 3 done but some files failed, 130 after Ctrl-C."""
    # What is half written is cleared away after SIGTERM as it is after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; what we can explain is one line on stderr, without a traceback."""
    try:
        result = cli.main(arguments, prog_name="facetell", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _stopped(arguments)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:  # whoever read our output, head say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if _interrupted(error):
            return _stopped(arguments)
        explanation = _explanation(error)
        if explanation is None:
            raise
        if set(_VERBOSE) & set(arguments):
            traceback.print_exc()
        click.echo(f"Error: {printable(explanation)}", err=True)
        return 1


def _stopped(arguments: list[str]) -> int:
    goes_on = any(verb in arguments for verb in _GO_ON)
    click.echo("Stopped; give the same command again to go on." if goes_on else "Stopped.", err=True)
    return 130


def _interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error, as behind the ImportError of a module that was being loaded."""
    return error is not None and (
        isinstance(error, KeyboardInterrupt) or _interrupted(error.__cause__ or error.__context__)
    )


def _explanation(error: Exception) -> str | None:
    if isinstance(error, (FacetellError, OSError)):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        return extra and f"this command needs {error.name}; run in facetell's folder: pip install '.[{extra}]'"
    if isinstance(error, ImportError) and "libGL" in str(error):
        return f"OpenCV cannot be loaded ({error}); {_LIBGL_HINT}"
    return None


if __name__ == "__main__":
    main()
