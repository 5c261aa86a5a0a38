"""The published figures of the paper's tables and of two baselines, for comparison with ours."""

import math
from typing import NamedTuple

METRICS = ("srcc", "krcc", "plcc", "rmse")
"""The four figures, in the order of the paper's Table 1."""


class Figure(NamedTuple):
    """A published figure: median and standard deviation over splits, NaN where none was published."""

    median: float = math.nan
    std: float = math.nan

    @property
    def is_known(self) -> bool:
        """Whether such a figure was published."""
        return not math.isnan(self.median)


class Cost(NamedTuple):
    """A line of Table 2.

    Attributes:
        dimension: columns of the row.
        extract_s: seconds per 1080p video of about twenty seconds, on one node of the authors' cluster.
        fit_s: seconds of one hold-out repetition (grid search and final fit) on 294 videos.
    """

    dimension: int
    extract_s: float
    fit_s: float


class Baseline(NamedTuple):
    """Published medians of another method over 100 splits, and who published them."""

    srcc: float
    plcc: float
    source: str


# Median and standard deviation of SRCC, KRCC, PLCC, RMSE; UVQ was not trained, so that it has no deviations.
_TABLE1: dict[str, dict[str, tuple[float, ...]]] = {
    "konvid_1k": {
        "SALIENCY": (0.1729, 0.0727, 0.1167, 0.0487, 0.1983, 0.0543, 0.6263, 0.0195),
        "NSS": (0.7747, 0.0242, 0.5776, 0.0233, 0.7723, 0.0247, 0.4034, 0.0204),
        "NSS_SALIENCY": (0.7676, 0.0241, 0.5716, 0.0221, 0.7700, 0.0229, 0.4082, 0.0186),
        "NSS_CNN": (0.8042, 0.0230, 0.6133, 0.0226, 0.8150, 0.0203, 0.3702, 0.0169),
        "NSS_CNN_SALIENCY": (0.8013, 0.0228, 0.6088, 0.0220, 0.8122, 0.0204, 0.3735, 0.0172),
        "NSS_VSFACNN": (0.7945, 0.0249, 0.6034, 0.0242, 0.8023, 0.0229, 0.3790, 0.0175),
        "NSS_VSFACNN_SALIENCY": (0.7944, 0.0248, 0.6035, 0.0241, 0.8022, 0.0229, 0.3792, 0.0175),
        "CNN": (0.7116, 0.0320, 0.5253, 0.0281, 0.7477, 0.0276, 0.4233, 0.0170),
        "CNN_SALIENCY": (0.7130, 0.0328, 0.5255, 0.0290, 0.7468, 0.0277, 0.4254, 0.0173),
        "VSFACNN": (0.8059, 0.0234, 0.6141, 0.0237, 0.8155, 0.0209, 0.3692, 0.0171),
        "VSFACNN_SALIENCY": (0.7225, 0.0338, 0.5317, 0.0296, 0.7476, 0.0290, 0.4235, 0.0178),
        "UVQ": (0.7089, 0.5124, 0.7054, 0.4835),
    },
    "youtube_ugc": {
        "SALIENCY": (0.2048, 0.0707, 0.1386, 0.0487, 0.2574, 0.0674, 0.6163, 0.0293),
        "NSS": (0.7103, 0.0361, 0.5249, 0.0305, 0.7042, 0.0378, 0.4526, 0.0267),
        "NSS_SALIENCY": (0.7038, 0.0394, 0.5177, 0.0335, 0.7044, 0.0392, 0.4493, 0.0252),
        "NSS_CNN": (0.7546, 0.0332, 0.5624, 0.0306, 0.7667, 0.0318, 0.4143, 0.0214),
        "NSS_CNN_SALIENCY": (0.7541, 0.0342, 0.5603, 0.0308, 0.7637, 0.0325, 0.4145, 0.0214),
        "NSS_VSFACNN": (0.7338, 0.0352, 0.5445, 0.0317, 0.7510, 0.0324, 0.4194, 0.0210),
        "NSS_VSFACNN_SALIENCY": (0.7333, 0.0350, 0.5431, 0.0315, 0.7499, 0.0327, 0.4190, 0.0210),
        "CNN": (0.6438, 0.0410, 0.4655, 0.0336, 0.6784, 0.0377, 0.4718, 0.0211),
        "CNN_SALIENCY": (0.6274, 0.0452, 0.4519, 0.0364, 0.6651, 0.0412, 0.4782, 0.0230),
        "VSFACNN": (0.7918, 0.0275, 0.5951, 0.0271, 0.7977, 0.0259, 0.3815, 0.0208),
        "VSFACNN_SALIENCY": (0.6441, 0.0428, 0.4640, 0.0355, 0.6805, 0.0375, 0.4702, 0.0189),
    },
    "combined": {
        "SALIENCY": (0.1982, 0.0440, 0.1339, 0.0298, 0.2273, 0.0463, 0.6826, 0.0195),
        "NSS": (0.7556, 0.0245, 0.5625, 0.0219, 0.7546, 0.0241, 0.4603, 0.0184),
        "NSS_SALIENCY": (0.7492, 0.0199, 0.5569, 0.0173, 0.7545, 0.0183, 0.4613, 0.0148),
        "NSS_CNN": (0.7839, 0.0200, 0.5942, 0.0188, 0.8020, 0.0175, 0.4189, 0.0153),
        "NSS_CNN_SALIENCY": (0.7815, 0.0214, 0.5911, 0.0199, 0.7992, 0.0185, 0.4212, 0.0155),
        "NSS_VSFACNN": (0.7756, 0.0217, 0.5839, 0.0203, 0.7944, 0.0177, 0.4239, 0.0147),
        "NSS_VSFACNN_SALIENCY": (0.7755, 0.0213, 0.5835, 0.0198, 0.7942, 0.0175, 0.4245, 0.0145),
        "CNN": (0.6984, 0.0255, 0.5082, 0.0222, 0.7377, 0.0218, 0.4741, 0.0150),
        "CNN_SALIENCY": (0.6878, 0.0269, 0.4999, 0.0230, 0.7330, 0.0222, 0.4786, 0.0150),
        "VSFACNN": (0.7978, 0.0180, 0.6044, 0.0180, 0.8162, 0.0152, 0.4063, 0.0124),
        "VSFACNN_SALIENCY": (0.6986, 0.0265, 0.5109, 0.0231, 0.7326, 0.0213, 0.4741, 0.0140),
    },
}

# One model each, trained on YouTube-UGC and tested on all 1,200 videos of KoNViD-1k; from the paper's supplement.
_CROSS: dict[str, dict[str, tuple[float, ...]]] = {
    "youtube_ugc_to_konvid_1k": {"NSS_CNN": (0.5949, 0.4231, 0.6013, 0.5495), "UVQ": (0.7068, 0.5129, 0.6914, 0.4822)},
}

TABLE2: dict[str, Cost] = {
    "SALIENCY": Cost(224, 52.62, 4.98),
    "NSS": Cost(1836, 103.31, 15.68),
    "NSS_SALIENCY": Cost(2060, 289.22, 17.06),
    "NSS_CNN": Cost(3884, 115.36, 29.56),
    "NSS_CNN_SALIENCY": Cost(4108, 310.81, 31.28),
    "NSS_VSFACNN": Cost(5932, 1944.48, 43.94),
    "NSS_VSFACNN_SALIENCY": Cost(5932, 196.73, 44.13),
    "CNN": Cost(2048, 23.74, 17.45),
    "CNN_SALIENCY": Cost(2272, 66.99, 18.61),
    "VSFACNN": Cost(4096, 1841.13, 31.69),
    "VSFACNN_SALIENCY": Cost(4096, 92.27, 31.98),
}
"""Row -> cost as printed in the paper's Table 2."""

BASELINES: dict[tuple[str, str], Baseline] = {
    ("konvid_1k", "VIDEVAL"): Baseline(0.7832, 0.7803, "vztu/VIDEVAL README"),
    ("youtube_ugc_1380", "VIDEVAL"): Baseline(0.7787, 0.7733, "vztu/VIDEVAL README"),
    ("konvid_1k", "BRISQUE"): Baseline(0.6567, 0.6576, "vztu/BVQA_Benchmark README"),
    ("youtube_ugc_1380", "BRISQUE"): Baseline(0.3820, 0.3952, "vztu/BVQA_Benchmark README"),
}
"""(data set, row) -> baseline; `youtube_ugc_1380` is all 1,380 videos of YouTube-UGC with public MOS."""

DATA_TITLES = {"konvid_1k": "KoNViD-1k", "youtube_ugc": "YouTube-UGC", "combined": "COMBINED"}
"""Data set -> its name in the paper."""

ROW_TITLES = {"NSS_CNN": "NSS_CNN (RAPIQUE)", "CNN": "CNN (ResNet-50)"}
"""Row -> its name in the paper, where that differs."""


def row_title(row: str) -> str:
    """Name of a row in the paper; other rows keep theirs."""
    return ROW_TITLES.get(row, row)


def data_title(data: str) -> str:
    """Name of a data set in the paper, with what follows: `YouTube-UGC 720p`; own data sets keep theirs."""
    name, comma, rest = data.partition(",")
    titles = [DATA_TITLES.get(one, "") for one in name.split("_to_")]
    known, _, subset = name.rpartition("_")
    title = f"{DATA_TITLES[known]} {subset}" if known == "youtube_ugc" else name
    return f"{' to '.join(titles) if all(titles) else title}{comma}{rest}"


def published_figure(data: str, row: str, metric: str) -> Figure:
    """Looks up the published figure of a row: from the paper's Table 1, else from a baseline.

    Source: Wang, Katsenou and Bull, Table 1; for VIDEVAL and BRISQUE the medians whose source `BASELINES` names.

    Args:
        data: `konvid_1k`, `youtube_ugc` (the paper's 1,039 videos), `combined`, `youtube_ugc_1380`, or
            `youtube_ugc_to_konvid_1k` (trained on one, tested on the other).
        row: row of Table 1, `VIDEVAL` or `BRISQUE`; `NSS_VSFACNN_AS_PUBLISHED` is the paper's NSS_VSFACNN.
        metric: `srcc`, `krcc`, `plcc` or `rmse`.

    Returns:
        The figure; NaN where none was published.
    """
    printed = (_TABLE1 | _CROSS).get(data, {}).get("NSS_VSFACNN" if row == "NSS_VSFACNN_AS_PUBLISHED" else row)
    if printed is None:
        baseline = BASELINES.get((data, row))
        return Figure(getattr(baseline, metric, math.nan))
    index = METRICS.index(metric)
    if len(printed) == len(METRICS):
        return Figure(printed[index])
    return Figure(printed[2 * index], printed[2 * index + 1])
