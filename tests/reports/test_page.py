"""Reports: the numbers of the CSV, nothing from elsewhere, names that cannot do harm, bounded size, pictures."""

import base64
import csv
import hashlib
import json
import math
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ugcvqa import score
from ugcvqa.display.charts import rate_ticks
from ugcvqa.display.images import resized
from ugcvqa.display.time_charts import time_chart, time_text
from ugcvqa.errors import ConfigError, StoreError
from ugcvqa.heads.svr_fit import fit_svr
from ugcvqa.media.encode import write_video
from ugcvqa.media.video import probe
from ugcvqa.reports import page as page_module
from ugcvqa.reports.contents import Entry
from ugcvqa.reports.outputs import read_scores
from ugcvqa.reports.overview import MOST_ROWS, Overview
from ugcvqa.reports.page import coarse, line_of
from ugcvqa.reports.reporter import Reporter
from ugcvqa.reports.thumbnails import read_shots
from ugcvqa.scoring import model as models
from ugcvqa.scoring.explanation import Explanation, Timeline
from ugcvqa.scoring.found_artefacts import Artefact
from ugcvqa.scoring.model import QualityModel
from ugcvqa.scoring.model_file import load
from ugcvqa.scoring.result import Score
from ugcvqa.settings.data import DecodeLimits
from ugcvqa.settings.features import FamilySettings, SaliencySettings

NAMES = {"label": "MOS", "name": "NSS model", "trained_on": "noise (40 videos)", "fingerprint": "0f" * 32}
ABOUT = SimpleNamespace(scale=(1.0, 5.0), **NAMES)
EVIL = ["<img src=x onerror=alert(1)>.mp4", "\"'&amp;<script>alert(1)<!--.mp4", "new\nline\u202e.mp4", "ü$x^2$.mp4"]
VOID = {"meta", "img", "br", "input", "link"}


class Page(HTMLParser):
    """What a page holds, by an independent parser."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.stack, self.text, self.rows = [], [], [], []
        self.feed(text)
        assert not self.stack, self.stack

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append({"text": "", "values": []})
        if tag == "data" and "tr" in self.stack:
            self.rows[-1]["values"].append(float(dict(attrs)["value"]))
        if tag in ("p", "div", "th", "td", "h2", "dt", "dd", "figcaption"):
            self.text.append(" ")
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if "tr" in self.stack:
            self.rows[-1]["text"] += data

    def of(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def words(self):
        return " ".join("".join(self.text).split())


def read(path):
    return Page(path.read_bytes().decode("utf-8"))


def timeline(values):
    n = len(values)
    return Timeline(tuple(float(k) for k in range(n)), tuple(float(k + 1) for k in range(n)), tuple(values))


def explained(path, mos, values):
    why = Explanation({"sharpness & <b>": -0.25, "colour": 0.5}, timeline(values), method="by <i>hand</i>")
    return Score(str(path), mos, mos, low=mos - 0.5, high=mos + 0.5, explanation=why)


def write(path, scores, **settings):
    reporter = Reporter(str(path), **settings)
    assert list(reporter.through(scores)) == list(scores)
    reporter.write(ABOUT, DecodeLimits())
    return path


def scene(index, height=120, width=160):
    """A slowly moving picture with shapes and a little noise."""
    y, x = np.mgrid[:height, :width] / height
    planes = [np.sin(9 * x + 0.02 * index), np.cos(11 * x * y), (x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.06]
    noise = np.random.default_rng(index).normal(0, 6, (height, width, 3))
    return np.clip(127 + 90 * np.stack(planes, -1) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    random = np.random.default_rng(0)
    head, _ = fit_svr(100 * np.abs(random.normal(size=(40, 1836))), np.linspace(1, 5, 40), range(30), range(30, 40))
    folder = tmp_path_factory.mktemp("run")
    model = QualityModel(head, "NSS", FamilySettings(), "MOS", (1.0, 5.0), "noise (40 videos)")
    model.save(folder / models.FILE_NAME)
    return folder


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    """One scene in three sizes and strengths of compression, and another scene of the same length."""
    folder = tmp_path_factory.mktemp("ladder")
    frames = [scene(k) for k in range(30)]
    for name, size, crf in (("a.mp4", (80, 60), "38"), ("b.mp4", (160, 120), "40"), ("c.mp4", (160, 120), "12")):
        write_video(folder / name, (resized(one, *size) for one in frames), 10, options={"crf": crf})
    write_video(folder / "other.mp4", (np.ascontiguousarray(255 - one[::-1, :, ::-1]) for one in frames), 10)
    return folder


def test_numbers_of_the_page_are_those_of_the_csv(run, ladder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ladder)
    page = tmp_path / "report.html"
    arguments = ["a.mp4", "gone.mp4", "c.mp4", "--checkpoint", str(run), "--workers", "0"]
    arguments += ["--csv", "--report", str(page)]
    assert score.main(arguments) == 1
    rows = {row["video"]: row for row in csv.DictReader(capsys.readouterr().out.splitlines())}
    shown = read(page)
    for name in ("a.mp4", "c.mp4"):
        (line,) = [row for row in shown.rows if name in row["text"]]
        assert line["values"][0] == float(rows[name]["mos"])
    (failed,) = [row for row in shown.rows if "gone.mp4" in row["text"]]
    assert rows["gone.mp4"]["error"] in failed["text"]
    assert not failed["values"]
    assert f"{float(rows['a.mp4']['mos']):.2f}" in shown.words
    assert "trained on noise (40 videos)" in shown.words


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_report_of_a_finished_output_scores_only_what_was_missing_again(run, ladder, tmp_path, monkeypatch, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.chdir(ladder)
    arguments = ["a.mp4", "gone.mp4", "c.mp4", "--checkpoint", str(run), "--workers", "0"]
    arguments += ["--output", str(tmp_path / f"scores.{kind}")]
    arguments += ["--explain"] if kind == "jsonl" else []
    assert score.main(arguments) == 1
    numbers = {one.path: one.mos for one in read_scores(tmp_path / f"scores.{kind}")}
    assert numbers["a.mp4"] == load(run).score("a.mp4").mos
    asked = []

    def still_gone(model, paths, **settings):
        for path in paths:
            asked.append(str(path))
            yield Score(str(path), math.nan, math.nan, f"{path}: no such file")

    monkeypatch.setattr(QualityModel, "score_many", still_gone)
    assert score.main([*arguments, "--report", str(tmp_path / "report.html")]) == 1
    assert asked == ["gone.mp4"]  # it may have come in the meantime
    shown = read(tmp_path / "report.html")
    lines = [row for row in shown.rows if re.search(r"[ac]\.mp4", row["text"])]
    assert [row["values"][0] for row in lines] == [numbers["a.mp4"], numbers["c.mp4"]]
    assert "gone.mp4: no such file" in shown.words
    assert ("Scores along time" in shown.words) == (kind == "jsonl")
    assert "trained on noise (40 videos)" in shown.words


def test_page_holds_everything_and_runs_its_own_script_only(ladder, tmp_path):
    page = write(tmp_path / "report.html", [explained(ladder / "c.mp4", 3.2, [3.0, math.nan, 4.0])])
    text = page.read_text()
    shown = Page(text)
    assert all(image["src"].startswith("data:image/webp;base64,") and "alt" in image for image in shown.of("img"))
    assert not {"link", "iframe", "object", "base", "form"} & {tag for tag, _ in shown.tags}
    assert not any("href" in attrs or "style" in attrs for _, attrs in shown.tags)
    assert not re.search(r"url\(|@import|https?:|//www", text)
    (policy,) = [meta["content"] for meta in shown.of("meta") if "http-equiv" in meta]
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        checksum = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{checksum}'" in policy
    assert "default-src 'none'" in policy
    assert all(head["scope"] in ("col", "row") for head in shown.of("th"))
    assert len(text) < 400_000


@pytest.mark.parametrize("count", [1, 4, 20])
def test_names_and_reasons_cannot_become_markup(ladder, tmp_path, count):
    names = (EVIL * 5)[:count]
    scores = []
    for k, name in enumerate(names):
        path = tmp_path / str(k) / name
        path.parent.mkdir()
        path.symlink_to(ladder / "a.mp4")
        scores.append(Score(str(path), 1.0 + k / 10, 1.0, warnings=(f"<b onclick=x>{name}",)))
    if count > 1:
        scores[-1] = Score("<svg/onload=alert(1)>", math.nan, math.nan, "<svg/onload=alert(1)>: </section><script>x")
    shown = read(write(tmp_path / "report.html", scores))
    assert len(shown.of("script")) == 1
    assert {tag for tag, _ in shown.tags} <= {
        *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "div", "p", "h1", "h2", "h3"),
        *("table", "thead", "tbody", "tr", "th", "td", "data", "span", "b", "br", "ul", "li", "dl", "dt", "dd"),
        *("figure", "figcaption", "img", "details", "summary", "footer", "script"),
        *("svg", "g", "rect", "line", "circle", "path", "text"),
    }
    assert not any(name.startswith("on") for _, attrs in shown.tags for name in attrs)
    assert "<img src=x onerror=alert(1)>.mp4" in shown.words
    assert "\u202e" not in "".join(shown.text)
    if count > 1:
        assert r"new\nline\u202e.mp4" in shown.words
        assert "</section><script>x" in shown.words


def test_names_that_are_no_text_are_shown(tmp_path, ladder):
    raw = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.mp4")
    Path(raw).symlink_to(ladder / "a.mp4")
    shown = read(write(tmp_path / "report.html", [Score(raw, 2.0, 2.0)]))
    assert r"\udcff\udcfe.mp4" in shown.words


def test_one_video_shows_interval_word_moments_and_parts(ladder, tmp_path):
    values = [3.0, 2.5, 4.0]
    shown = read(write(tmp_path / "report.html", [explained(ladder / "c.mp4", 3.4, values)]))
    assert "3.40 fair 90 % interval of a new measurement: 2.90 – 3.90" in shown.words
    assert [row["values"][-1] for row in shown.rows if " s" in row["text"]] == values
    assert [f.get("class") for f in shown.of("figure")].count("worst") == 1
    assert [f.get("class") for f in shown.of("figure")].count("best") == 1
    assert "2.50 · worst" in shown.words
    assert "4.00 · best" in shown.words
    parts = {row["text"]: row["values"] for row in shown.rows if row["text"].endswith(("-0.25", "+0.50"))}
    assert parts == {"sharpness & <b>-0.25": [-0.25], "colour+0.50": [0.5]}
    info = probe(ladder / "c.mp4")
    assert "160 × 120" in shown.words
    assert f"{info.file_bytes * 8 / 3 / 1000:.0f} kbit/s" in shown.words


def spoiled():
    """Noise in the upper left corner, and judder."""
    cells = np.zeros((9, 16), np.float32)
    cells[:3, :4] = 1
    noise = Artefact("noise", "strong", 9.0, ((0.0, 1.0), (2.0, 3.0)), 2.5, "mostly in the upper left", "", cells)
    return noise, Artefact("judder", "slight", 0.2, ((0.0, 3.0),), 0.5, note="one frame in <5> repeats")


def test_artefacts_are_named_with_time_place_and_a_frame(ladder, tmp_path):
    score = explained(ladder / "c.mp4", 3.4, [3.0, 2.5, 4.0])
    plain = Page(write(tmp_path / "plain.html", [score]).read_text())
    assert "Likely artefacts" not in plain.words
    score = replace(score, explanation=replace(score.explanation, artefacts=spoiled()))
    page = Page(write(tmp_path / "page.html", [score]).read_text())
    assert "strong noise, mostly in the upper left" in page.words
    assert "0 s to 1 s, 2 s to 3 s" in page.words
    assert "one frame in <5> repeats" in page.words
    assert len(page.of("img")) == len(plain.of("img")) + 2  # their frames stand with them only
    (image,) = [one for one in page.of("img") if one["alt"].startswith("strong noise")]
    assert image["alt"].endswith("at 2.5 s")


def test_the_place_of_an_artefact_is_tinted_and_the_rest_as_it_was(ladder):
    clip = ladder / "c.mp4"
    entry = Entry(explained(clip, 3.4, [3.0]), probe(clip))
    shots = tuple(read_shots(probe(clip), [0.5], DecodeLimits(), 360))
    views = list(page_module._artefacts(replace(entry, artefacts=tuple((one, shots[0]) for one in spoiled()))))
    before, after = shots[0].image.astype(int), views[0].image.astype(int)
    height, width = before.shape[:2]
    corner = np.s_[: height // 5, : width // 6]
    expected = 0.35 * before[corner] + 0.65 * np.array([255, 60, 0])
    assert np.abs(after[corner] - expected).max() <= 1
    assert np.array_equal(after[height // 2 :], before[height // 2 :])
    assert np.array_equal(views[1].image, shots[0].image)
    everywhere = replace(spoiled()[0], where="all over the picture")
    (view,) = page_module._artefacts(replace(entry, artefacts=((everywhere, shots[0]),)))
    assert np.array_equal(view.image, shots[0].image)


def test_artefacts_are_read_back_from_an_output(tmp_path):
    score = explained("clip.mp4", 3.4, [3.0, 2.5, 4.0])
    score = replace(score, timeline=score.explanation.timeline)
    score = replace(score, explanation=replace(score.explanation, artefacts=spoiled()))
    (tmp_path / "scores.jsonl").write_text(json.dumps(score.as_dict()) + "\n")
    (again,) = read_scores(tmp_path / "scores.jsonl")
    assert again.explanation.artefacts == spoiled()
    assert np.array_equal(again.explanation.artefacts[0].cells, spoiled()[0].cells)


def test_model_is_named_as_typed_and_a_released_one_has_a_link_to_its_card(ladder, tmp_path):
    score = explained(ladder / "c.mp4", 3.4, [3.0, 2.5, 4.0])
    page = Page(write(tmp_path / "page.html", [score], command="ugcvqa score c.mp4", model="nss_pixels").read_text())
    assert "predicted by nss_pixels, NSS model, trained on noise" in page.words
    assert f"nss_pixels, checksum {'0f' * 8} ( its card ); made on".replace("( ", "(").replace(" )", ")") in page.words
    (link,) = page.of("a")
    assert Path(link["href"].removeprefix("file://")).read_text().startswith("# Released models")
    page = Page(write(tmp_path / "own.html", [score], model="runs/<mine>").read_text())
    assert "predicted by runs/<mine>, NSS model" in page.words
    assert not page.of("a")


def test_other_scales_have_no_words(ladder, tmp_path, monkeypatch):
    monkeypatch.setattr(ABOUT, "scale", (0.0, 100.0))
    shown = read(write(tmp_path / "report.html", [explained(ladder / "c.mp4", 70.0, [60.0, 80.0])]))
    assert "MOS from 0 to 100" in shown.words
    assert not {"good", "fair", "excellent"} & set(shown.words.split())


def test_versions_of_one_video_are_compared_at_one_moment(ladder, tmp_path):
    curves = {"a.mp4": [2.0, 2.0, 2.0], "b.mp4": [2.5, 3.0, 2.5], "c.mp4": [2.5, 4.5, 2.5]}
    scores = [explained(ladder / name, values[1], values) for name, values in curves.items()]
    shown = read(write(tmp_path / "report.html", scores))
    assert "3 versions of one video" in shown.words
    assert "The same moment, 1.5 s" in shown.words
    assert "80 × 60 px from (0, 0)" in shown.words
    assert "160 × 120 px from (0, 0)" in shown.words
    assert "Score against bit rate" in shown.words


def test_other_videos_of_equal_length_are_not_taken_for_versions(ladder, tmp_path):
    scores = [Score(str(ladder / name), 3.0, 3.0) for name in ("b.mp4", "c.mp4", "other.mp4")]
    shown = read(write(tmp_path / "report.html", scores))
    assert "versions of one" not in shown.words
    assert "The same moment" not in shown.words


def test_large_folders_stay_small_and_say_what_they_leave_out(tmp_path):
    random = np.random.default_rng(0)
    scores = [Score(f"clips/{k:05d}.mp4", mos, mos) for k, mos in enumerate(random.uniform(1, 5, MOST_ROWS + 500))]
    scores[7] = Score("clips/00007.mp4", math.nan, math.nan, "clips/00007.mp4: decoded 3 of 9 frames")
    scores[9] = Score("clips/00009.mp4", math.nan, math.nan, "clips/00009.mp4: decoded 41 of 240 frames")
    page = write(tmp_path / "report.html", scores)
    shown = read(page)
    assert page.stat().st_size < 2_500_000
    lines = [row for row in shown.rows if re.match(r"\d{5}\.mp4", row["text"])]
    assert len(lines) == MOST_ROWS + 2
    kept = sorted(one.mos for one in scores if not one.reason)[:MOST_ROWS]
    assert [row["values"][0] for row in lines[:MOST_ROWS]] == kept
    assert "2,002 rows: the lowest scores and the first failures; the CSV or JSON output has all" in shown.words
    (failures,) = [row for row in shown.rows if row["text"].startswith("decoded 3 of 9")]
    assert failures["values"] == [2.0]
    median = float(np.median([one.mos for one in scores if not one.reason]))
    assert repr(median) in {data["value"] for data in shown.of("data")}


def test_pictures_of_a_small_folder_stand_in_its_rows(ladder, tmp_path):
    scores = [Score(str(ladder / "abc"[k % 3]) + ".mp4", 1 + k / 5, 1.0) for k in range(15)]
    shown = read(write(tmp_path / "report.html", scores))
    assert len(shown.of("img")) == 10 + 15
    many = read(write(tmp_path / "many.html", scores * 5))
    assert len(many.of("img")) == 10
    assert "pictures of the 10 lowest only" in many.words


def test_overview_does_not_keep_explanations_of_a_folder():
    overview = Overview()
    for k in range(20):
        overview.add(explained(f"{k}.mp4", 1 + k / 10, [1.0, 2.0]))
    assert all(one.explanation is None for one in overview.shown())
    assert [one.path for one in overview.shown()] == [f"{k}.mp4" for k in range(20)]


def test_files_that_are_gone_leave_their_scores(tmp_path):
    shown = read(write(tmp_path / "report.html", [Score("gone.mp4", 2.25, 2.25, warnings=("much noise",))]))
    assert "2.25" in shown.words
    assert "No frames:" in shown.words
    assert "much noise" in shown.words


def test_saliency_maps_are_drawn_on_request(ladder, tmp_path):
    settings = SaliencySettings(backbone="resnet18", weights="random:0", method="top:2")
    one = explained(ladder / "c.mp4", 3.4, [3.0, 2.5, 4.0])
    shown = read(write(tmp_path / "report.html", [one], saliency=settings))
    overlays = [image["alt"] for image in shown.of("img") if image["alt"].startswith("saliency")]
    assert 2 <= len(overlays) <= 3
    assert "Score-CAM of resnet18, RANDOM weights, which mean nothing" in shown.words


def test_impossible_reports_are_refused_before_any_work(run, ladder, tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"report\.txt: a report is a file that ends in \.html"):
        Reporter(str(tmp_path / "report.txt"))
    folder = tmp_path / "folder.html"
    folder.mkdir()
    arguments = [str(ladder / "a.mp4"), "--checkpoint", str(run), "--report", str(folder)]
    assert score.main(arguments) == 2
    output = capsys.readouterr()
    assert not output.out
    assert output.err.count("\n") == 1


def test_report_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        write(tmp_path / "file" / "report.html", [Score("gone.mp4", 2.0, 2.0)])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_shots_are_the_frames_on_the_screen(ladder):
    info = probe(ladder / "c.mp4")
    shots = read_shots(info, [2.99, 0.0, 0.55, 0.58], DecodeLimits(), long_side_px=80)
    assert [shot.time_s for shot in shots] == pytest.approx([0.0, 0.5, 2.9])
    assert shots[0].image.shape == (60, 80, 3)
    expected = resized(scene(29), 80, 60)
    assert np.abs(shots[-1].image.astype(int) - expected).mean() < 8


def test_long_timelines_are_averaged_for_drawing():
    values = np.random.default_rng(0).uniform(1, 5, 1500)
    values[7] = math.nan
    shown, step = coarse(timeline(values.tolist()))
    assert step == 3
    assert len(shown) == 500
    assert (shown.start_s[1], shown.stop_s[1], shown.stop_s[-1]) == (3.0, 6.0, 1500.0)
    assert np.array(shown.mos) == pytest.approx(np.nanmean(values.reshape(500, 3), 1))
    chart = time_chart([line_of(Entry(Score("a", 3.0, 3.0)), shown)], (1.0, 5.0), 3.0)
    assert chart.count('class="hit"') == 500


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0 s"), (7.25, "7.2 s"), (65, "1:05"), (3725.4, "1:02:05")])
def test_times_are_written_as_players_do(seconds, text):
    assert time_text(seconds) == text


def test_axis_of_bit_rates_has_round_numbers_inside_it():
    assert rate_ticks((1.2, 3.1)) == [20, 50, 100, 200, 500, 1000]
    assert len(rate_ticks((0.0, 6.0))) <= 6
