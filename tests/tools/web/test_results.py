"""What is shown and given away of a result: pictures, tables, reports."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("gradio")

from fastapi.testclient import TestClient

from facetell.edge.images import read_image
from facetell.edge.results import Doubt, FaceResult, decided
from facetell.tools.web.history import Entry
from facetell.tools.web.pieces import figures_of, pictures_of, table_of_entries, table_of_files, title_of
from facetell.tools.web.report import report
from facetell.tools.web.scorer import Scored, Scorer
from facetell.tools.web.shown import Shown
from facetell.tools.web.texts import in_words

TWO_FACES = "two_faces.jpg"


def test_what_is_shown_is_bounded_by_its_bytes(scorer: Scorer, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored = scorer.picture(samples / TWO_FACES, TWO_FACES)
    monkeypatch.setattr("facetell.tools.web.shown._KEPT_BYTES", 3 * scored.kept_bytes())
    shown = Shown(scorer.bundle)
    names = [shown.keep([scored]) for _ in range(5)]
    assert [len(shown.batch(name, None)) for name in names] == [0, 0, 1, 1, 1]
    assert len(shown.batch(shown.keep([scored] * 9), None)) == 9


def shown_of(scorer: Scorer, *scored: Scored) -> tuple[TestClient, str]:
    from fastapi import FastAPI

    shown, app = Shown(scorer.bundle), FastAPI()
    name = shown.keep(scored)
    app.include_router(shown.routes())
    return TestClient(app), f"/shown/{name}"


def test_pictures_and_files_of_a_result(scorer: Scorer, samples: Path) -> None:
    client, place = shown_of(scorer, scorer.picture(samples / TWO_FACES, "two & faces.jpg"))
    faces, sheet = (read_image(client.get(f"{place}/0/{part}.jpg").content) for part in ("faces", "sheet"))
    assert faces.shape == (600, 1024, 3)
    assert sheet.shape[0] > sheet.shape[1] * 0.9  # two rows
    (row,) = json.loads(client.get(f"{place}/result.json").content)
    assert (row["path"], row["verdict"], len(row["faces"])) == ("two & faces.jpg", "fake", 2)
    assert client.get(f"{place}/result.csv").text.count("\n") == 3
    assert client.get(f"{place}/result.pdf").content.startswith(b"%PDF-")
    for gone in ("/1/faces.jpg", "/0/other.jpg", "/result.exe", "/-1/faces.jpg"):
        assert client.get(place + gone).status_code in (404, 422), gone
    assert client.get("/shown/guessed/result.json").status_code == 404


@pytest.mark.parametrize(
    ("place", "verdicts"),
    [("at the lower", ["fake", "fake"]), ("between", ["fake", "real"]), ("above", ["real", "real"])],
)
def test_another_threshold_gives_other_verdicts(place: str, verdicts: list[str], scorer: Scorer, samples: Path) -> None:
    scored = scorer.picture(samples / TWO_FACES, TWO_FACES)
    upper, lower = (face.p_fake or 0 for face in scored.result.faces)
    threshold = {"at the lower": lower, "between": (lower + upper) / 2, "above": (upper + 1) / 2}[place]
    client, address = shown_of(scorer, scored)
    (row,) = json.loads(client.get(f"{address}/result.json?threshold={threshold}").content)
    assert [face["verdict"] for face in row["faces"]] == verdicts
    assert (row["verdict"], row["deciding_face"]) == (verdicts[0], 0)


DOUBTFUL = "may_not_be_a_face"
TINY = FaceResult((5.0, 5.0, 25.0, 25.0), 0.9, None, "uncertain", doubt="too_small")


def with_doubts(scored: Scored, *doubts: Doubt | None, tiny: int = 0) -> Scored:
    """Return a picture of two faces with these doubts, and some more that are too small."""
    faces = [
        replace(face, doubt=doubt, verdict="uncertain" if doubt else face.verdict)
        for face, doubt in zip(scored.result.faces, doubts, strict=True)
    ]
    return replace(scored, result=replace(scored.result, **decided([*faces, *[TINY] * tiny])))


@pytest.mark.parametrize(
    ("doubts", "tiny", "said"),
    [
        ((None, None), 0, ["Looks fake", "The most suspicious of 2 faces decides."]),
        ((DOUBTFUL, None), 0, ["Looks real", "Not counted: 1 detection that may not be a face."]),
        ((DOUBTFUL, DOUBTFUL), 0, ["No face that can be judged", "Not counted: 2 detections that may not be faces."]),
        ((None, None), 7, ["Looks fake", "2 faces decides. Not counted: 7 faces too small to judge."]),
        (("not_frontal", DOUBTFUL), 0, ["Uncertain: the face is turned away or partly hidden.", "1 detection"]),
        (("not_frontal", None), 0, ["Uncertain: the face is turned away", "of 2 faces decides"]),
    ],
)
def test_a_sentence_says_what_decides_and_what_does_not(
    doubts: tuple[Doubt | None, Doubt | None], tiny: int, said: list[str], scorer: Scorer, samples: Path
) -> None:
    scored = with_doubts(scorer.picture(samples / TWO_FACES, TWO_FACES), *doubts, tiny=tiny)
    for words in said:
        assert words in in_words(scored.result)
        assert words in figures_of(scored.result)


def test_a_threshold_leaves_doubtful_faces_uncertain(scorer: Scorer, samples: Path) -> None:
    scored = with_doubts(scorer.picture(samples / TWO_FACES, TWO_FACES), "not_frontal", None, tiny=3)
    assert [face.verdict for face in scored.at(0.0).result.faces] == ["fake", *["uncertain"] * 4]
    assert [face.verdict for face in scored.at(1.0).result.faces] == ["uncertain", "real", *["uncertain"] * 3]
    assert (scored.at(0.0).result.verdict, scored.at(1.0).result.verdict) == ("fake", "uncertain")


def test_small_and_doubtful_faces_are_framed_and_explained(scorer: Scorer, samples: Path) -> None:
    plain = scorer.picture(samples / TWO_FACES, TWO_FACES)
    scored = with_doubts(plain, None, DOUBTFUL, tiny=1)
    page = pictures_of(scored, "name", None)
    assert "Thin frames: too small to judge. Dashed frames: may not be a face." in page
    assert "frames:" not in pictures_of(plain, "name", None)
    framed, before = scored.framed(), plain.framed()
    assert framed is not None
    assert before is not None
    assert (framed != before).any()
    assert "1 face too small to judge, 1 detection that may not be a face" in table_of_files([scored.result])
    assert report([scored], scorer.bundle).startswith(b"%PDF-")


def test_a_report_says_what_was_said(scorer: Scorer, samples: Path) -> None:
    pypdfium2 = pytest.importorskip("pypdfium2")
    scored = [scorer.picture(samples / name, name) for name in (TWO_FACES, "no_face_coffee.jpg")]
    document = pypdfium2.PdfDocument(report(scored, scorer.bundle))
    words = " ".join(" ".join(page.get_textpage().get_text_range().split()) for page in document)
    for said in (
        *(
            TWO_FACES,
            "no_face_coffee.jpg",
            "2 files: 1 fake, 1 no face",
            f"{scored[0].result.p_fake:.1%}",
            scored[0].sha256,
            scorer.bundle.identity,
        ),
        *(scorer.bundle.classifiers["float32"].sha256, "evidence, not proof", "not what was changed"),
    ):
        assert said in words, said


@pytest.mark.parametrize("name", ["顔🙂.jpg", "=1+1.jpg", "a" * 300 + ".jpg", "\x1b[31mred.jpg", "\u202egpj.exe"])
def test_any_name_has_a_report(name: str, scorer: Scorer, samples: Path) -> None:
    scored = scorer.picture(samples / "no_face_coffee.jpg", name)
    assert report([scored, scored], scorer.bundle).startswith(b"%PDF-")


HOSTILE = '<img src=x onerror="alert(1)">'


def test_a_hostile_name_is_text_on_the_page(scorer: Scorer, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    result = replace(scorer.picture(tmp_path / "bad.jpg", HOSTILE).result, error=HOSTILE)
    entry = Entry(1, "2026-01-01T00:00:00", HOSTILE, "error", None, 0, HOSTILE, None)
    for drawn in (
        *(table_of_files([result], [HOSTILE]), figures_of(result), table_of_entries([entry], "")),
        *(table_of_entries([], HOSTILE), title_of(HOSTILE, phone=True)),
    ):
        assert "onerror" in drawn
        assert "<img src=x" not in drawn


def test_a_report_shows_the_picture_and_where_the_network_looked(scorer: Scorer, samples: Path) -> None:
    pypdfium2 = pytest.importorskip("pypdfium2")
    scored = scorer.picture(samples / TWO_FACES, TWO_FACES)
    kinds = [
        shape.type for page in pypdfium2.PdfDocument(report([scored], scorer.bundle)) for shape in page.get_objects()
    ]
    assert kinds.count(pypdfium2.raw.FPDF_PAGEOBJ_IMAGE) == 2


def test_a_report_of_a_crowd_and_a_long_name(scorer: Scorer, samples: Path) -> None:
    scored = scorer.picture(samples / TWO_FACES, "a" * 200)
    crowd = replace(
        scored,
        result=replace(scored.result, faces=scored.result.faces * 100),
        crops=scored.crops * 100,
        evidence=scored.evidence * 100,
    )
    assert report([crowd, scored], scorer.bundle).startswith(b"%PDF-")


def test_another_threshold_takes_the_right_heat_map_along(scorer: Scorer, samples: Path) -> None:
    scored = scorer.picture(samples / TWO_FACES, TWO_FACES)
    (fake, real) = scored.result.faces
    turned = replace(
        scored, result=replace(scored.result, faces=[replace(fake, p_fake=0.1), replace(real, p_fake=0.9)])
    )
    assert [id(crop) for crop in turned.at(0.5).crops] == [id(scored.crops[1]), id(scored.crops[0])]
    assert [id(heat) for heat in turned.at(0.5).evidence] == [id(scored.evidence[1]), id(scored.evidence[0])]


def test_a_report_of_what_could_not_be_read(scorer: Scorer, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    assert io.BytesIO(report([scorer.picture(tmp_path / "bad.jpg", "bad.jpg")], scorer.bundle)).read(5) == b"%PDF-"
