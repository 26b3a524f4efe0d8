"""Small tools every part shares: files, errors, pictures, video, distribution. Imports nothing else of the project."""
