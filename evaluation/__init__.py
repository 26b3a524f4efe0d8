"""Measures of a generated video, one family a file, and the controls that they are read beside."""
