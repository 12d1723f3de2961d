"""The program as tests run it, in this process or in one of its own, and what it ends with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from facetell.tools.cli import run

FACETELL = [sys.executable, "-m", "facetell.tools.cli"]
DONE, FAILED, USAGE, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130


class Scan:
    """Runs `facetell scan ...` in this process and keeps what it wrote."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> int:
        code = run(["scan", *map(str, arguments)])
        self.out, self.err = self._capsys.readouterr()
        return code

    def rows(self, *arguments: str | Path) -> list[dict]:
        """The files' results, after checking that all went well."""
        assert self(*arguments, "--format", "jsonl") == DONE
        return [json.loads(line) for line in self.out.splitlines()]


def scan_in_a_process(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FACETELL, "scan", *arguments], capture_output=True, text=True, check=False, timeout=300, **options
    )


def one_error(err: str) -> str:
    """Return what was written to standard error, after checking that it is one line."""
    assert err.startswith("Error: ")
    assert err.count("\n") == 1, err
    assert err.endswith("\n")
    return err
