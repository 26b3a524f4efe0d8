"""What surrounds a training step: state that can be resumed, several processes, tracking, validation."""
