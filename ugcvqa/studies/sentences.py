"""The conclusions and captions of the saliency study as sentences, made from its numbers alone."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ugcvqa.evaluation.significance import LEVEL, holm
from ugcvqa.studies.ablation import PAIRS, Ablation
from ugcvqa.studies.analysis import COSINE, CosineSummary, QualitySummary, count
from ugcvqa.studies.associations import MIN_VIDEOS, Association
from ugcvqa.studies.frames import NetworkFacts
from ugcvqa.studies.measures import ORDERS
from ugcvqa.studies.records import VideoRow

_MOSTLY_KEPT = 0.9  # part of the cosine that survives a shuffle


@dataclass(frozen=True)
class Coverage:
    """What the numbers of one data set are based on, for captions.

    Attributes:
        n_frames: their sampled frames.
        n_without_map: frames without a saliency map.
        n_grey: frames without colour.
        n_short: videos shorter than a second, whose middle frame is used.
        n_failed: videos that could not be used.
    """

    data: str
    n_videos: int
    n_frames: int
    n_without_map: int
    n_grey: int
    n_short: int
    n_failed: int

    def text(self) -> str:
        """One sentence for captions."""
        parts = [f"{self.data}: {count(self.n_frames, 'frame')} of {count(self.n_videos, 'video')}"]
        remarks = (
            (self.n_without_map, "without a map, left out"),
            (self.n_grey, "in grey"),
        )
        parts += [f"{count(number, 'frame')} {text}" for number, text in remarks if number]
        if self.n_short:
            parts.append(f"{count(self.n_short, 'video')} shorter than a second, middle frame used")
        if self.n_failed:
            parts.append(f"{count(self.n_failed, 'video')} failed")
        return "; ".join(parts) + "."


def coverage(videos: Sequence[VideoRow], failures: Iterable[str]) -> list[Coverage]:
    """Counts frames and videos per data set."""
    failed = [video_id.split("/", 1)[0] for video_id in failures]
    names = dict.fromkeys([*(row.data for row in videos), *failed])
    found = []
    for name in names:
        rows = [row for row in videos if row.data == name]
        frames, empty, grey, short = (
            sum(getattr(row, key) for row in rows) for key in ("n_frames", "n_without_map", "n_grey", "is_short")
        )
        found.append(Coverage(name, len(rows), frames, empty, grey, short, failed.count(name)))
    return found


def sentence(text: str) -> str:
    """A text as a sentence, with a capital at its start and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def weights_text(facts: NetworkFacts) -> str:
    """The weights of a network, for captions; random weights are named in capitals."""
    weights = f"RANDOM WEIGHTS ({facts.weights})" if facts.is_random else f"weights {facts.weights}"
    return f"{weights}, checksum {facts.checksum[:16]}"


def network_text(facts: NetworkFacts) -> str:
    """A network with its weights, for captions."""
    remark = f", {facts.remark}" if facts.remark else ""
    return f"{facts.purpose} from {facts.name}{remark}, {weights_text(facts)}"


def warnings(networks: Iterable[NetworkFacts]) -> tuple[str, ...]:
    """Warnings at the top of the page."""
    random = [facts for facts in networks if facts.is_random]
    if not random:
        return ()
    names = " and ".join(f"{facts.name} ({facts.purpose})" for facts in random)
    return (
        f"RANDOM WEIGHTS in {names}: everything below that rests on networks tests the mechanics only and says nothing "
        "about saliency, quality or trained networks.",
    )


def cosine_sentences(summary: CosineSummary) -> list[str]:
    """Result of Algorithm 3 on a data set, and what a shuffle of channels leaves of it."""
    if not summary.n_frames:
        return [f"{summary.data}: no frame has a cosine."]
    facts = (
        f"{summary.data}: the cosine of Algorithm 3 is {summary.mean:.3f} on average (median {summary.median:.3f}, "
        f"deviation {summary.std:.3f}) over {count(summary.n_frames, 'frame')} of "
        f"{count(summary.n_videos, 'video')}; with the channels of the deep vectors shuffled it is "
        f"{summary.permuted_mean:.3f}"
    )
    if not math.isnan(summary.correlation):
        facts += f", and the two correlate {summary.correlation:.3f} over frames"
    if not (summary.mean > 0 and summary.permuted_mean >= 0):
        return [f"{facts}. With means that are not positive, no share that survives the shuffle is given."]
    kept = summary.permuted_mean / summary.mean
    if kept >= _MOSTLY_KEPT:
        return [
            f"{facts}. Channels have no order, so a shuffle destroys any shared content, yet it leaves {kept:.0%} of "
            "the value: the statistic measures how evenly both vectors are spread, not what they share."
        ]
    return [f"{facts}. The shuffle, which destroys any shared content, takes {1 - kept:.0%} of the value away."]


def association_sentences(name: str, tests: Sequence[Association]) -> list[str]:
    """Whether deep features and maps of a data set share more than chance gives."""
    valued = [one for one in tests if len(one.null)]
    if not valued:
        reason = next((one.note for one in tests if one.note), "not tested, as no re-pairings were asked for")
        return [f"{name}: whether deep features and saliency maps share content is {reason}."]
    found = [f"{name}: {_cosine_pairing(one)}" for one in tests if one.measure == COSINE]
    undefined = [one for one in tests if one.measure != COSINE and math.isnan(one.p_value)]
    if undefined:
        found.append(f"{name}: {', '.join(one.measure for one in undefined)}: {undefined[0].note}.")
    content = [one for one in tests if one.measure != COSINE and not math.isnan(one.p_value)]
    adjusted = holm([one.p_value for one in content]).tolist()
    beyond = [one for one, p in zip(content, adjusted, strict=True) if p < LEVEL]
    shared = [one for one in beyond if one.value > 0]
    useless = [one for one in beyond if one.value <= 0]
    rest = [one for one in content if one not in beyond]
    scope = (
        f"on {count(content[0].n_rows, 'frame')} of {count(content[0].n_videos, content[0].unit)}" if content else ""
    )
    if shared:
        found.append(
            f"{name}, {scope}: deep features and saliency maps of the same frame share content: "
            f"{_listed(shared)} exceed what re-paired videos give (p < {LEVEL:g} after Holm's correction)."
        )
    if useless:
        found.append(
            f"{name}, {scope}: {_listed(useless)} exceed what re-paired videos give (p < {LEVEL:g} after Holm's "
            "correction), but are not above 0, so no usable shared content is shown."
        )
    if rest:
        found.append(
            f"{name}, {scope}: no evidence of shared content in {_listed(rest)} (p at or above {LEVEL:g} after Holm's "
            "correction)"
            + (", which with so few videos excludes little." if rest[0].n_videos < 3 * MIN_VIDEOS else ".")
        )
    return found


def quality_sentences(summary: QualitySummary) -> list[str]:
    """Whether the maps point at what the classifier uses, and where their energy lies."""
    spread = (
        f"{summary.data}: {summary.centre:.0%} of the maps' energy lies in the central quarter of the frame (25% for "
        f"an even map), half of it on {summary.half_area:.0%} of the area (50%), entropy {summary.entropy:.3f} of an "
        "even map's."
    )
    found = [] if math.isnan(summary.centre) else [spread]
    if not summary.n_frames:
        return found
    for kind, areas, p, sign in (
        ("Deletion", summary.deletion, summary.p_deletion, 1),
        ("Insertion", summary.insertion, summary.p_insertion, -1),
    ):
        one, shifted, centre = (areas[order] for order in ORDERS)
        numbers = (
            f"{summary.data}: {kind.lower()} gives an area of {one:.3g} in the map's order, {shifted:.3g} for the same "
            f"map moved elsewhere and {centre:.3g} from the centre outwards ({count(summary.n_frames, 'frame')})"
        )
        found.append(f"{numbers}: {_quality_verdict((shifted - one) * sign, p)}.")
    return found


def ablation_sentences(ablations: Sequence[Ablation]) -> list[str]:
    """What saliency adds to predicted quality, by SRCC."""
    found = []
    if not any(one.pair == PAIRS[0] for one in ablations):
        pair = PAIRS[0]
        found.append(
            f"The benchmark lacks the fair comparison of {pair.with_saliency} with {pair.without} (same frames, same "
            "size)."
        )
    for one in ablations:
        if one.metric != "srcc":
            continue
        numbers = (
            f"{one.pair.with_saliency} against {one.pair.without} on {one.data} ({one.head}, "
            f"{count(one.n_splits, 'split')}; {one.pair.text}): SRCC {one.with_saliency:.4f} against {one.without:.4f}"
        )
        found.append(f"{numbers}, {_ablation_verdict(one)}.")
    return found


def _cosine_pairing(one: Association) -> str:
    if math.isnan(one.p_value):
        return "the cosine of Algorithm 3 is not defined."
    numbers = f"the mean cosine of Algorithm 3 is {one.value:.4f} with each frame's own map and {one.null.mean():.4f}"
    verdict = (
        "it does respond to the pairing"
        if one.p_value < LEVEL
        else "it does not distinguish a frame's own map from that of another video"
    )
    return f"{numbers} with the maps of other videos (p = {one.p_value:.3g}): {verdict}."


def _listed(tests: Sequence[Association]) -> str:
    return ", ".join(
        f"{one.measure} {one.value:z.3f} (re-paired {one.null.mean():z.3f}, p = {one.p_value:.3g})" for one in tests
    )


def _quality_verdict(gain: float, p: float) -> str:
    if math.isnan(p):
        return f"not tested, with fewer than {MIN_VIDEOS} independent videos"
    if p >= LEVEL:
        return f"no evidence that the place of the map matters (p = {p:.3g})"
    return f"the map does {'better' if gain > 0 else 'worse'} than its shape elsewhere (p = {p:.3g})"


def _ablation_verdict(one: Ablation) -> str:
    if math.isnan(one.p_adjusted):
        return f"difference {one.difference:+.4f}, not tested with {count(one.n_splits, 'split')}"
    interval = f"difference {one.difference:+.4f} (95% {one.low:+.4f} to {one.high:+.4f}, p = {one.p_adjusted:.3g})"
    reason = "saliency" if one.pair.is_fair else "the change as a whole"
    if one.p_adjusted < LEVEL:
        return f"{interval}: {reason} {'helps' if one.difference > 0 else 'harms'}"
    largest = max(one.high, 0.0)
    return f"{interval}: {reason} makes no difference that these splits show; a gain above {largest:.4f} is unlikely"
