import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from facetell.edge.bundle import Bundle, load_bundle
from facetell.edge.errors import ModelError, SourceError
from facetell.tools.cli import run as facetell
from facetell.tools.phone.site import SITE, site_files, write_site

from ...pictures import tree

ROOT = SITE.parents[2]


@pytest.fixture(scope="module")
def files(bundle: Bundle) -> dict[str, bytes]:
    return site_files(bundle)


def listed(files: dict[str, bytes]) -> list[str]:
    (names,) = re.findall(r"FILES = (\[.*\])", files["files.js"].decode())
    return json.loads(names)


def version(files: dict[str, bytes]) -> str:
    (found,) = re.findall(r'VERSION = "(\w+)"', files["files.js"].decode())
    return found


def test_the_command_writes_every_file(tmp_path: Path, files: dict[str, bytes]) -> None:
    assert facetell(["phone", "-o", str(tmp_path / "site")]) == 0
    assert tree(tmp_path / "site") == dict(sorted(files.items()))


def test_the_models_are_the_bundles(files: dict[str, bytes], bundle: Bundle) -> None:
    assert files["bundle/float32.tflite"] == bundle.classifiers["float32"].content
    assert files["bundle/face_detector.tflite"] == bundle.face_detector
    assert files["bundle/explain.tflite"] == bundle.explainer
    manifest = json.loads(files["bundle/model.json"])
    assert manifest["thresholds"] == {"real": bundle.thresholds.real, "fake": bundle.thresholds.fake}
    assert manifest["license"] == bundle.license
    ratios = ("margin_ratio", "shown_ratio", "min_face_px", "pre_cropped")
    assert {name: manifest["face"][name] for name in ratios} == {name: getattr(bundle, name) for name in ratios}


def test_all_but_the_service_worker_is_kept_for_offline(files: dict[str, bytes]) -> None:
    assert set(listed(files)) == set(files) - {"index.html", "sw.js", "files.js"} | {"./"}


def test_the_version_changes_with_any_file(files: dict[str, bytes], bundle: Bundle) -> None:
    assert version(files) == version(site_files(bundle))
    assert version(files) != version(site_files(replace(bundle, name="another")))


LESS = {
    "no explain.tflite": ({"explainer": None}, {"bundle/explain.tflite"}),
    "face crops already": ({"pre_cropped": True}, {"bundle/face_detector.tflite"}),
}


@pytest.mark.parametrize("name", LESS)
def test_what_a_bundle_lacks_is_left_out(files: dict[str, bytes], bundle: Bundle, name: str) -> None:
    change, missing = LESS[name]
    assert set(files) - set(site_files(replace(bundle, **change))) == missing


def test_a_bundle_without_float32_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no float32"):
        write_site(replace(bundle, classifiers={"int8": bundle.classifiers["int8"]}), tmp_path / "site")
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("name", ["mine.txt", "files.js"])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(SourceError, match="something else than a phone page"):
        write_site(load_bundle(), tmp_path)
    assert tree(tmp_path) == {name: b"mine"}


def test_a_page_is_written_over_an_earlier_one(bundle: Bundle, tmp_path: Path) -> None:
    write_site(bundle, tmp_path / "site")
    mine = {"README.md": b"mine", ".git/HEAD": b"mine"}
    for name, content in mine.items():
        (tmp_path / "site" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "site" / name).write_bytes(content)
    later = replace(bundle, name="later", explainer=None)
    write_site(later, tmp_path / "site")
    assert tree(tmp_path / "site") == dict(sorted((site_files(later) | mine).items()))


def test_a_list_that_names_other_places_deletes_nothing_there(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "files.js").write_text('const VERSION = "1";\nconst FILES = ["../mine.txt"];\n')
    write_site(bundle, tmp_path / "site")
    assert (tmp_path / "mine.txt").exists()


@pytest.mark.parametrize("page", ["index.html", "card.html"])
def test_everything_a_page_names_is_there(files: dict[str, bytes], page: str) -> None:
    named = set(re.findall(r'(?:href|src)="([^"]*)"', files[page].decode()))
    assert "style.css" in named
    assert {name or "index.html" for name in named} - {"./"} <= set(files)


def card_page(bundle: Bundle, card: str) -> str:
    return site_files(replace(bundle, card=card))["card.html"].decode()


CARDS = {
    "# Mine\n\n| a | b |\n|---|---|\n| 1 | 2 |\n": ["<h1>Mine</h1>", "<td>2</td>"],
    "---\nlicense: other\n---\n# Mine": ["<h1>Mine</h1>"],
    "<script>alert(1)</script>": ["&lt;script&gt;alert(1)"],
    "[here](javascript:alert)": ["[here](javascript:alert)"],
    "": ["came without a card"],
}


@pytest.mark.parametrize("card", CARDS)
def test_the_model_card_is_a_page(bundle: Bundle, card: str) -> None:
    page = card_page(bundle, card)
    for piece in CARDS[card]:
        assert piece in page
    assert "license: other" not in page
    assert "<script" not in page


def test_the_licences_of_others_are_named(files: dict[str, bytes]) -> None:
    notice = files["NOTICE.txt"].decode()
    assert "LiteRT.js" in notice
    assert "MediaPipe" in notice
    assert files["LICENSE.txt"] == (ROOT / "LICENSE").read_bytes()


def test_the_classifier_has_a_name_of_its_own(bundle: Bundle) -> None:
    classifier = replace(bundle.classifier("float32"), file="../float32 1.tflite")
    files = site_files(replace(bundle, classifiers={"float32": classifier}))
    assert files["bundle/float32.tflite"] == classifier.content
    assert json.loads(files["bundle/model.json"])["files"]["float32"]["file"] == "float32.tflite"
