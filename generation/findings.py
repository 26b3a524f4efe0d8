"""What a look at the inputs finds: each finding with its figure and its remedy, together a report."""

import dataclasses
from collections.abc import Iterable
from typing import Literal

from utils.errors import UserError

Severity = Literal["note", "mended", "warning", "refusal"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is worth knowing about an input.

    Attributes:
        severity: "note" is told, "mended" was set right, "warning" may spoil the video, "refusal" would.
        code: short name for programs, for example "blank_frames".
        message: what was found, in a sentence without its end mark.
        figure: the number behind it, in the unit that the message names.
        remedy: what to do about it; empty where nothing needs doing.
    """

    severity: Severity
    code: str
    message: str
    figure: float
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.severity}: {self.message}" + (f"; {self.remedy}" if self.remedy else "")


@dataclasses.dataclass(frozen=True)
class Report:
    """All findings about the inputs of one video."""

    findings: tuple[Finding, ...] = ()
    strict: bool = False
    """Whether a warning refuses too."""

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings))

    def __add__(self, findings: "Iterable[Finding]") -> "Report":
        return dataclasses.replace(self, findings=(*self.findings, *findings))

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """What forbids the video."""
        severities = ("refusal", "warning") if self.strict else ("refusal",)
        return tuple(finding for finding in self.findings if finding.severity in severities)

    @property
    def refused(self) -> bool:
        """Whether the video cannot be made."""
        return bool(self.refusals)

    def of(self, *severities: Severity) -> tuple[Finding, ...]:
        """The findings of these severities."""
        return tuple(finding for finding in self.findings if finding.severity in severities)

    def has(self, code: str) -> bool:
        """Whether there is a finding of this code."""
        return any(finding.code == code for finding in self.findings)

    def check(self) -> None:
        """Raise the refusals.

        Raises:
            UserError: there are any; the message is theirs.
        """
        if self.refused:
            texts = [str(finding).partition(": ")[2] for finding in self.refusals]
            raise UserError(" | ".join(texts) + (" (--strict)" if self._only_strict else ""))

    @property
    def _only_strict(self) -> bool:
        return self.strict and not self.of("refusal")
