"""The report in headless Chromium, as a person with a desktop or a phone opens it.

Checks a made-up report, and that of every budget that is there.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workflow import fake_report

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--force-color-profile=srgb",
)  # fmt: skip
SIZES = {"desktop": (1280, 900), "phone": (360, 780)}
REAL = sorted(ROOT.glob("results/*/report/index.html"))


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made-up")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return fake_report.make(folder)


@pytest.fixture(scope="module", params=["made up", *map(str, REAL)])
def report(request: pytest.FixtureRequest, made_up: Path) -> Path:
    return made_up if request.param == "made up" else Path(request.param)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    from selenium import webdriver

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert chromium and driver, "no Chromium: `make test-browser` installs it"  # noqa: PT018
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, browser: Any, report: Path) -> Any:
    """The report, open in a window of one of the sizes."""
    width, height = SIZES[request.param]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1,
               "mobile": request.param == "phone"}  # fmt: skip
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get_log("browser")
    browser.get(report.as_uri())
    return browser


def test_no_error_and_nothing_from_elsewhere(page: Any) -> None:
    assert page.get_log("browser") == []
    loaded = page.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []


def test_every_image_is_shown(page: Any) -> None:
    shown = page.execute_script(
        "return [...document.images].map(i => [i.complete, i.naturalWidth, i.clientWidth])"
    )
    assert len(shown) >= len(fake_report.FIGURES)
    assert all(complete and natural > 500 and width > 200 for complete, natural, width in shown)


def test_nothing_scrolls_sideways_with_all_details_open(
    page: Any, request: pytest.FixtureRequest
) -> None:
    # Not against `innerWidth`: a phone's grows with what is too wide.
    widest = page.execute_script(
        "document.querySelectorAll('details').forEach(d => d.open = true);"
        "return document.documentElement.scrollWidth"
    )
    size: str = request.node.callspec.params["page"]
    assert widest <= SIZES[size][0]


def test_links_lead_somewhere(page: Any, report: Path) -> None:
    links = page.execute_script(
        "return [...document.querySelectorAll('a')].map(a => a.getAttribute('href'))"
    )
    ids = set(page.execute_script("return [...document.querySelectorAll('[id]')].map(e => e.id)"))
    assert links
    for link in set(links):
        assert link[1:] in ids if link.startswith("#") else (report.parent / link).is_file(), link
    page.execute_script("document.querySelector('nav a[href=\"#runs\"]').click()")
    top = page.execute_script("return document.getElementById('runs').getBoundingClientRect().top")
    height = page.execute_script("return window.innerHeight")
    assert 0 <= top + 1 < height
