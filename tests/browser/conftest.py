"""A JupyterLab of its own and a headless browser, for tests that click."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from course_utils import config

CHROMIUM = next((p for n in ("chromium", "chromium-browser") if (p := shutil.which(n))), None)
START_SECONDS = 60
SETTINGS = {
    # long notebooks are drawn in part otherwise, and prompts and pictures could not be counted
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


def own_home(folder):
    """A COURSE_HOME that shares the fetched models but has its own progress."""
    folder.mkdir()
    real = config.course_home()
    if (real / "assets").exists():
        (folder / "assets").symlink_to(real / "assets", target_is_directory=True)
    return folder


def variables(folder):
    """The server's environment: private Jupyter folders, progress written to its own home."""
    made = {k: v for k, v in os.environ.items() if k not in ("COURSE_NO_PROGRESS", "MPLBACKEND")}
    for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR"):
        made[f"JUPYTER_{name}"] = str(folder / name.lower())
    for name in ("WORKSPACES_DIR", "SETTINGS_DIR"):
        made[f"JUPYTERLAB_{name}"] = str(folder / name.lower())
    for name, content in SETTINGS.items():
        path = folder / "settings_dir" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return made | {"COURSE_HOME": str(own_home(folder / "home")), "COURSE_STRICT": "0"}


def free_port():
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]


def wait_for(url, process):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "JupyterLab ended at its start"
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"{url}/api/status", timeout=2).close()
            return
        time.sleep(0.2)
    raise TimeoutError(f"JupyterLab did not answer within {START_SECONDS} s")


@pytest.fixture
def chromium():
    """Where the browser is; the test is skipped without it."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium, or the like, adds it")
    pytest.importorskip("playwright", reason="Playwright is missing: pip install playwright")
    return CHROMIUM


@pytest.fixture
def lab(chromium, tmp_path):
    """Starts JupyterLab; gives its address, the folder it shows and its course home."""
    shown = tmp_path / "shown"
    shown.mkdir()
    url = f"http://127.0.0.1:{(port := free_port())}"
    options = {
        "ServerApp.port_retries": 0,
        "IdentityProvider.token": "",
        "ServerApp.root_dir": shown,
        "LabApp.news_url": "",
    }
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"]
    command += ["--ip=127.0.0.1", f"--port={port}", *(f"--{k}={v}" for k, v in options.items())]
    log = tmp_path / "lab.log"
    with log.open("w") as output:
        environment = variables(tmp_path)
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            wait_for(url, process)
            yield {"url": url, "shown": shown, "home": Path(environment["COURSE_HOME"])}
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def page(request, root, chromium, lab):
    """A page in headless Chromium; a screenshot is kept in runs/browser when the test fails."""
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        yield page
        if getattr(request.node, "failed", True):
            kept = root / "runs" / "browser" / f"{request.node.name}.png"
            kept.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=kept)
        browser.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if call.when == "call":
        item.failed = report.failed
