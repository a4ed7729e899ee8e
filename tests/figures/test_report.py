import base64
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from figures import figure_pages, panels, report_html

Tables = dict[str, Any]
HOSTILE = """</script><script>alert(1)</script><img src=x onerror="alert('2')">&amp; \u202eevil"""


def page(tables: Tables, verdict: dict, manifest: dict) -> str:
    return report_html(verdict, tables, manifest, "name: synthetic\n")


def test_the_verdict_and_every_claim_come_before_the_figures(tables: Tables, verdict: dict, manifest: dict) -> None:
    html = page(tables, verdict, manifest)
    places = [html.index(claim["statement"].replace("'", "&#39;")) for claim in verdict["claims"]]
    assert html.index('id="verdict"') < min(places)
    assert max(places) < html.index('id="dynamics"') < html.index('id="ablation"') < html.index('id="rates"')


def test_real_answers_stand_in_the_page_with_their_grades(tables: Tables, verdict: dict, manifest: dict) -> None:
    html = page(tables, verdict, manifest)
    answers = tables["answers"]
    shown = answers[(answers["arm"] == "insecure") & (answers["step"] == 200) & (answers["question_set"] == "free")]
    assert any(text in html for text in shown["answer"])
    assert "misaligned" in html


def test_hostile_text_from_a_model_is_shown_as_text(tables: Tables, verdict: dict, manifest: dict) -> None:
    answers = tables["answers"].assign(answer=HOSTILE, prompt=HOSTILE)
    claims = [{**claim, "statement": HOSTILE} for claim in verdict["claims"]]
    html = page({**tables, "answers": answers}, {**verdict, "claims": claims}, {**manifest, "name": HOSTILE})
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror=&#34;alert(&#39;2&#39;)&#34;&gt;&amp;amp;" in html


def test_a_hostile_name_in_a_figure_cannot_end_its_script(tables: Tables, verdict: dict, manifest: dict) -> None:
    quality = tables["quality"].replace({"method": {"logistic": HOSTILE}})
    html = page({**tables, "quality": quality}, verdict, manifest)
    data = re.search(r'<script type="application/json" id="data-quality">(.*?)</script>', html, re.DOTALL)
    assert data is not None
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in json.dumps(json.loads(data.group(1)))


def test_the_policy_forbids_requests_and_allows_only_the_scripts_in_the_page(
    tables: Tables, verdict: dict, manifest: dict
) -> None:
    html = page(tables, verdict, manifest)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    rules = policy.group(1).replace("&#39;", "'")
    assert "default-src 'none'" in rules
    assert "unsafe-inline" not in rules.partition("style-src")[0]
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts}
    assert set(re.findall(r"'sha256-([^']+)'", rules)) == hashes
    assert not re.findall(r"""(?:src|href)=["']https?:""", html.partition("<script>")[0])


def test_what_is_missing_is_named_and_the_rest_is_shown(tables: Tables, verdict: dict, manifest: dict) -> None:
    html = page({**tables, "steering": None, "phases": None}, verdict, manifest)
    assert "This report is incomplete. Missing: " in html
    assert 'id="steering"' not in html
    assert 'id="ablation"' in html


def test_a_run_without_a_verdict_yet_has_a_report(tables: Tables) -> None:
    html = report_html({}, {"rates": tables["rates"]}, {}, "name: x\n")
    assert "has not come to a verdict yet" in html


def test_tables_that_no_figure_draws_are_left_aside(tables: Tables, verdict: dict, manifest: dict) -> None:
    assert page({**tables, "margins": tables["phases"]}, verdict, manifest) == page(tables, verdict, manifest)


def test_an_unknown_verdict_is_refused(tables: Tables, verdict: dict, manifest: dict) -> None:
    with pytest.raises(ValueError, match="maybe"):
        page(tables, {**verdict, "verdict": "maybe"}, manifest)


def test_equal_tables_give_equal_pages(tables: Tables, verdict: dict, manifest: dict) -> None:
    assert page(tables, verdict, manifest) == page(tables, verdict, manifest)


def test_single_pages_share_one_copy_of_plotly(tables: Tables) -> None:
    pages = figure_pages(panels(tables))
    assert set(pages) == {f"{name}.html" for name in panels(tables)} | {"plotly.min.js"}
    assert all(len(text) < 500_000 for name, text in pages.items() if name.endswith(".html"))
    assert figure_pages({}) == {}


@pytest.mark.browser
def test_the_page_opens_without_an_error_and_draws_every_figure(
    tables: Tables, verdict: dict, manifest: dict, tmp_path: Path
) -> None:
    chromium, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver_path:
        pytest.skip("no Chromium and ChromeDriver on this machine")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.support.ui import WebDriverWait

    answers = tables["answers"].assign(answer=HOSTILE)
    (tmp_path / "report.html").write_text(page({**tables, "answers": answers}, verdict, manifest), encoding="utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking",
                 "disable-component-update", "disable-sync", f"user-data-dir={tmp_path / 'profile'}"):  # fmt: skip
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options=options, service=Service(driver_path))
    try:
        driver.get(f"file://{tmp_path}/report.html")
        WebDriverWait(driver, 60).until(lambda d: d.execute_script("return document.documentElement.dataset.drawn"))
        assert driver.get_log("browser") == []
        plots = driver.execute_script(
            "return [...document.querySelectorAll('[data-plot]')].map(p => p.querySelectorAll('svg').length)"
        )
        assert len(plots) == len(panels(tables))
        assert all(plots)
        events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        assert not [url for url in asked if url.startswith(("http", "ws"))]
        text = driver.execute_script("return document.body.innerText")
        assert "<script>alert(1)</script>" in text
        assert driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    finally:
        driver.quit()


def test_a_lag_is_called_early_or_late_only_where_its_interval_says_so(verdict: dict, manifest: dict) -> None:
    lags = pd.DataFrame(
        [("b after a", 6.0, 5.0, 7.0), ("c after a", -0.5, -1.0, 0.4), ("c after b", -6.0, -7.0, -5.0)],
        columns=["lag", "value", "low", "high"],
    )
    html = page({"lags": lags}, verdict, manifest)
    section = html[html.index("Which comes first") :]
    assert re.findall(r'data-label="Reading">([^<]*)<', section) == ["later", "not told apart", "earlier"]
