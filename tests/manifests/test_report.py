"""The report page: what it says, and that it works in a real browser."""

import base64
import re
import shutil

import pyarrow as pa
import pytest

from manifests.report import write_report
from manifests.schema import MANIFEST
from manifests.store import compact

# A white pixel as PNG.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsfKqAgAAAABJRU5ErkJggg=="
)
HOSTILE = "<script>document.title = 'owned'</script> & \"grüße\""
WATERFALL = [
    {"rule": "status", "first": 3, "alone": 3, "all": 3, "reason": ""},
    {"rule": "turned", "first": 1, "alone": 1, "all": 1, "reason": "It < that"},
]


@pytest.fixture
def page(root, accept_ok, tmp_path):
    """The page of a dataset in which one clip is rejected and one transcript is hostile."""

    def judge(table):
        table = accept_ok(table)
        rows = table.select(["clip_id", "transcript", "accepted", "rejected_by"]).to_pylist()
        for row in rows:
            if row["clip_id"] == "ja1_0":
                row.update(transcript=HOSTILE, accepted=False, rejected_by=["turned"])
        for name in ("transcript", "accepted", "rejected_by"):
            field = MANIFEST.field(name)
            values = pa.array([row[name] for row in rows], field.type)
            table = table.set_column(MANIFEST.get_field_index(name), field, values)
        return table

    compact(root, judge)
    return write_report(
        root,
        tmp_path / "report.html",
        title="A <small> dataset",
        waterfall=WATERFALL,
        picture=lambda row: PIXEL,
    )


def test_the_page_says_what_the_dataset_holds(page):
    text = re.sub(r"<(style|script)>.*?</\1>", "", page.read_text(), flags=re.S)
    assert "A &lt;small&gt; dataset" in text
    assert "<b>7</b>clips annotated" in text
    assert "<b>43%</b>accepted" in text
    assert "20 languages, 293,812 clips, 423.2 hours" in text
    german = re.search(r'<th scope="row">german</th>.*?</tr>', text).group()
    assert german.endswith('<td class="n">0.02</td><td class="n">0.02</td><td class="n">16.25</td></tr>')
    assert "In MultiTalk and not here: arabic, catalan" in text
    assert "Not measured on any clip: Face size" in text
    assert re.search(r'<th scope="row">no_face</th><td></td><td class="n">3</td>', text)
    assert "It &lt; that" in text
    assert "Head turned (yaw): 4 clips, median 1.5°" in text
    assert text.count("<img ") == 4


def test_nothing_is_loaded_and_nothing_foreign_runs(page):
    text = page.read_text()
    assert HOSTILE not in text
    assert text.count("<script>") == 1
    assert not re.search(r"""(src|href)=["'](?!data:|\#)""", text)
    assert "default-src 'none'" in text


def test_the_same_dataset_gives_the_same_page(page, root, tmp_path):
    again = write_report(
        root,
        tmp_path / "again.html",
        title="A <small> dataset",
        waterfall=WATERFALL,
        picture=lambda row: PIXEL,
    )
    assert again.read_bytes() == page.read_bytes()


def test_empty_and_unfiltered_datasets_have_a_page(tmp_path, commit_video):
    (tmp_path / "empty/manifest").mkdir(parents=True)
    text = write_report(tmp_path / "empty", tmp_path / "empty.html").read_text()
    assert "No clip was built." in text
    commit_video(tmp_path / "new", "german", "v")
    text = write_report(tmp_path / "new", tmp_path / "new.html").read_text()
    assert "No policy has been applied" in text
    assert "unjudged" in text


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("root", ["settled"], indirect=True)
def test_the_page_works_in_a_browser(page, browser):
    tab = browser.new_page()
    complaints = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: complaints.append(request.url) if request.url[:4] == "http" else None)
    tab.goto(page.as_uri())
    visible = tab.locator(".gallery li:visible")
    assert visible.count() == 4
    assert tab.title() == "A <small> dataset"
    assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    tab.get_by_label("Search").fill("GRUß TURNED")
    assert [card.get_attribute("data-reasons") for card in visible.all()] == ["turned"]
    assert tab.get_by_role("status").inner_text() == "1 of 4 clips shown"
    tab.get_by_role("button", name="Clear").click()
    tab.wait_for_function("document.querySelectorAll('.gallery li:not([hidden])').length === 4")
    tab.get_by_label("Verdict").select_option("rejected")
    assert visible.count() == 1
    tab.locator("select[name=language]").select_option("german")
    assert visible.count() == 0
    assert complaints == []


@pytest.mark.parametrize("root", ["settled"], indirect=True)
def test_the_page_serves_keyboards_phones_and_both_schemes(page, browser):
    for scheme, ink in (("light", "rgb(29, 35, 41)"), ("dark", "rgb(230, 234, 239)")):
        tab = browser.new_page(color_scheme=scheme, viewport={"width": 360, "height": 740})
        tab.goto(page.as_uri())
        assert tab.evaluate("getComputedStyle(document.body).color") == ink
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360, "nothing sticks out of a phone"
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "gallery"
    unnamed = tab.evaluate(
        "[...document.querySelectorAll('svg, img, input, select')].filter(e =>"
        " !e.getAttribute('aria-label') && !e.getAttribute('alt') && !e.labels?.length).length"
    )
    assert unnamed == 0
