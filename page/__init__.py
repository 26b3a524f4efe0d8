"""The page: what a visitor's clicks ask of `generation`, and how it is laid out."""
