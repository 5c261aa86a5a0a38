"""One list of videos split over several jobs or machines, and their outputs merged."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ugcvqa.errors import ConfigError
from ugcvqa.launchers import launch


@dataclass(frozen=True)
class Shard:
    """Every `count`-th video of a list.

    Attributes:
        number: which one, from 1.
        count: how many there are; 1 means the whole list.
    """

    number: int = 1
    count: int = 1

    def of(self, names: Iterator[str]) -> Iterator[str]:
        """The videos of the list that are in this shard."""
        return islice(names, self.number - 1, None, self.count)

    def share(self, total: int | None) -> int | None:
        """How many of the list's videos are in this shard, if that is known."""
        return None if total is None else len(range(self.number - 1, total, self.count))

    def path(self, output: Path) -> Path:
        """File of this shard, such as `out.0003-of-0008.csv`; the output itself where there is one only."""
        if self.count == 1:
            return output
        return output.with_name(f"{output.stem}.{self.number:04d}-of-{self.count:04d}{output.suffix}")


def parse_shard(text: str) -> Shard:
    """Reads `3/8`, the third of eight.

    Raises:
        ConfigError: if it is not of that form, or the number is not among 1 to the count.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    shard = Shard(int(match[1]), int(match[2])) if match else None
    if shard is None or not 1 <= shard.number <= shard.count:
        raise ConfigError(f"--shard {text}: give NUMBER/COUNT such as 3/8; numbers run from 1 to the count")
    return shard


def shard_of_environment(environment: Mapping[str, str] | None = None) -> Shard:
    """The share of this process among all that torchrun, srun or MPI started; the whole list without a launcher."""
    found = launch(environment)
    return parse_shard(f"{found.rank + 1}/{found.world}") if found.world > 1 else Shard()


def shard_files(output: Path) -> list[Path]:
    """Finds the files of all shards of an output, in order.

    Raises:
        ConfigError: if there is none, if some are missing, or if their shard counts differ.
    """
    pattern = re.compile(re.escape(output.stem) + r"\.(\d{4,})-of-(\d{4,})" + re.escape(output.suffix))
    names = sorted(path.name for path in output.parent.iterdir()) if output.parent.is_dir() else []
    found = [(int(match[2]), int(match[1])) for name in names if (match := pattern.fullmatch(name))]
    if not found:
        raise ConfigError(f"{output}: no shards to merge, such as {Shard(1, 8).path(output).name}")
    counts = sorted({count for count, _ in found})
    if len(counts) > 1:
        raise ConfigError(
            f"{output}: shards of {' and of '.join(map(str, counts))} are here; remove the ones that do not belong"
        )
    present = {number for _, number in found}
    missing = [
        Shard(number, counts[0]).path(output).name for number in range(1, counts[0] + 1) if number not in present
    ]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ConfigError(f"{output}: {missing[0]}{more} missing of {counts[0]} shards; run them first")
    return [Shard(number, counts[0]).path(output) for number in range(1, counts[0] + 1)]
