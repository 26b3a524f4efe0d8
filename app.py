"""Open a page on this machine on which a photo becomes a video.

    python -m pip install -r requirements-app.txt
    python app.py

Then open http://127.0.0.1:7860. Nothing leaves this machine. Videos, and the uploads they were made of, go
into result/page. docs/app.md shows the page.
"""

import utils.interrupts  # noqa: F401

# isort: split
import dataclasses
import os
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
    """Model to use: as --pretrained_model of inference.py."""
    device: str = "auto"
    """Where to compute: cpu, cuda or cuda:1. auto takes a GPU if there is one."""
    output_dir: Path = Path("result/page")
    """Folder for uploads and videos, a folder a visitor."""


def open_page(config: Config) -> Any:
    """Load the model and serve the page from a thread; returns Gradio's blocks.

    Raises:
        UserError: Gradio is missing, or model, folder or address cannot be used.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"
    check_output_dir(config.output_dir)
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
    except OSError as error:
        where = f"{config.host}, port {config.port}"
        raise UserError(f"cannot serve on {where}: {error}; choose another --port") from error
    return blocks


def main(config: Config) -> None:
    """Serve the page until Ctrl-C."""
    blocks = open_page(config)
    print(f"the page is at http://{config.host}:{config.port}; Ctrl-C ends it", flush=True)
    blocks.block_thread()


if __name__ == "__main__":
    run_script(main, Config, __doc__)
