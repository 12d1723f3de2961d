"""A signature holds for the files that were signed, by the key that signed them, and for nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from facetell.edge.bundle import DEFAULT_BUNDLE, load_bundle
from facetell.edge.errors import ModelError
from facetell.edge.signature import SIGNATURE, sign, verify_signature
from facetell.tools.cli import run

from ..pictures import zipped
from ..program import one_error

pytest.importorskip("model_signing.signing", exc_type=ImportError)

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


def write_keys(
    folder: Path, name: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: str = ""
) -> None:
    locked = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    (folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pub").write_bytes(public)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of keys: mine, another's, and what is none that can be used."""
    folder = tmp_path_factory.mktemp("keys")
    write_keys(folder, "mine", ec.generate_private_key(ec.SECP256R1()))
    write_keys(folder, "other", ec.generate_private_key(ec.SECP256R1()))
    write_keys(folder, "locked", ec.generate_private_key(ec.SECP256R1()), password="secret")
    write_keys(folder, "koblitz", ec.generate_private_key(ec.SECP256K1()))
    write_keys(folder, "rsa", rsa.generate_private_key(65537, 2048))
    for kind in ("key", "pub"):
        (folder / f"text.{kind}").write_text("no key")
        (folder / f"folder.{kind}").mkdir()
    return folder


@pytest.fixture
def signed(bundle_copy: Path, keys: Path) -> Path:
    """A copy of the shipped bundle, signed with my key."""
    sign(bundle_copy, keys / "mine.key")
    return bundle_copy


def change(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + b"\n")


def add(name: str) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")

    return write


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def link(folder: Path) -> None:
    (folder / "labels.txt").rename(folder.parent / "labels.txt")
    (folder / "labels.txt").symlink_to(folder.parent / "labels.txt")


def test_a_signed_bundle_is_valid_and_is_loaded_as_before(signed: Path, keys: Path) -> None:
    verify_signature(signed, keys / "mine.pub")
    assert load_bundle(signed) == load_bundle(DEFAULT_BUNDLE)
    assert {path.name for path in signed.iterdir()} == {path.name for path in DEFAULT_BUNDLE.iterdir()} | {SIGNATURE}


def test_a_signature_holds_wherever_the_bundle_is(signed: Path, keys: Path, monkeypatch) -> None:
    moved = signed.rename(signed.with_name("elsewhere"))
    verify_signature(moved, keys / "mine.pub")
    monkeypatch.chdir(moved)
    verify_signature(Path(), keys / "mine.pub")


def test_what_was_changed_can_be_signed_again(signed: Path, keys: Path) -> None:
    change("MODEL_CARD.md")(signed)
    sign(signed, keys / "other.key")
    verify_signature(signed, keys / "other.pub")
    with pytest.raises(ModelError, match="Key mismatch"):
        verify_signature(signed, keys / "mine.pub")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        *((change(name), f"Hash mismatch for '{name}'") for name in ("labels.txt", "model.json", "int8.tflite")),
        *(
            (add(name), f"Extra files.*: {name}")
            for name in ("notes.txt", ".gitignore", "below/notes.txt", "quo'te\".txt")
        ),
        *((remove(name), f"Missing files.*: {name}") for name in ("NOTICE", "float32.tflite")),
        (lambda folder: (folder / "NOTICE").rename(folder / "NOTES"), r"Extra files.*: NOTES.*Missing files.*: NOTICE"),
        (link, "symlink"),
        (remove(SIGNATURE), "is not signed: it has no model.sig"),
        *(
            (lambda folder, text=text: (folder / SIGNATURE).write_bytes(text), "does not hold")
            for text in (b"", b"\xff", b"[]", b"{}", b'{"verificationMaterial": {}}', b"[" * 100_000)
        ),
    ],
    ids=[
        *("changed labels", "changed manifest", "changed model", "added", "added hidden", "added below", "added odd"),
        *("removed notice", "removed model", "renamed", "linked", "not signed"),
        *("empty", "binary", "list", "nothing in it", "half of it", "deep"),
    ],
)
def test_what_is_not_as_it_was_signed_is_refused(spoil, reason: str, signed: Path, keys: Path) -> None:
    spoil(signed)
    with pytest.raises(ModelError, match=reason) as refused:
        verify_signature(signed, keys / "mine.pub")
    assert "Digest" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_signature_in_another_key_s_name_is_refused(signed: Path, keys: Path) -> None:
    other = shutil.copytree(signed, signed.with_name("other"))
    sign(other, keys / "other.key")
    mine, theirs = (json.loads((folder / SIGNATURE).read_text()) for folder in (signed, other))
    material = {"verificationMaterial": theirs["verificationMaterial"]}
    (signed / SIGNATURE).write_text(json.dumps(mine | material))
    with pytest.raises(ModelError, match="InvalidSignature"):
        verify_signature(signed, keys / "other.pub")


@pytest.mark.parametrize("name", ["missing", "text", "folder", "koblitz", "rsa"])
def test_what_is_no_key_is_refused(name: str, signed: Path, keys: Path) -> None:
    before = (signed / SIGNATURE).read_bytes()
    with pytest.raises(ModelError, match=rf"{name}\.pub (is not a public key|does not exist)"):
        verify_signature(signed, keys / f"{name}.pub")
    with pytest.raises(ModelError, match=rf"{name}\.key (is not a private key|does not exist)"):
        sign(signed, keys / f"{name}.key")
    assert (signed / SIGNATURE).read_bytes() == before


def test_keys_are_not_taken_for_one_another(signed: Path, keys: Path) -> None:
    with pytest.raises(ModelError, match="is not a public key"):
        verify_signature(signed, keys / "mine.key")
    with pytest.raises(ModelError, match="is not a private key"):
        sign(signed, keys / "mine.pub")
    with pytest.raises(ModelError, match="without a password"):
        sign(signed, keys / "locked.key")


def test_a_link_is_not_signed(signed: Path, keys: Path) -> None:
    link(signed)
    with pytest.raises(ModelError, match=r"cannot be signed.*symlink"):
        sign(signed, keys / "mine.key")


def test_a_zip_is_to_be_unzipped_first(signed: Path, keys: Path) -> None:
    path = zipped(signed)
    assert load_bundle(path) == load_bundle(DEFAULT_BUNDLE)
    for act, key in ((sign, "mine.key"), (verify_signature, "mine.pub")):
        with pytest.raises(ModelError, match="unzip it first"):
            act(path, keys / key)


# facetell info --verify


def test_info_tells_that_a_signature_is_valid(signed: Path, keys: Path, capsys) -> None:
    assert run(["info", str(signed), "--verify", str(keys / "mine.pub")]) == 0
    assert f"     signature  valid, by {keys / 'mine.pub'}\n" in capsys.readouterr().out


def test_info_of_a_signature_that_does_not_hold_is_one_line(signed: Path, keys: Path, capsys) -> None:
    add("notes.txt")(signed)
    assert run(["info", str(signed), "--verify", str(keys / "mine.pub")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "notes.txt" in one_error(err)
