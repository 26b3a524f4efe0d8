"""What is found in a dataset, grouped by kind, and how it is told."""

import dataclasses
from pathlib import Path

MAX_LINES = 20  # of one kind in a printed report


@dataclasses.dataclass(frozen=True)
class SplitCounts:
    """What a split holds: videos, their frames, and segments that could be read."""

    videos: int
    frames: int
    segments: int
    usable_segments: int
    """Segments with at least the frames of a clip."""


@dataclasses.dataclass(frozen=True)
class DataReport:
    """What `check_dataset` found, grouped by kind; a message is one line that says what to do."""

    dataset_dir: Path
    num_frames: int
    """Frames of a clip."""
    counts: dict[str, SplitCounts]
    """For "train" and "test"."""
    problem_kinds: dict[str, list[str]]
    """Kind: messages. A training would fail, now or later, or train and test share a video."""
    warning_kinds: dict[str, list[str]]
    """Kind: messages. A training works."""

    @property
    def problems(self) -> list[str]:
        """All problems, one kind after another."""
        return [message for messages in self.problem_kinds.values() for message in messages]

    @property
    def warnings(self) -> list[str]:
        """All warnings, one kind after another."""
        return [message for messages in self.warning_kinds.values() for message in messages]

    def text(self) -> str:
        """The report in lines, at most 20 of each kind."""
        lines = [f"{self.dataset_dir}, for clips of {self.num_frames} frames"]
        for split, counts in self.counts.items():
            lines.append(
                f"  {split}: videos {counts.videos}, frames {counts.frames}, segments {counts.segments}, "
                f"of at least {self.num_frames} frames {counts.usable_segments}"
            )
        for title, kinds in (("problem", self.problem_kinds), ("warning", self.warning_kinds)):
            for kind, messages in kinds.items():
                lines.append(f"{title}: {kind} ({len(messages)})")
                lines += [f"  {message}" for message in messages[:MAX_LINES]]
                if len(messages) > MAX_LINES:
                    lines.append(f"  and {len(messages) - MAX_LINES} more")
        lines.append(f"problems: {len(self.problems)}, warnings: {len(self.warnings)}")
        return "\n".join(lines)
