"""Sentences that follow from numbers alone, ablations read from a benchmark, and the page that holds them."""

import math

import numpy as np
import pytest

from ugcvqa import study
from ugcvqa.errors import LabelError
from ugcvqa.evaluation.significance import corrected_t_test
from ugcvqa.studies.ablation import PAIRS, read_ablations
from ugcvqa.studies.analysis import COSINE, CosineSummary, QualitySummary
from ugcvqa.studies.associations import Association
from ugcvqa.studies.frames import NetworkFacts
from ugcvqa.studies.measures import ORDERS
from ugcvqa.studies.page import Exhibit, Page, Section
from ugcvqa.studies.published_frames import PublishedFrame, published_sentence
from ugcvqa.studies.records import VideoRow
from ugcvqa.studies.sentences import (
    ablation_sentences,
    association_sentences,
    cosine_sentences,
    coverage,
    quality_sentences,
    warnings,
)
from ugcvqa.studies.tables import ablation_table, association_table, table

HEADER = "data,row,head,mapping,split,n_train,n_test,srcc,krcc,plcc,rmse,is_mapped,c,gamma,note"


def benchmark(folder, rows, n_splits=20, noise=0.002, extra=()):
    """Writes a benchmark in which each row has a mean SRCC; splits share a part of their luck."""
    random = np.random.default_rng(0)
    luck = random.normal(0, 0.02, n_splits)
    lines = [HEADER, *extra]
    for row, srcc in rows.items():
        for split in range(n_splits):
            value = float(srcc + luck[split] + random.normal(0, noise))
            figures = f"{value!r},{value - 0.2!r},{value + 0.01!r},{0.6 - value / 2!r}"
            lines.append(f"own,{row},svr,test,{split + 1},800,200,{figures},1,2.0,0.1,")
    folder.mkdir(exist_ok=True)
    (folder / "splits.csv").write_text("\n".join(lines) + "\n")
    return folder


def verdicts(ablations):
    return " ".join(ablation_sentences(ablations))


def test_saliency_that_helps_harms_or_does_neither_is_said_so(tmp_path):
    for gain, words in ((0.05, "saliency helps"), (-0.05, "saliency harms"), (0.0, "makes no difference")):
        folder = benchmark(tmp_path / "b", {"VSFACNN_224": 0.7, "VSFACNN_SALIENCY": 0.7 + gain})
        text = verdicts(read_ablations(folder))
        assert words in text
        assert "same frames, same size" in text
        assert "lacks the fair comparison" not in text


def test_difference_interval_and_p_are_those_of_the_corrected_test(tmp_path):
    folder = benchmark(tmp_path / "b", {"CNN": 0.6, "CNN_SALIENCY": 0.605})
    found = next(one for one in read_ablations(folder) if one.metric == "srcc")
    lines = [line.split(",") for line in (folder / "splits.csv").read_text().splitlines()[1:]]
    before, after = ([float(line[7]) for line in lines if line[1] == row] for row in ("CNN", "CNN_SALIENCY"))
    expected = corrected_t_test(after, before, 800, 200)
    assert found.difference == pytest.approx(np.mean(after) - np.mean(before))
    assert (found.low, found.high, found.p) == (expected.difference.low, expected.difference.high, expected.p)


def test_p_values_are_adjusted_for_the_number_of_pairs(tmp_path):
    rows = {"CNN": 0.6, "CNN_SALIENCY": 0.603, "NSS": 0.7, "NSS_SALIENCY": 0.7}
    found = [one for one in read_ablations(benchmark(tmp_path / "b", rows)) if one.metric == "srcc"]
    smallest = min(found, key=lambda one: one.p)
    assert smallest.p_adjusted == pytest.approx(min(1, 2 * smallest.p))
    assert "lacks the fair comparison of VSFACNN_SALIENCY with VSFACNN_224" in verdicts(found)


def test_unfair_pairs_are_not_put_down_to_saliency(tmp_path):
    folder = benchmark(tmp_path / "b", {"VSFACNN": 0.8, "VSFACNN_SALIENCY": 0.7})
    text = verdicts(read_ablations(folder))
    assert "the change as a whole harms" in text
    assert "saliency harms" not in text


def test_only_splits_that_both_rows_have_are_compared(tmp_path):
    extra = ("own,NSS,svr,test,99,800,200,0.1,0.1,0.1,0.9,1,,,", "own,NSS,svr,train,1,800,200,0,0,0,9,1,,,")
    folder = benchmark(tmp_path / "b", {"NSS": 0.7, "NSS_SALIENCY": 0.7}, extra=extra)
    assert {one.n_splits for one in read_ablations(folder)} == {20}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data,row,head\n", "has no column split"),
        (f"{HEADER}\nown,NSS,svr,test,1,800,200,x,0,0,0,1,,,\n", "line 2 is damaged"),
        (f"{HEADER}\nown,NSS,svr,test,1,800,200,0.5,0,0,0,1,,,\n", r"its rows \(NSS\) hold no pair"),
    ],
)
def test_unusable_benchmarks_are_refused(text, message, tmp_path):
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(LabelError, match=message):
        read_ablations(tmp_path)


def test_verb_writes_what_the_benchmark_says(tmp_path):
    folder = benchmark(tmp_path / "b", {"VSFACNN_224": 0.7, "VSFACNN_SALIENCY": 0.75, "VSFACNN": 0.8})
    assert study.main(["--benchmark", str(folder), "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "conclusions.md").read_text()
    assert "saliency helps" in text
    assert (tmp_path / "out" / "ablation.png").stat().st_size > 5000
    assert len((tmp_path / "out" / "tables" / "ablation.csv").read_text().splitlines()) == 1 + 2 * 4


def summary(mean, permuted, n_frames=100):
    return CosineSummary("own", 10, n_frames, 0, mean, mean, 0.05, permuted, 0.99)


def test_cosine_that_survives_a_shuffle_is_no_evidence_of_content():
    assert "not what they share" in cosine_sentences(summary(0.46, 0.46))[0]
    assert "takes 50% of the value away" in cosine_sentences(summary(0.46, 0.23))[0]
    assert cosine_sentences(summary(math.nan, math.nan, 0)) == ["own: no frame has a cosine."]


def test_tests_become_sentences_by_their_adjusted_p():
    null = np.linspace(-0.1, 0.1, 199)
    strong, weak = (Association(f"measure {value}", value, null, 40, 10, 0) for value in (0.5, 0.0))
    cosine = Association(COSINE, 0.46, np.full(199, 0.46), 40, 10, 0)
    text = " ".join(association_sentences("own", [cosine, strong, weak]))
    assert "does not distinguish a frame's own map from that of another video" in text
    assert "share content: measure 0.5 0.500 (re-paired 0.000, p = 0.005)" in text
    assert "no evidence of shared content in measure 0.0 0.000" in text
    assert "which with so few videos excludes little" in text
    # 0.03 is below 0.05, but not for three tests
    border = Association("border", 0.094, null, 40, 10, 0)
    assert border.p_value < 0.05
    assert "share content" not in " ".join(association_sentences("own", [border, weak, weak]))


def test_table_of_tests_keeps_all_digits_in_its_csv():
    one = Association("CKA", 1 / 3, np.array([0.1, 0.2]), 40, 10, 5)
    made = association_table({"own": [one]})
    assert repr(1 / 3) in made.csv()
    assert "0.3333" in made.markdown()


def test_quality_is_judged_against_the_same_shape_elsewhere():
    orders = dict(zip(ORDERS, (0.2, 0.4, 0.3), strict=True))
    good = QualitySummary("own", 10, 10, orders, {k: 1 - v for k, v in orders.items()}, 0.01, 0.2, 0.4, 0.3, 0.9)
    text = quality_sentences(good)
    assert "does better than its shape elsewhere (p = 0.01)" in text[1]
    assert "no evidence that the place of the map matters (p = 0.2)" in text[2]
    worse = QualitySummary("own", 10, 10, {**orders, "map": 0.6}, orders, 0.01, 0.01, 0.4, 0.3, 0.9)
    assert "does worse" in quality_sentences(worse)[1]
    assert "does worse" in quality_sentences(worse)[2]


def test_coverage_counts_per_data_set():
    rows = [
        VideoRow(name, f"{name}/{k}", 3, k, 0, k == 1, 0.4, 0.4, 64, 48, 25.0, 3.0) for name in "ab" for k in (0, 1)
    ]
    texts = [one.text() for one in coverage(rows, ["b/x", "c/y"])]
    shared = "6 frames of 2 videos; 1 frame without a map, left out; 1 video shorter than a second, middle frame used"
    assert texts == [f"a: {shared}.", f"b: {shared}; 1 video failed.", "c: 0 frames of 0 videos; 1 video failed."]


def test_random_weights_are_told_first_and_named():
    real = NetworkFacts("saliency", "vgg16", "IMAGENET1K_V1", "ab" * 32)
    assert warnings([real]) == ()
    (text,) = warnings([real, NetworkFacts("deep features", "resnet50", "random:0", "cd" * 32)])
    assert text.startswith("RANDOM WEIGHTS in resnet50 (deep features):")


def test_published_sentence_states_the_largest_difference():
    frames = [PublishedFrame(k, 0.3 + k / 10, 0.3 + k / 10 + 1e-8 * k, 1e-8 * k, 0.3 + k / 10) for k in range(3)]
    assert "met to 2.0e-08" in published_sentence(frames)
    assert "correlate 1.000" in published_sentence(frames)


def test_page_escapes_what_names_may_hold(tmp_path):
    name = "<b>|*x*_"
    page = Page(name, (name,), {name: (name,)}, (Section(name, (table(name, [{"a": name}], ("a",)),), ()),), (name,))
    assert "<b>|" not in page.html(tmp_path)
    assert "<b" not in page.markdown().replace("\\<b", "")


def test_large_videos_are_linked_and_small_ones_are_inside(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"12345")
    page = Page("t", (), {}, (Section("s", (), (Exhibit("a.mp4", "moving"),)),), ())
    assert "data:video/mp4;base64,MTIzNDU=" in page.html(tmp_path)
    monkeypatch.setattr("ugcvqa.studies.page._LARGEST_VIDEO_BYTES", 4)
    assert '<p><a href="a.mp4">' in page.html(tmp_path)


def test_ablation_table_shows_every_pair_and_figure(tmp_path):
    found = read_ablations(benchmark(tmp_path / "b", {"CNN": 0.6, "CNN_SALIENCY": 0.6}))
    assert [one.pair for one in found] == [PAIRS[2]] * 4
    assert len(ablation_table(found).records) == 4


def test_means_that_are_not_positive_give_no_share():
    for mean, permuted in ((0.0, 0.1), (-0.1, -0.1), (0.5, -0.1)):
        (text,) = cosine_sentences(summary(mean, permuted))
        assert "no share that survives the shuffle is given" in text


def test_published_values_that_are_missed_or_missing_are_not_said_to_be_met():
    frames = [PublishedFrame(k, 0.3, 0.3 + 1e-3 * k, 1e-3 * k, 0.3) for k in range(3)]
    assert "ARE NOT MET: they differ by up to 2.0e-03" in published_sentence(frames)
    gap = PublishedFrame(4, 0.3, math.nan, math.nan, math.nan)
    assert published_sentence([*frames, gap]).endswith(" 1 frame without a cosine left out.")
    assert published_sentence([gap]) == "Published frames: no frame has a cosine."


def test_measures_that_are_not_defined_are_named():
    cosine = Association(COSINE, 0.46, np.full(199, 0.46), 40, 10, 0)
    flat = Association("CKA", math.nan, np.empty(0), 40, 10, 0, "not defined: one side does not vary")
    assert "own: CKA: not defined: one side does not vary." in association_sentences("own", [cosine, flat])


def test_folder_of_several_benchmarks_is_refused_with_their_names(tmp_path):
    inside = benchmark(tmp_path / "own", {"CNN": 0.6, "CNN_SALIENCY": 0.6})
    with pytest.raises(LabelError, match=f"give the folder of a benchmark, as {inside}"):
        read_ablations(tmp_path)


def test_prediction_worse_than_the_mean_is_not_shared_content():
    bad = Association("Ridge", -0.3, np.linspace(-3, -2, 199), 40, 10, 0)
    text = " ".join(association_sentences("own", [bad]))
    assert "but are not above 0" in text
    assert "same frame share content" not in text
