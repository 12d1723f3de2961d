"""The phone page: the detector in a browser, as static files."""
