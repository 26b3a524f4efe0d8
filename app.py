"""Open a page on this machine on which a photo becomes a video.

    python -m pip install -r requirements-app.txt
    python app.py

Then open http://127.0.0.1:7860. Nothing leaves this machine. Videos, and the uploads they were made of, go
into result/page. docs/app.md shows the page.
"""

import utils.interrupts  # noqa: F401

# isort: split
import contextlib
import dataclasses
import errno
import ipaddress
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from generation.own_clip import ClipSettings
from page.studio import Studio
from utils.config import run_script
from utils.errors import UserError
from utils.files import check_output_dir
from utils.paths import SHIPPED_MODEL

MAX_UPLOAD = "200mb"
LONGEST_QUEUE = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the page."""

    host: str = "127.0.0.1"
    """Address to serve on. 0.0.0.0 lets other machines in; there is no password."""
    port: int = 7860
    """Port to serve on."""
    model: Path = SHIPPED_MODEL
    """Folder of a whole model with text_to_poses, as recipe.run writes it, or of a denoiser by train.py."""
    device: str = "auto"
    """Where to compute: cpu, cuda or cuda:1. auto takes a GPU if there is one."""
    output_dir: Path = Path("result/page")
    """Folder for uploads and videos, a folder a visitor."""


@contextlib.contextmanager
def opened_page(config: Config) -> Iterator[Any]:
    """Load the model and serve the page from a thread; yields Gradio's blocks, and ends the page afterwards.

    Raises:
        UserError: Gradio is missing, or model, folder or address cannot be used.
    """
    check_output_dir(config.output_dir)
    check_address(config.host, config.port)
    with tempfile.TemporaryDirectory(prefix="x2fashion-", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # what Gradio serves from, so that nothing of it stays
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["HF_HUB_OFFLINE"] = "1"
        try:
            from page.layout import CSS, THEME, Page
        except ModuleNotFoundError as error:
            if error.name != "gradio":
                raise
            needs = "python -m pip install -r requirements-app.txt"
            raise UserError(f"the page needs Gradio; type: {needs}") from error
        studio = Studio(ClipSettings(pretrained_model=config.model, device=config.device), config.output_dir)
        blocks = Page(studio).blocks
        blocks.queue(max_size=LONGEST_QUEUE, api_open=False)
        address = f"{config.host}, port {config.port}"
        try:
            blocks.launch(
                server_name=config.host,
                server_port=config.port,
                share=False,
                max_file_size=MAX_UPLOAD,
                footer_links=[],
                ssr_mode=False,
                enable_monitoring=False,
                quiet=True,
                prevent_thread_lock=True,
                theme=THEME,
                css=CSS,
            )
        except OSError as error:  # another program was faster
            raise UserError(f"cannot serve on {address}: {error}; give another --port") from error
        except ValueError as error:  # Gradio asks itself for the page
            raise UserError(
                f"the page on {address} does not answer; if this machine is busy, start it again; if it has "
                "a proxy, set no_proxy=localhost,127.0.0.1"
            ) from error
        try:
            yield blocks
        finally:
            studio.close()
            blocks.close(verbose=False)


def check_address(host: str, port: int) -> None:
    """Refuse an address that cannot be served on, before the model is loaded.

    Raises:
        UserError: no such address, or another program serves there.
    """
    if not 1 <= port <= 65535:
        raise UserError(f"--port {port} must be from 1 to 65535, for example 7860")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            if os.name == "posix":  # as the server does: what it served a moment ago is free
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        advice = "give another --port, or end the program that uses it"
        if not isinstance(error, OSError) or error.errno != errno.EADDRINUSE:
            advice = "--host 127.0.0.1 serves this machine alone, 0.0.0.0 others too"
        raise UserError(f"cannot serve on {host}, port {port}: {reason}; {advice}") from error


def where(host: str, port: int) -> str:
    """Where the page is, and for whom."""
    try:
        alone = ipaddress.ip_address(host).is_loopback
        everywhere = ipaddress.ip_address(host).is_unspecified
    except ValueError:  # a name
        alone, everywhere = host == "localhost", False
    shown = "127.0.0.1" if everywhere else f"[{host}]" if ":" in host else host
    others = "" if alone else "; other machines can open it under this machine's name, without a password"
    return f"the page is at http://{shown}:{port}{others}; Ctrl-C ends it"


def main(config: Config) -> None:
    """Serve the page until Ctrl-C."""
    try:
        with opened_page(config):
            print(where(config.host, config.port), flush=True)
            while True:  # an Event's wait cannot be interrupted everywhere
                time.sleep(1)
    except KeyboardInterrupt:  # the server's threads may still run, and Python's own end may hang with them
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(130)
    except SystemExit as end:  # SIGTERM
        os._exit(end.code if isinstance(end.code, int) else 1)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
