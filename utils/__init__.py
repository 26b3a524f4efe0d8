"""Small tools that every part shares; they import nothing else of the project."""
