"""Raw videos become a dataset: people found, followed, cut out, described and divided."""
