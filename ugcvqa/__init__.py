"""No-reference quality assessment of user-generated video.

`ugcvqa.load()` gives the released model, `ugcvqa.load(run)` a trained one, `ugcvqa.load("uvq")` UVQ;
`model.score("clip.mp4")` scores a video, `model.score_many(paths)` many, `model.score_frames(frames, fps)` frames that
are in memory. With `explain=True` a score has its course over time, what it is made of, and its worst and best second.
`VideoScorer()` scores a video at each call, inside process pools, clusters and job queues.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ugcvqa.scoring.explanation import Explanation, Moment, Timeline
    from ugcvqa.scoring.lazy import VideoScorer
    from ugcvqa.scoring.model import QualityModel
    from ugcvqa.scoring.result import Score
    from ugcvqa.scoring.scorers import load

__version__ = "0.1.0"
__all__ = ["Explanation", "Moment", "QualityModel", "Score", "Timeline", "VideoScorer", "__version__", "load"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (public names are imported when first used)
    """Imports a public name on first use, so that `import ugcvqa` stays quick."""
    if name in {"Explanation", "Moment", "Timeline"}:
        from ugcvqa.scoring import explanation

        return getattr(explanation, name)
    if name == "VideoScorer":
        from ugcvqa.scoring.lazy import VideoScorer

        return VideoScorer
    if name in {"QualityModel", "Score", "load"}:
        from ugcvqa.scoring import scorers

        return getattr(scorers, name)
    raise AttributeError(f"module 'ugcvqa' has no attribute {name!r}")
