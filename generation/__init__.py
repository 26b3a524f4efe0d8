"""What makes a video: settings, inputs and what is found in them, motion, streaming and windows."""
