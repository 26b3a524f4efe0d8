"""Less talk from the libraries that load models."""

import logging
import sys

LIBRARIES = ("diffusers", "transformers")


def quiet_libraries() -> None:
    """Let diffusers and transformers say errors alone, and draw no progress bars while they load or save.

    What matters of their warnings (tensors that are missing, sentences that are cut) the callers check and
    say themselves, naming the user's files; the rest would bury the one line of an error.
    """
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)
        if name in sys.modules:  # importing them takes seconds, which a script without models need not spend
            sys.modules[name].utils.logging.disable_progress_bar()
