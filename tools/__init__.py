"""What stands around the rest: the root of the command line and the whole pipeline in one go."""
