"""What tests of models of others share."""

import pytest


@pytest.fixture
def seeded() -> None:
    """The weights of every new model are the same at each run."""
    import keras

    keras.utils.set_random_seed(0)
