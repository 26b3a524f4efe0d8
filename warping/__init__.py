"""Moves the pixels of a photo to where another pose would have them."""
