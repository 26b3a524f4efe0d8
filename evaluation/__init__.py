"""Measures of a generated video: poses followed, appearance kept, sentence followed, smooth, close to the truth."""
