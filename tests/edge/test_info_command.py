"""facetell info: what a bundle is, or one line that says why it is none."""

from pathlib import Path

import pytest

from facetell.edge.bundle import Bundle
from facetell.edge.runtime import installed_runtimes
from facetell.tools.cli import run

from ..program import DONE, FAILED, one_error


def test_info_tells_what_the_bundle_is(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info"]) == DONE
    out = capsys.readouterr().out
    assert bundle.identity in out
    for classifier in bundle.classifiers.values():
        assert classifier.file in out
    assert installed_runtimes()[0] in out


def test_info_of_what_is_no_bundle_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", str(tmp_path)]) == FAILED
    out, err = capsys.readouterr()
    assert out == ""
    assert one_error(err)
