"""What all clients are given."""

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from facetell.edge.bundle import Bundle
from facetell.edge.detector import Detector
from facetell.edge.images import read_image

PHONE = Path(__file__).parents[2] / "tools" / "phone"
POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'"


@pytest.fixture(scope="session")
def faces(bundle: Bundle, samples: Path) -> np.ndarray:
    """The faces in the sample pictures as (N, 224, 224, 3) uint8 RGB."""
    detector = Detector(bundle)
    images = [read_image(path) for path in sorted(samples.glob("*.jpg"))]
    faces = [(image, face) for image in images for face in detector.detect(image) if face.may_decide]
    return np.stack([detector.crop(image, face.box_xyxy, face.roll_degrees) for image, face in faces])


@pytest.fixture(scope="session")
def phone_app(pytestconfig: pytest.Config) -> Path:
    """A copy of the phone page's sources, with what npm installs for them, beside the icon and the licence."""
    if not (npm := shutil.which("npm")):
        pytest.skip("npm is not installed")
    assert pytestconfig.cache
    tools = pytestconfig.cache.mkdir("phone") / "tools"
    app = tools / "phone" / "app"
    lock = app / "package-lock.json"
    is_installed = (app / "node_modules" / ".package-lock.json").exists()  # what npm writes last
    is_installed = is_installed and lock.read_bytes() == (PHONE / "app" / lock.name).read_bytes()
    shutil.copytree(PHONE / "app", app, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copy(PHONE.parents[1] / "LICENSE", tools.parent)
    shutil.copytree(PHONE.parent / "web", tools / "web", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py*"))
    if not is_installed:
        subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=app, check=True)
    return app


class _Handler(SimpleHTTPRequestHandler):
    policy: str | None

    def end_headers(self) -> None:
        if self.policy:
            self.send_header("Content-Security-Policy", self.policy)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(folder: Path, policy: str | None = POLICY) -> Iterator[str]:
    """Serve a folder at an address of this machine, under a strict policy or another."""
    handler = type("Handler", (_Handler,), {"policy": policy})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def serve() -> Callable[..., AbstractContextManager[str]]:
    """What serves a folder: serving."""
    return serving
