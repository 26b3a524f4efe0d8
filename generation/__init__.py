"""What makes a video: the model and its settings, the inputs, windows of a long video."""
