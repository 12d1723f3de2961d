"""The root of the command line: what it lists, how little it loads, and what it says when an extra is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from facetell.edge.manifest import Record, write_manifest
from facetell.tools.cli import COMMANDS, EXTRAS, cli, run

VERBS = [verb for verbs in COMMANDS.values() for verb in verbs]


def python(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=120, **options
    )


# Help


def test_help_lists_every_verb_with_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    listed = {line[0]: line[1] for line in lines if len(line) == 2}
    for verb in VERBS:
        assert len(listed[verb].split()) > 2, verb


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_verb_has_help(verb: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, option]) == 0
    out, err = capsys.readouterr()
    assert f"Usage: facetell {verb} " in out
    assert err == ""


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_called_as_it_is_listed(verb: str) -> None:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    assert command.name == verb
    assert command.help


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert version("facetell") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "Usage: facetell"),
        (["no-such-verb"], 2, "No such command 'no-such-verb'"),
        (["--no-such-option"], 2, "No such option"),
        (["info", "/nowhere"], 1, "Error: there is no model at /nowhere"),
        (["split", "/nowhere"], 1, "Error: "),
        (["crop", "/nowhere"], 2, "Missing option '-o'"),
        (["merge", "-o", "/nowhere"], 2, "name at least one RAW folder or zip"),
        (["split", "/nowhere", "--seed", "-1"], 2, "-1 is not in the range"),
        (["left-out", "/nowhere", "-o", "/nowhere"], 2, "Missing option '--folds'"),
        (["left-out", "/nowhere", "--folds", "/nowhere", "-o", "/nowhere"], 2, "File '/nowhere' does not exist"),
        (["train", "/nowhere", "-o", "/nowhere", "--weights", "slip.h5"], 2, "the file 'slip.h5' does not exist"),
        (["pipeline", "/", "-o", "/nowhere", "--weights", "slip.h5"], 2, "the file 'slip.h5' does not exist"),
        (["export", "/nowhere", "-o", "/nowhere", "--data-notes", sys.executable], 2, "is no text in UTF-8"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_exit_status(arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [["-v", "info", "/nowhere"], ["info", "/nowhere", "-v"], ["info", "--verbose", "/nowhere"]],
    ids=" ".join,
)
def test_verbose_shows_where_an_error_came_from(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("Error: there is no model")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ImportError])
def test_ctrl_c_is_status_130_wherever_it_strikes(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(path: Path) -> None:
        raise error("numpy._core.multiarray failed to import") from KeyboardInterrupt()

    monkeypatch.setattr("facetell.edge.bundle.load_bundle", interrupted)
    assert run(["info"]) == 130
    assert capsys.readouterr().err.strip() == "Stopped."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["crop", "DATASET", "-o", "OUT"], "Stopped; give the same command again to go on."),
        (["-v", "train", "CROPS", "-o", "OUT"], "Stopped; give the same command again to go on."),
        (["left-out", "CROPS", "--folds", "FOLDS", "-o", "OUT"], "Stopped; give the same command again to go on."),
        (["split", "CROPS"], "Stopped."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_ctrl_c_says_whether_the_command_goes_on(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments, **options) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("facetell.tools.cli.cli.main", interrupted)
    assert run(arguments) == 130
    assert capsys.readouterr().err.strip() == said


# What is loaded


@pytest.mark.parametrize(
    "arguments", [["--help"], ["scan", "--help"], ["train", "--help"], ["--version"]], ids=" ".join
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom facetell.tools.cli import run\n"
        "assert run(sys.argv[1:]) == 0\nprint('LOADED', *sys.modules, sep='\\n')"
    )
    done = python("-c", code, *arguments)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.partition("LOADED")[2].split())
    assert "click" in loaded
    assert not loaded & {"numpy", "cv2", "PIL", "tensorflow", "keras", "mediapipe", "rich", "sklearn", "matplotlib"}


# Extras

BLOCKER = """
import importlib.util
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {blocked} else find_spec(name, package)
"""


@pytest.fixture
def without(tmp_path: Path):
    """Runs facetell where modules are missing, in the processes that it starts as well."""

    def call(modules: set[str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(BLOCKER.format(blocked=modules))
        environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
        return python("-m", "facetell.tools.cli", *arguments, env=environment)

    return call


@pytest.fixture
def dataset(tmp_path: Path, samples: Path) -> Path:
    """A merged data set of two pictures."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    records = []
    for label, name in (("real", "real_astronaut.jpg"), ("fake", "fake_astronaut_with_hoppers_face.jpg")):
        (folder / name).write_bytes((samples / name).read_bytes())
        records.append(Record(name, label, "set", "", "", label * 16, 512, 512))
    write_manifest(folder, records)
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "DATASET", "-o", "OUT"],
        ["crop", "DATASET", "-o", "OUT"],
        ["split", "DATASET"],
        ["evaluate", "DATASET"],
        ["export", "DATASET", "-o", "OUT"],
        ["verify", "DATASET", "DATASET"],
        ["merge", "--kaggle", "somebody/something", "-o", "OUT"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_missing_extra_is_one_line(arguments: list[str], without, dataset: Path, tmp_path: Path) -> None:
    places = {"DATASET": dataset, "OUT": tmp_path / "out"}
    done = without(set(EXTRAS), *(places.get(argument, argument) for argument in arguments))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("Error: ")
    assert "pip install '.[train]'" in done.stderr


def test_the_missing_extra_of_signatures_is_one_line(without) -> None:
    done = without({"model_signing"}, "info", "--verify", "key.pub")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("Error: ")
    assert "pip install '.[sign]'" in done.stderr


def test_the_edge_needs_no_extra(without, samples: Path) -> None:
    done = without(set(EXTRAS), "scan", samples, "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert "real_astronaut.jpg" in done.stdout


def test_a_module_of_no_extra_is_a_bug_and_shown_as_one(without, samples: Path) -> None:
    done = without({"cv2"}, "scan", samples)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
