"""The report page: what it says, and that it works in a real browser."""

import base64
import json
import re
import shutil
from importlib import resources
from itertools import pairwise

import pyarrow as pa
import pytest

from multitalk.manifests.report.report import write_report
from multitalk.manifests.schema import MANIFEST
from multitalk.manifests.store import compact

# A white pixel as PNG.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsfKqAgAAAABJRU5ErkJggg=="
)
HOSTILE = "<script>document.title = 'owned'</script> & \"grüße\""
WATERFALL = [
    {"rule": "status", "first": 3, "alone": 3, "all": 3, "reason": ""},
    {"rule": "turned", "first": 1, "alone": 1, "all": 1, "reason": "It < that"},
]


TABLES = [
    {
        "title": "LVE <mm>",
        "columns": ["method", "mean"],
        "rows": [["mine & yours", 10.46789], ["<b>mean face</b>", None]],
        "note": "8 clips",
    }
]


def reject_one(table):
    """Reject one clip of those that are accepted, and give it a hostile transcript."""
    rows = table.select(["clip_id", "transcript", "accepted", "rejected_by"]).to_pylist()
    for row in rows:
        if row["clip_id"] == "ja1_0":
            row.update(transcript=HOSTILE, accepted=False, rejected_by=["turned"])
    for name in ("transcript", "accepted", "rejected_by"):
        field = MANIFEST.field(name)
        values = pa.array([row[name] for row in rows], field.type)
        table = table.set_column(MANIFEST.get_field_index(name), field, values)
    return table


@pytest.fixture(scope="module", params=["settled", "running"])
def root(request, datasets, accept_ok, tmp_path_factory):
    """A dataset in which one clip is rejected, with an evaluation beside it."""
    root = shutil.copytree(datasets[request.param], tmp_path_factory.mktemp("report") / "it's [a] root")
    compact(root, lambda table: reject_one(accept_ok(table)))
    for name, content in (("good", json.dumps(TABLES)), ("broken", '[{"columns": 3}]'), ("no name", "[]")):
        (root / "evaluations" / name).mkdir(parents=True)
        (root / "evaluations" / name / "tables.json").write_text(content)
    return root


@pytest.fixture(scope="module")
def page(root, tmp_path_factory):
    """The page of that dataset."""
    return write(root, tmp_path_factory.mktemp("page") / "report.html")


def write(root, out):
    return write_report(root, out, title="A <small> dataset", waterfall=WATERFALL, picture=lambda row: PIXEL)


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
    assert re.search(r"turned</th>.*?3 left.*?<td class=\"n\">1</td><td class=\"n\">3</td>", text), (
        "7 - 3 - 1 left"
    )


def test_evaluations_are_shown_escaped_and_broken_ones_told_of(page, tmp_path, commit_video):
    text = page.read_text()
    assert "<h3>good: LVE &lt;mm&gt;</h3>" in text
    assert '<td class="message">mine &amp; yours</td><td class="n">10.47</td>' in text
    assert '<td class="message">&lt;b&gt;mean face&lt;/b&gt;</td><td class="n"></td>' in text
    assert "8 clips</p>" in text
    assert "tables.json of broken can not be shown: " in text
    commit_video(tmp_path, "german", "v")
    assert "Evaluations" not in write_report(tmp_path, tmp_path / "page.html").read_text()
    half = tmp_path / "evaluations" / "half"
    half.mkdir(parents=True)
    (half / "tables.json").write_text('[{"title": "\\ud800", "columns": ["a"], "rows": [[1]]}]')
    assert "tables.json of half can not be shown: " in (
        write_report(tmp_path, tmp_path / "page.html").read_text()
    )


def test_a_page_without_clips_does_not_deny_them(tmp_path, commit_video):
    commit_video(tmp_path, "german", "v")
    text = write_report(tmp_path, tmp_path / "page.html", gallery_size=0).read_text()
    assert "None of 1 clips is shown: none was asked for." in text
    assert "No clip was built" not in text


def test_colours_of_both_schemes_have_contrast():
    style = (resources.files("multitalk.manifests.report") / "page/page.css").read_text()
    schemes = re.findall(r":root \{(.*?)\}", style, flags=re.S)
    assert len(schemes) == 2
    for scheme in schemes:
        colour = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for name, paper, least in (
            ("ink", "paper", 7),
            ("soft", "paper", 4.5),
            ("soft", "card", 4.5),
            ("good", "paper", 4.5),  # links have its colour
            ("bad", "paper", 3),
            ("pale", "paper", 3),
            ("focus", "paper", 3),
        ):
            assert contrast(colour[name], colour[paper]) >= least, (name, paper)


def contrast(a, b):
    """Contrast ratio of two colours: WCAG 2.2, relative luminance."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_nothing_is_loaded_and_nothing_foreign_runs(page):
    text = page.read_text()
    assert HOSTILE not in text
    assert text.count("<script>") == 1
    assert not re.search(r"""(src|href)=["'](?!data:|\#)""", text)
    assert "default-src 'none'" in text


def test_the_same_dataset_gives_the_same_page(page, root, tmp_path):
    again = write(root, tmp_path / "again.html")
    assert again.read_bytes() == page.read_bytes()


def test_empty_and_unfiltered_datasets_have_a_page(tmp_path, commit_video):
    (tmp_path / "empty/manifest").mkdir(parents=True)
    text = write_report(tmp_path / "empty", tmp_path / "empty.html").read_text()
    assert "No clip was built." in text
    commit_video(tmp_path / "new", "german", "v")
    text = write_report(tmp_path / "new", tmp_path / "new.html").read_text()
    assert "No policy has been applied" in text
    assert "unjudged" in text


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
    # Pictures wait until they come into view; decoding fails where one can not be shown.
    tab.evaluate(
        "async () => { for (const i of document.images) { i.loading = 'eager'; await i.decode(); } }"
    )
    assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
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
    mute = tab.evaluate(
        "[...document.querySelectorAll('.scroll')].filter(e => e.tabIndex || !e.ariaLabel).length"
    )
    assert mute == 0, "tables that scroll can be reached by keyboard and have a name"
    levels = tab.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(e => +e.tagName[1])")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    links = tab.evaluate("[...document.querySelectorAll('nav a')].map(a => !!document.querySelector(a.hash))")
    assert len(links) == 6
    assert all(links)
