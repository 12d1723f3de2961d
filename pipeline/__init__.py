"""From raw folders of real and fake pictures to a trained and evaluated Keras model."""
