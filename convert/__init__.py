"""From a Keras model to a verified bundle of .tflite files."""
