from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from factorbox.report import vega
from factorbox.report.blocks import Block, Chart, Download, Facts, Row, Section, Table, Text
from factorbox.report.page import Opening, page

HOSTILE = "</script><script>window.owned = 1</script> \"'&<!-- \u2028\u2029 שלום 🎬 {{scripts}}"
OPENING = Opening(kicker=HOSTILE, title=HOSTILE, standfirst=HOSTILE, remark=HOSTILE)


class Parsed(HTMLParser):
    """Every element with its attributes and its own text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[int] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.texts.append("")
        if tag not in ("meta", "link"):
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open[-1]] += data

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def texts_of(self, tag: str) -> list[str]:
        return [text for (name, _), text in zip(self.elements, self.texts, strict=True) if name == tag]

    def scripts(self) -> list[tuple[dict[str, str], str]]:
        return list(zip(self.of("script"), self.texts_of("script"), strict=True))


def section(*blocks: Block, key: str = "data") -> Section:
    return Section(key=key, title=HOSTILE, lead=HOSTILE, blocks=blocks)


EVERYTHING = section(
    Text(HOSTILE),
    Facts([(HOSTILE, HOSTILE), ("items", "12")]),
    Table(title=HOSTILE, columns=[HOSTILE, "n"], rows=[[HOSTILE, "1"]], numeric=[1], note=HOSTILE),
    Row(
        [
            Table(title=HOSTILE, columns=["n"], rows=[["1"], ["2"]], folded=True),
            Chart(title=HOSTILE, spec={"data": {"values": [{HOSTILE: HOSTILE, "x": np.float32("nan")}]}}, note=HOSTILE),
        ]
    ),
    Chart(title="", spec={"mark": "bar"}, many_marks=True),
    Download(label=HOSTILE, name=HOSTILE, content="a,b\n" + HOSTILE),
)


def parsed(*sections: Section, script: str = "window.vegaEmbed = 1;") -> Parsed:
    return Parsed(page(OPENING, sections=sections, vega=script))


def test_no_text_becomes_markup_or_code() -> None:
    found = parsed(EVERYTHING)
    assert [text for _, text in found.scripts() if "owned" in text and "\\u003c/script" not in text] == []
    assert len([attributes for attributes, _ in found.scripts() if "type" not in attributes]) == 3
    assert {name for _, attributes in found.elements for name in attributes if name.startswith("on")} == set()


@pytest.mark.parametrize("tag", ["title", "h1", "h2", "h3", "p", "dt", "dd", "th", "a"])
def test_every_text_is_shown_as_it_is(tag: str) -> None:
    assert HOSTILE in parsed(EVERYTHING).texts_of(tag)


def test_what_is_filled_in_is_not_filled_in_again() -> None:
    html = page(OPENING, sections=[EVERYTHING], vega="")
    assert html.count("{{scripts}}") == HOSTILE.count("{{scripts}}") * html.count("window.owned = 1")


def test_a_specification_comes_out_as_it_went_in_but_for_numbers_that_are_none() -> None:
    found = parsed(EVERYTHING)
    data = [json.loads(text) for attributes, text in found.scripts() if attributes.get("type") == "application/json"]
    assert data == [{"data": {"values": [{HOSTILE: HOSTILE, "x": None}]}}, {"mark": "bar"}]


def test_each_chart_has_its_title_and_its_own_specification() -> None:
    found = parsed(EVERYTHING, section(Chart(title="b", spec={}), key="quality"))
    identities = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(set(identities)) == len(identities)
    charts = [attributes for attributes in found.of("div") if attributes.get("class") == "chart"]
    assert [chart["data-spec"] for chart in charts] == ["data-chart-1", "data-chart-2", "quality-chart-1"]
    assert all({chart["aria-labelledby"], chart["data-spec"]} <= set(identities) for chart in charts)
    assert [chart["data-many"] for chart in charts] == ["false", "true", "false"]


def test_the_policy_forbids_everything_but_the_scripts_of_the_page() -> None:
    found = parsed(EVERYTHING)
    (policy,) = (meta["content"] for meta in found.of("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert "unsafe" not in directives["script-src"]
    assert directives["script-src"].count("sha256-") == 3
    assert directives.keys() == {"default-src", "script-src", "style-src", "img-src", "base-uri", "form-action"}


@pytest.mark.parametrize("tag", ["script", "img", "iframe", "link", "a", "object", "embed", "source"])
def test_nothing_is_loaded_from_anywhere(tag: str) -> None:
    found = Parsed(page(OPENING, sections=[EVERYTHING], vega=vega.bundle()))
    addresses = [attributes.get(name, "") for attributes in found.of(tag) for name in ("src", "href", "data")]
    assert [address for address in addresses if address and not address.startswith(("#", "data:"))] == []
    assert re.findall(r"@import|url\(", "".join(found.texts_of("style"))) == []


def luminance(colour: str) -> float:
    """Return relative luminance as WCAG 2 defines it."""
    shares = np.array([*bytes.fromhex(colour.removeprefix("#"))]) / 255
    linear = np.where(shares <= 0.03928, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_stand_out_from_the_page(theme: int) -> None:
    style = "".join(Parsed(page(OPENING, sections=[], vega="")).texts_of("style"))

    def contrast(name: str) -> float:
        paper, colour = (re.findall(rf"--{of}: (#\w{{6}})", style)[theme] for of in ("paper", name))
        dark, light = sorted([luminance(paper), luminance(colour)])
        return (light + 0.05) / (dark + 0.05)

    assert min(contrast(text) for text in ("ink", "soft", "accent", "against")) >= 4.5
    assert contrast("muted") >= 3
    # The lowest value beside no value.
    assert contrast("heatmap") >= 1.5


def test_a_page_without_data_is_small() -> None:
    assert len(page(OPENING, sections=[], vega=vega.bundle()).encode()) < 1_200_000


def test_a_script_cannot_end_before_its_end() -> None:
    found = parsed(script="window.vegaEmbed = '</script><!--';")
    assert [text for text in found.texts_of("script") if "vegaEmbed = " in text and "<\\/script><\\!--" in text] != []


def test_licences_of_what_is_bundled_are_in_the_page() -> None:
    html = page(OPENING, sections=[], vega=vega.bundle())
    assert "University of Washington Interactive Data Lab" in html
    assert "Redistributions in binary form must reproduce the above copyright" in html


def test_without_the_bundle_texts_and_tables_are_there() -> None:
    found = parsed(EVERYTHING, script="")
    assert len([attributes for attributes in found.of("script") if "type" not in attributes]) == 1
    assert len(found.of("table")) == 2


def test_tables_say_what_their_headings_are_for() -> None:
    found = parsed(EVERYTHING)
    assert [heading["scope"] for heading in found.of("th")] == ["col", "col", "row", "col", "row", "row"]
    assert [heading.get("class") for heading in found.of("td")] == ["number"]


def test_a_folded_table_says_how_many_rows_it_has() -> None:
    found = parsed(EVERYTHING)
    assert found.of("details") == [{"data-rows": "2"}]
    assert "2 rows" in found.texts_of("span")


def test_a_table_that_is_folded_on_phones_is_open_elsewhere() -> None:
    found = parsed(section(Table(title="a", columns=["n"], rows=[["1"]], folded_on_phones=True)))
    assert found.of("details") == [{"data-rows": "1", "class": "on-phones", "open": ""}]


def test_three_blocks_stand_side_by_side_or_below_one_another() -> None:
    table = Table(title="a", columns=["n"], rows=[["1"]])
    found = parsed(section(Row([table] * 3), Row([table] * 2)))
    assert [part["class"] for part in found.of("div") if part["class"].startswith("row")] == ["row three", "row"]


def test_a_download_is_the_file_itself() -> None:
    found = parsed(EVERYTHING)
    (link,) = (attributes for attributes in found.of("a") if "download" in attributes)
    assert link["download"] == HOSTILE
    assert base64.b64decode(link["href"].partition("base64,")[2]).decode() == "a,b\n" + HOSTILE


def test_the_contents_lead_to_each_section() -> None:
    found = parsed(section(key="data"), section(key="model_card"))
    keys = [attributes["id"] for attributes in found.of("section")]
    assert keys == ["data", "model_card"]
    assert [link["href"] for link in found.of("a") if link["href"][1:] in keys][-2:] == ["#data", "#model_card"]


def test_a_row_with_the_wrong_number_of_texts_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        parsed(section(Table(title="a", columns=["x", "y"], rows=[["1"]])))
