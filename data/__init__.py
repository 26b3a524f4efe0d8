"""Reads the dataset folder, and renders the synthetic one."""
