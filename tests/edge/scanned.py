"""Files as a scan may leave them: faces of every kind, none, an error, and odd names."""

from __future__ import annotations

from facetell.edge.results import FaceResult, FileResult, decided

FAKE = FaceResult((10.0, 20.5, 110.0, 130.5), 0.9, 0.97, "fake")
UNSURE = FaceResult((-3.0, 0.0, 40.0, 43.0), 0.6, 0.5, "uncertain")
TURNED = FaceResult((50.0, 60.0, 150.0, 170.0), 0.8, 0.99, "uncertain", -31.5, "not_frontal")
DOG = FaceResult((200.0, 0.0, 280.0, 80.0), 0.7, 1.0, "uncertain", doubt="may_not_be_a_face")
TINY = FaceResult((300.0, 0.0, 320.0, 20.0), 0.9, None, "uncertain", doubt="too_small")
ABOUT = {
    "width": 640,
    "height": 480,
    "model": "blaze 1",
    "precision": "int8",
    "rule": "fake from 0.9",
    "latency_ms": 12.34,
}


def file_of(path: str, *faces: FaceResult) -> FileResult:
    return FileResult(path, "ok", **decided(faces), **ABOUT)


ONE = file_of("one.jpg", FAKE)
TWO = file_of("two.jpg", UNSURE, FAKE)
CROWD = file_of("crowd.jpg", TINY, DOG, TURNED, TINY)
NOBODY = file_of("nobody.jpg")
NO_PERSON = file_of("dog.jpg", *[TINY] * 12, DOG)
BROKEN = FileResult("broken.jpg", "error", "error", error="no such file")
ALL = [ONE, TWO, NOBODY, BROKEN]

ODD_NAMES = {
    "newline": "a\nb.jpg",
    "return": "a\rb.jpg",
    "tab": "a\tb.jpg",
    "escape": "\x1b[31mred\x1b[0m.jpg",
    "bell": "a\x07.jpg",
    "turned around": "a\u202egpj.exe",
    "quotes": "a\"b'c,d;e.jpg",
    "markup": "[bold red]a[/].jpg",
    "emoji code": "a:warning:.jpg",
    "backslash": "a\\",
    "unicode": "Ünïcödé 顔.jpg",
    "not utf-8": "caf\udce9.jpg",
}
