"""What is no classifier of pictures, holds code of its own, or cannot be loaded whole is refused with a reason."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import pytest

pytest.importorskip("tensorflow")

import keras
from keras import layers

from facetell.edge.errors import ModelError

from .keras_models import SIZE_PX, cnn, head, load, saved, sequential

pytestmark = pytest.mark.usefixtures("seeded")


# Models


def two_inputs() -> Any:
    one, two = keras.Input((SIZE_PX, SIZE_PX, 3)), keras.Input((SIZE_PX, SIZE_PX, 3))
    return keras.Model([one, two], sequential(*head())(one + two))


def two_outputs() -> Any:
    image = keras.Input((SIZE_PX, SIZE_PX, 3))
    return keras.Model(image, [sequential(*head())(image), sequential(*head())(image)])


def flipped() -> Any:
    image = keras.Input((SIZE_PX, SIZE_PX, 3))
    return keras.Model(image, 2 * sequential(*head())(image) - 1)


def built_layer() -> Any:
    layer = layers.Dense(1, activation="sigmoid")
    layer.build((None, 3))
    return layer


REFUSED = {
    "grey pictures": (lambda: sequential(*head(), size=(SIZE_PX, SIZE_PX, 1)), r"takes \[\(None, 32, 32, 1\)\]"),
    "pictures that are not square": (lambda: sequential(*head(), size=(32, 48, 3)), r"takes \[\(None, 32, 48, 3\)\]"),
    "pictures of any size": (lambda: sequential(*head(), size=(None, None, 3)), r"\(None, None, None, 3\).*fixed size"),
    "features": (lambda: sequential(layers.Dense(1, "sigmoid"), size=(64,)), r"takes \[\(None, 64\)\]"),
    "two pictures": (two_inputs, r"takes \[.*, .*\]; wanted one input"),
    "no model": (built_layer, "takes an input of unknown size"),
    "two outputs": (two_outputs, r"gives \[\(None, 1\), \(None, 1\)\]; wanted one output"),
    "five classes": (lambda: sequential(*head(5, "softmax")), r"gives \[\(None, 5\)\]"),
    "a map": (lambda: sequential(layers.Conv2D(1, 3, activation="sigmoid")), r"gives \[\(None, 30, 30, 1\)\]"),
    "one logit": (lambda: sequential(*head(1, None)), r"linear activation; wanted a sigmoid.*Activation\('sigmoid'\)"),
    "two logits": (lambda: sequential(*head(2, None)), r"linear activation; wanted a softmax.*Activation\('softmax'\)"),
    "a softmax of one": (lambda: sequential(*head(1, "softmax")), "softmax activation; wanted a sigmoid"),
    "two sigmoids": (lambda: sequential(*head(2, "sigmoid")), "sigmoid activation; wanted a softmax"),
    "a layer without activation": (lambda: sequential(*head(), layers.Dropout(0.5)), "no activation; wanted a sigmoid"),
    "arithmetic on a sigmoid": (flipped, "ends in 'subtract.*no activation"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_classifier_of_pictures_is_refused(tmp_path: Path, what: str) -> None:
    build, reason = REFUSED[what]
    keras.saving.save_model(build(), tmp_path / "model.keras")
    with pytest.raises(ModelError, match=reason):
        load(tmp_path / "model.keras")


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_a_model_that_never_saw_a_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"unknown size.*keras\.Input"):
        load(saved(keras.Sequential(head()), tmp_path / "model.keras"))


# Code


def with_code(mark: Path) -> Any:
    """Return a model with a function that makes the file mark whenever it runs."""
    name = str(mark)
    touch = layers.Lambda(lambda x: [x, open(name, "w").close()][0])  # noqa: PTH123 - a lambda is saved without imports
    return sequential(touch, *head())


@pytest.mark.parametrize(
    ("ending", "renamed", "trust", "reason"),
    [
        ("keras", "keras", False, "Lambda"),
        ("keras", "keras", True, "Lambda"),
        ("keras", "h5", True, r"starts with b'PK.*no \.h5"),
        ("h5", "h5", False, "--trust"),
        ("h5", "keras", False, r"starts with b'.x89HDF.*no \.keras"),
        ("h5", "keras", True, r"starts with b'.x89HDF.*no \.keras"),
    ],
)
def test_code_in_a_file_does_not_run(tmp_path: Path, ending: str, renamed: str, trust: bool, reason: str) -> None:
    saved(with_code(tmp_path / "ran"), tmp_path / f"saved.{ending}")
    (tmp_path / f"saved.{ending}").rename(tmp_path / f"model.{renamed}")
    (tmp_path / "ran").unlink()
    with pytest.raises(ModelError, match=reason):
        load(tmp_path / f"model.{renamed}", trust=trust)
    assert not (tmp_path / "ran").exists()


def test_code_in_an_h5_file_runs_where_it_is_trusted(tmp_path: Path) -> None:
    path = saved(with_code(tmp_path / "ran"), tmp_path / "model.h5")
    (tmp_path / "ran").unlink()
    load(path)
    assert (tmp_path / "ran").exists()


def test_a_zip_behind_an_h5_file_is_not_loaded_by_it(tmp_path: Path) -> None:
    """Keras takes what ends in .keras and has a zip anywhere in it for a zip."""
    h5, zipped = (saved(cnn(), tmp_path / f"model.{ending}").read_bytes() for ending in ("h5", "keras"))
    (tmp_path / "both.keras").write_bytes(h5 + zipped)
    with pytest.raises(ModelError, match="starts with"):
        load(tmp_path / "both.keras")


# Files


@pytest.mark.parametrize("name", ["model.pt", "model.tflite", "model.hdf5", "model.KERAS", "model"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    shutil.copy(saved(cnn(), tmp_path / "saved.keras"), tmp_path / name)
    with pytest.raises(ModelError, match=r"no \.keras or \.h5 file"):
        load(tmp_path / name)


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_file_that_breaks_off_is_refused(tmp_path: Path, ending: str, share: float) -> None:
    path = saved(cnn(), tmp_path / f"model.{ending}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError, match="cannot be loaded as a Keras model"):
        load(path)


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_layer_of_ones_own_is_named(tmp_path: Path, ending: str) -> None:
    class Sharpen(layers.Layer):
        def call(self, x: Any) -> Any:
            return x

    path = saved(sequential(Sharpen(), *head()), tmp_path / f"model.{ending}")
    with pytest.raises(ModelError, match=r"Sharpen.*wanted one of Keras' own layers") as caught:
        load(path)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["model.weights.h5", "old.h5"])
def test_weights_without_a_model_are_refused(tmp_path: Path, name: str) -> None:
    model = cnn()
    if name == "old.h5":
        saved(model, tmp_path / name)
        with h5py.File(tmp_path / name, "r+") as file:
            del file.attrs["model_config"]
    else:
        model.save_weights(tmp_path / name)
    with pytest.raises(ModelError, match=r"holds weights alone; save the whole model with model\.save"):
        load(tmp_path / name)


@pytest.mark.parametrize("standing", ["nothing", "a folder"])
def test_what_cannot_be_read_is_refused(tmp_path: Path, standing: str) -> None:
    path = tmp_path / "model.keras"
    if standing == "a folder":
        path.mkdir()
    with pytest.raises(ModelError, match="cannot be read"):
        load(path)
