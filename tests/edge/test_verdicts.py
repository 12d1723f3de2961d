"""Which face of a file decides, what is said of those that do not, and how verdicts and errors are counted."""

from __future__ import annotations

import io

import pytest

from facetell.edge.results import DOUBTS, FORMATS, Doubt, FaceResult, FileResult, decided, not_judged, write_results

from .scanned import ALL, file_of


def face(verdict: str, p_fake: float | None, doubt: Doubt | None = None) -> FaceResult:
    return FaceResult((0.0, 0.0, 9.0, 9.0), 0.9, p_fake, verdict, doubt=doubt)


REAL, SUSPECT, PROFILE = face("real", 0.3), face("fake", 0.91), face("uncertain", 0.95, "not_frontal")
PUPPET, SMALL = face("uncertain", 0.99, "may_not_be_a_face"), face("uncertain", None, "too_small")


@pytest.mark.parametrize(
    ("faces", "ordered", "verdict", "p_fake", "deciding", "too_small", "doubtful"),
    [
        ([], [], "no_face", None, None, 0, 0),
        ([REAL], [REAL], "real", 0.3, 0, 0, 0),
        ([REAL, SUSPECT], [SUSPECT, REAL], "fake", 0.91, 0, 0, 0),
        ([PROFILE, SUSPECT, REAL], [SUSPECT, PROFILE, REAL], "fake", 0.91, 0, 0, 0),
        ([REAL, PROFILE], [PROFILE, REAL], "uncertain", 0.95, 0, 0, 0),
        ([SMALL, PUPPET, REAL], [REAL, PUPPET, SMALL], "real", 0.3, 0, 1, 1),
        ([PUPPET], [PUPPET], "no_face", None, None, 0, 1),
        ([SMALL, PUPPET, SMALL], [PUPPET, SMALL, SMALL], "no_face", None, None, 2, 1),
    ],
)
def test_the_most_suspicious_face_that_may_decide_does(
    faces: list[FaceResult],
    ordered: list[FaceResult],
    verdict: str,
    p_fake: float | None,
    deciding: int | None,
    too_small: int,
    doubtful: int,
) -> None:
    assert decided(faces) == {
        **{"verdict": verdict, "p_fake": p_fake, "faces": ordered},
        **{"deciding_face": deciding, "too_small": too_small, "doubtful": doubtful},
    }


@pytest.mark.parametrize(
    ("faces", "words"),
    [
        ([REAL, PROFILE], ""),
        ([SMALL], "1 face too small to judge"),
        ([SMALL] * 12 + [PUPPET], "12 faces too small to judge, 1 detection that may not be a face"),
        ([REAL, PUPPET, PUPPET], "2 detections that may not be faces"),
    ],
)
def test_what_does_not_decide_is_counted_in_words(faces: list[FaceResult], words: str) -> None:
    assert not_judged(file_of("a.jpg", *faces)) == words


def test_every_doubt_has_words() -> None:
    assert DOUBTS == {
        "may_not_be_a_face": "may not be a face",
        "too_small": "too small to judge",
        "not_frontal": "turned away or partly hidden",
    }


@pytest.mark.parametrize("format", FORMATS)
def test_verdicts_are_counted(format: str) -> None:
    tally = write_results(iter(ALL), format, io.StringIO())
    assert tally.verdicts == {"fake": 2, "no_face": 1, "error": 1}
    assert tally.reasons == {"no such file": 1}


def test_reasons_that_differ_in_numbers_alone_are_one() -> None:
    refused = [FileResult(name, "error", "error", error=f"{name} pixels are too many") for name in ("48 x 32", "9 x 9")]
    assert write_results(refused, "jsonl", io.StringIO()).reasons == {"… x … pixels are too many": 2}
