"""What makes the parts of the shipped model; each file runs as `python -m recipe.NAME`."""
