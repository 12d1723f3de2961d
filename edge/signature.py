"""Signatures: hashes say that a bundle is whole, a signature says whose it is. Needs the extra `sign`, no network."""

from __future__ import annotations

import ast
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ModelError
from .files import replacing

if TYPE_CHECKING:
    from model_signing import hashing, signing

SIGNATURE = "model.sig"


def sign(bundle: Path, private_key: Path) -> None:
    """Write model.sig into a bundle's folder, over every other file in it.

    Raises ModelError when bundle is no folder or has a link in it, or when the key is none, and SourceError when
    model.sig cannot be written.
    """
    _check_folder(bundle)
    signer = load_signer(private_key)
    try:
        with replacing(bundle / SIGNATURE) as partial:
            signer.set_hashing_config(_every_other_file()).sign(bundle, partial)
    except ValueError as error:
        raise ModelError(f"{bundle} cannot be signed: {error}") from error


def load_signer(private_key: Path) -> signing.Config:
    """Return what signs with a private key; raises ModelError when the file holds none that can be used."""
    from model_signing import signing

    try:
        return signing.Config().use_elliptic_key_signer(private_key=private_key)
    except Exception as error:  # of many types: a file of another kind, a key of another kind, a password
        raise ModelError(_no_key(private_key, "private")) from error


def verify_signature(bundle: Path, public_key: Path) -> None:
    """Check that a bundle's folder holds the files that the owner of a key signed, and no others.

    Raises ModelError when it has no signature or one by another key, when a file was changed, added or removed (the
    message names it), or when the key is none.
    """
    from model_signing import verifying

    _check_folder(bundle)
    signature = bundle / SIGNATURE
    if not signature.is_file():
        raise ModelError(f"{bundle} is not signed: it has no {SIGNATURE}")
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    except Exception as error:
        raise ModelError(_no_key(public_key, "public")) from error
    try:
        verifier.set_hashing_config(_every_other_file()).verify(bundle, signature)
    except Exception as error:  # a signature is anybody's file: whatever it makes the parsers raise, it is refused
        raise ModelError(f"{signature} does not hold by {public_key}: {_reason(error)}") from error


def _check_folder(bundle: Path) -> None:
    if not bundle.is_dir():
        raise ModelError(f"{bundle} is not a folder; signatures are of a bundle's folder: unzip it first")


def _no_key(path: Path, kind: str) -> str:
    if not path.exists():
        return f"{path} does not exist; wanted a {kind} key, a PEM file"
    return f"{path} is not a {kind} key; wanted a PEM file, without a password, of a key on the curve prime256v1"


def _reason(error: Exception) -> str:
    _, mismatch, differences = str(error).partition("Signature mismatch: ")
    if mismatch:
        with suppress(ValueError, SyntaxError):  # a list as Python prints it; behind each name the digests as raw bytes
            return "; ".join(line.partition(": Expected ")[0] for line in ast.literal_eval(differences))
    return next(iter(str(error).splitlines()), type(error).__name__).strip()


def _every_other_file() -> hashing.Config:
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)
