"""From raw folders of real and fake pictures to a trained and evaluated Keras model."""

import os

# Before TensorFlow and MediaPipe are imported: without this they fill the terminal with notes on absent GPUs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GLOG_minloglevel", "2")
