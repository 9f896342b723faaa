"""Take the console's pictures from a real incident of a real appliance.

python -m tests.browser.picture docs
"""

import shutil
import sys
import tempfile
from pathlib import Path

from appliance.demo.people import OPERATOR
from playwright.sync_api import Browser, sync_playwright

from appliance.launch import demo_model
from tests.browser.__main__ import PROGRAMS
from tests.journeys.appliance import Running, running

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def main(folder: Path) -> int:
    """Pictures of the list and of an incident, wide and narrow, light and dark."""
    folder.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="sentinel-picture-") as place,
        running(Path(place) / "site", model=demo_model()) as site,
        sync_playwright() as playwright,
    ):
        site.start_fault()
        site.until("awaiting")
        program = next(path for name in PROGRAMS if (path := shutil.which(name)))
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        for name, size, scheme in (
            ("console", WIDE, "light"),
            ("console-dark", WIDE, "dark"),
            ("console-narrow", NARROW, "light"),
        ):
            _take(browser, site, folder / f"{name}.png", size=size, scheme=scheme)
        browser.close()
    return 0


def _take(
    browser: Browser, site: Running, path: Path, *, size: dict[str, int], scheme: str
) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme, ignore_https_errors=True)
    page = context.new_page()
    page.goto(f"{site.site.console_url}/sign-in")
    page.fill("input[name=name]", OPERATOR)
    page.fill("input[name=password]", site.assembly.password)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(lambda url: "sign-in" not in url)
    page.screenshot(path=path.with_name(f"{path.stem}-list.png"))
    page.goto(f"{site.site.console_url}/incidents/{site.incident()}")
    page.wait_for_load_state("networkidle")
    page.screenshot(path=path)
    context.close()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs")))
