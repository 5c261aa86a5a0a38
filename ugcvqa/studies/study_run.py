"""One run of the saliency study: gathers numbers, tables and pictures, and writes the study's folder."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ugcvqa import dashboard
from ugcvqa.datasets.catalogue import Dataset
from ugcvqa.deep.engine import chosen_engine
from ugcvqa.display.lines import failure_rows
from ugcvqa.display.text_tables import Table
from ugcvqa.features.extraction import usable_device
from ugcvqa.features.inputs import open_dataset
from ugcvqa.features.store import FeatureStore
from ugcvqa.files import write_atomic, write_json
from ugcvqa.launchers import is_main_process
from ugcvqa.records import plain_settings, versions
from ugcvqa.settings.data import DataSettings, LoaderSettings
from ugcvqa.settings.study import StudySettings
from ugcvqa.settings.training import WandbSettings
from ugcvqa.studies.ablation import read_ablations
from ugcvqa.studies.analysis import Collection, count
from ugcvqa.studies.figures import (
    ablation_intervals,
    cosine_histograms,
    null_distributions,
    published_cosines,
    quality_curves,
    write_figure,
)
from ugcvqa.studies.frames import adopt_maps, build_study, given_videos
from ugcvqa.studies.measures import ORDERS, Measurement, VideoMeasures
from ugcvqa.studies.page import Exhibit, Page, Section
from ugcvqa.studies.pictures import draw_videos
from ugcvqa.studies.published_frames import published_frames, published_sentence
from ugcvqa.studies.sentences import (
    ablation_sentences,
    association_sentences,
    cosine_sentences,
    coverage,
    network_text,
    quality_sentences,
    sentence,
    warnings,
)
from ugcvqa.studies.tables import ablation_table, association_table, histogram_records, records, table

log = logging.getLogger(__name__)

_QUESTIONS = (
    "Do deep features carry the saliency of their frame?",
    "Does the paper's cosine show it?",
    "Do the maps point at what the classifier uses?",
    "Does saliency help to predict quality?",
)
_CONTENT, _COSINE, _MAPS, _QUALITY = _QUESTIONS


class Study:
    """The parts of a study, in the order in which they are added.

    Everything is written into the folder `out` of what was asked for.
    """

    def __init__(self, asked: StudySettings) -> None:
        self.folder, self.asked = Path(asked.out), asked
        self._record = plain_settings(vars(asked))
        self.exit_code = 0
        self._sections: list[Section] = []
        self._answers: dict[str, list[str]] = {}
        self._warnings: tuple[str, ...] = ()
        self._notes: list[str] = []
        self._numbers: dict[str, Any] = {}

    def add_published(self, path: Path) -> None:
        """Regenerates the values of the published frames.

        Raises:
            LabelError: if the file cannot be used.
        """
        frames = published_frames(path, self.asked.measures.seed)
        shown = table("Published frames", records(frames), ("frame", "published", "cosine", "difference", "permuted"))
        self._table("published", shown)
        caption = (
            f"Algorithm 3 on the {len(frames)} published deep vectors and maps, beside the published values and the "
            "mean over ten shuffles of the channels. The deep vectors come with the file; no network was run."
        )
        picture = self._picture("figure7/published.png", published_cosines(frames), caption)
        self._sections.append(Section("Published frames", (shown,), (picture,)))
        self._answer(_COSINE, [published_sentence(frames)])
        self._numbers["published"] = records(frames)

    def add_benchmark(self, folder: Path) -> None:
        """Reads from a benchmark what saliency adds to predicted quality.

        Raises:
            LabelError: if it cannot be used.
        """
        ablations = read_ablations(folder)
        sentences = ablation_sentences(ablations)
        shown = ablation_table(ablations)
        self._table("ablation", shown)
        caption = (
            f"Difference of mean SRCC over the splits of {folder.name}, with 95% intervals of the corrected resampled "
            "t-test, one line per pair, data set and head. Blue: nothing but saliency differs. Grey: frames and their "
            "size differ as well."
        )
        picture = self._picture("ablation.png", ablation_intervals(ablations, "srcc"), caption)
        self._sections.append(Section("What saliency adds to predicted quality", (shown,), (picture,)))
        self._answer(_QUALITY, sentences)
        self._numbers["ablation"] = [asdict(one) | {"pair": one.pair._asdict()} for one in ablations]

    def add_videos(self, loader: LoaderSettings, trainer: dict[str, Any]) -> None:
        """Studies videos: extracts what the store lacks, measures, tests and draws.

        Raises:
            ConfigError: if a setting cannot be used.
            WeightsError: if weights are missing or wrong.
            LabelError: if labels cannot be read.
        """
        from ugcvqa.models.extraction import extract_dataset, settled_on

        asked, root = self.asked, Path(self.asked.store)
        families = settled_on(asked.families, ("cnn", "saliency"), root, trainer)
        device = usable_device(asked.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        dataset = given_videos(asked.videos) if asked.videos else open_dataset(asked.data or DataSettings())
        networks = build_study(families, asked.network, asked.frames)
        store = FeatureStore(root, device.partition(":")[0])
        if is_main_process():
            # first of all, as a folder that refuses it would refuse every result
            write_json(self.folder / "settings.json", self._record)
            paths = [video.path for video in dataset.videos if video.path is not None]
            adopt_maps(networks, store, paths, asked.frames)
        failures = extract_dataset(dataset, networks.families, store, loader, asked.limits, trainer)
        if is_main_process():
            measurement = Measurement(networks, store, self.folder / "parts", asked.measures, asked.limits, device)
            self._measure(dataset, measurement, failures)

    def finish(self) -> Page:
        """Writes page and numbers, and returns the page."""
        command = "Made by ugcvqa study; numbers.json holds every number, settings.json what was asked for."
        write_json(self.folder / "settings.json", self._record)
        engine = chosen_engine(self.asked.families.engine)
        write_json(self.folder / "numbers.json", {**self._numbers, "engine": engine, "versions": versions()})
        page = Page(
            "Saliency study",
            self._warnings,
            {question: self._answers[question] for question in _QUESTIONS if question in self._answers},
            tuple(self._sections),
            (*self._notes, command),
        )
        self._write("conclusions.md", page.markdown().encode("utf-8", "replace"))
        self._write("conclusions.html", page.html(self.folder).encode("utf-8", "replace"))
        return page

    def log_images(self, page: Page, settings: WandbSettings) -> None:
        """Sends pictures, videos and numbers of a finished study to Weights & Biases.

        Raises:
            ConfigError: if W&B cannot be used.
        """
        wandb = dashboard.library()
        with dashboard.opened(self.folder, settings, "study", self._record) as run:
            for exhibit in (one for section in page.sections for one in section.exhibits):
                kind = wandb.Video if exhibit.file.endswith(".mp4") else wandb.Image
                shown = kind(str(self.folder / exhibit.file), caption=exhibit.caption)
                run.log({f"study/{exhibit.file.rsplit('.', 1)[0]}": shown})
            run.summary.update({"warnings": list(page.warnings), "conclusions": dict(page.conclusions)})

    def _measure(self, dataset: Dataset, measurement: Measurement, failures: dict[str, str]) -> None:
        """Measures all videos, then writes what the page says of them."""
        measures, networks = self.asked.measures, measurement.networks
        collection, drawn = Collection(dataset, measures.seed), list[VideoMeasures]()
        for one in measurement.of(dataset, failures):
            collection.add(one)
            if len(drawn) < self.asked.pictures.videos:
                drawn.append(one)
        self._write("failures.csv", failure_rows(failures))
        self.exit_code = 0 if not failures else 1 if collection.videos else 2
        self._warnings = warnings(networks.facts)
        self._notes += [sentence(network_text(facts)) for facts in networks.facts]
        limit = self.asked.frames
        self._notes.append(f"One frame per second of video, at most {limit} of each video, evenly spread.")
        self._notes += [f"Failed: {video_id}: {reason}" for video_id, reason in sorted(failures.items())[:10]]
        covered = coverage(collection.videos, failures)
        if not collection.videos:
            self._answer(_CONTENT, [f"No video could be used; {len(failures)} failed, see failures.csv."])
            return
        frames = " ".join(one.text() for one in covered)
        self._numbers |= {
            "coverage": [asdict(one) for one in covered],
            "networks": [asdict(facts) for facts in networks.facts],
        }
        by = sentence("; ".join(network_text(facts) for facts in networks.facts))
        self._similarity(collection, f"{frames} {by}")
        self._content(collection, f"{frames} {by}")
        self._quality(collection, f"{frames} {sentence(network_text(networks.facts[1]))}")
        self._table("frames", table("Frames", records(collection.frames), ()))
        self._table("videos", table("Videos", records(collection.videos), ()))
        found = draw_videos(self.folder, drawn, measurement, self.asked.pictures)
        self._notes += [f"Not drawn: {video_id}: {reason}" for video_id, reason in found.failures.items()]
        self._table("activations", table("Strongest channels", records(found.rows), ()))
        if found.exhibits:
            self._sections.append(Section("Frames, maps and activations", (), tuple(found.exhibits)))

    def _similarity(self, collection: Collection, caption: str) -> None:
        """Figure 7."""
        summaries = [collection.cosine(name) for name in collection.data_sets()]
        sentences = [line for summary in summaries for line in cosine_sentences(summary)]
        shown = table(
            "Cosine of Algorithm 3",
            [asdict(summary) for summary in summaries],
            ("data", "n_videos", "n_frames", "n_missing", "mean", "median", "std", "permuted_mean", "correlation"),
            ("data", "videos", "frames", "without", "mean", "median", "deviation", "shuffled: mean", "correlation"),
        )
        self._table("figure7", table("Histogram", histogram_records(collection.frames), ()))
        self._table("cosine", shown)
        text = (
            "Figure 7: cosine of Algorithm 3 over all sampled frames, one per second, and the same with the channels "
            f"of the deep vectors shuffled (mean of ten shuffles). {caption}"
        )
        picture = self._picture("figure7/cosine.png", cosine_histograms(collection.frames), text)
        self._sections.append(Section("The paper's cosine and what shuffling leaves of it", (shown,), (picture,)))
        self._answer(_COSINE, sentences)
        self._numbers["cosine"] = [asdict(summary) for summary in summaries]

    def _content(self, collection: Collection, caption: str) -> None:
        """Tests across videos."""
        tests = {name: collection.associations(name, self.asked.measures) for name in collection.data_sets()}
        sentences = [line for name, found in tests.items() for line in association_sentences(name, found)]
        shown = association_table(tests)
        self._table("tests", shown)
        nulls = [
            {"data": name, "measure": one.measure, "value": value}
            for name, found in tests.items()
            for one in found
            for value in one.null.tolist()
        ]
        self._table("nulls", table("Nulls", nulls, ()))
        if nulls:
            text = (
                "Each measure on the true pairing of deep features and maps (line), and on re-pairings of whole videos "
                f"(bars), which keep both shapes and destroy shared content; seed {self.asked.measures.seed}. {caption}"
            )
            picture = self._picture("content.png", null_distributions(tests), text)
            self._sections.append(Section("Shared content across videos", (shown,), (picture,)))
        self._answer(_CONTENT, sentences)
        self._numbers["tests"] = {
            name: [
                {**{key: value for key, value in vars(one).items() if key != "null"}, "p": one.p_value} for one in found
            ]
            for name, found in tests.items()
        }

    def _quality(self, collection: Collection, caption: str) -> None:
        """Deletion, insertion and energy."""
        summaries = [collection.quality(name, self.asked.measures) for name in collection.data_sets()]
        sentences = [line for summary in summaries for line in quality_sentences(summary)]
        self._table("curves", table("Curves", records(collection.curves), ()))
        if collection.curves:
            text = (
                "Probability of the class that the map explains, mean over "
                f"{count(len(collection.curves) // len(ORDERS), 'frame')}, "
                "while pixels are deleted (to the mean colour) or inserted (into a blurred frame), in the order of the "
                f"map, of the same map moved elsewhere, and from the centre outwards. {caption}"
            )
            picture = self._picture("quality.png", quality_curves(collection.curves), text)
            self._sections.append(Section("Quality of the maps", (), (picture,)))
        self._answer(_MAPS, sentences)
        self._numbers["quality"] = [asdict(summary) for summary in summaries]

    def _answer(self, question: str, sentences: Sequence[str]) -> None:
        self._answers.setdefault(question, []).extend(sentences)

    def _table(self, name: str, shown: Table) -> None:
        self._write(f"tables/{name}.csv", shown.csv().encode("utf-8", "surrogateescape"))

    def _picture(self, name: str, figure: Any, caption: str) -> Exhibit:  # noqa: ANN401 (of matplotlib)
        write_figure(self.folder / name, figure, self.asked.pictures.figures)
        return Exhibit(name, caption)

    def _write(self, name: str, data: bytes) -> None:
        write_atomic(self.folder / name, data)
