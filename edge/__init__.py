"""What runs on the device: numpy, OpenCV, Pillow, click, rich and a TFLite runtime, and nothing else of the project."""
