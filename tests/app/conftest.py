"""A browser that visits the page, served with the tiny model."""

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
TIMEOUT_MS = 90_000


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    reason = "Playwright is not installed (requirements-dev.txt)"
    sync_api = pytest.importorskip("playwright.sync_api", reason=reason)
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium to drive the page with")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def address(tiny_pipeline_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the page with the tiny model."""
    pytest.importorskip("gradio", reason="Gradio is not installed (requirements-app.txt)")
    import app

    port, folder = free_port(), tmp_path_factory.mktemp("page")
    config = app.Config(port=port, model=tiny_pipeline_dir, output_dir=folder, device="cpu")
    with app.opened_page(config):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def visitor(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """A function that opens the page as somebody new; at the end no request has left this machine."""
    requests: list[str] = []
    contexts = []

    def come(width: int = 1280, height: int = 800) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        page.wait_for_function("Boolean(document.querySelector('#stage canvas')?.pointOf)")
        return page

    yield come
    for context in contexts:
        context.close()
    assert requests and not [url for url in requests if not url.startswith((f"{address}/", "data:", "blob:"))]
