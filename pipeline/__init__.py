"""From raw folders of real and fake pictures to a trained and evaluated Keras model."""

import logging
import os

# Before TensorFlow and MediaPipe are imported: without this they fill the terminal with notes on absent GPUs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GLOG_minloglevel", "2")
logging.getLogger("tensorflow").setLevel(logging.ERROR)  # that it traces a model again for a last, smaller batch
