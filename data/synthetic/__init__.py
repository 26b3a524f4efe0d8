"""A synthetic fashion dataset: clips of a dressed 3D figure, rendered with numpy and OpenCV."""
