"""What is found in a sentence: whether there is one, and whether the text encoder knows its words."""

import re
from collections.abc import Callable

from generation.findings import Finding

WORD = re.compile(r"[^\W\d_]+", re.UNICODE)
BARE_STAND = re.compile(r"\bstands?( still)?\s*([.;,!]|$)", re.IGNORECASE)
"""What the model of motions that ships has not learned: it always stands and does something."""
Tokenize = Callable[[str], list[str]]
"""Tokens of a text, as `CLIPTokenizer.tokenize` gives them."""


def look_at_sentence(prompt: str, tokenize: Tokenize, longest: int) -> list[Finding]:
    """Look at the sentence that moves somebody.

    A word counts as known where the tokenizer has it whole: a small text encoder has seen no other.

    Args:
        prompt: the sentence.
        tokenize: the text encoder's.
        longest: tokens that the text encoder reads, with the two that begin and end a sentence.
    """
    if not prompt.strip():
        remedy = 'give --prompt a sentence, for example "She turns to her left."'
        return [
            Finding(
                severity="refusal",
                code="blank_sentence",
                message="the sentence is blank",
                figure=0,
                remedy=remedy,
            )
        ]
    words = list(dict.fromkeys(word.lower() for word in WORD.findall(prompt)))
    unknown = [word for word in words if len(tokenize(word)) > 1 or not word.isascii()]
    findings = []
    if len(unknown) == len(words):
        findings.append(
            Finding(
                severity="warning",
                code="no_known_word",
                message=f"the text encoder knows no word of {prompt!r}",
                figure=len(unknown),
                remedy='say it in plain English, for example "She turns to her left."',
            )
        )
    elif unknown:
        findings.append(
            Finding(
                severity="note",
                code="unknown_words",
                message="the text encoder does not know " + ", ".join(map(repr, unknown[:6])),
                figure=len(unknown),
                remedy="say it in other words where it matters",
            )
        )
    if BARE_STAND.search(prompt):
        findings.append(
            Finding(
                severity="warning",
                code="bare_stand",
                message="'stands' alone turns the person half to the side",
                figure=1,
                remedy='say "stands and sways"',
            )
        )
    count = len(tokenize(prompt)) + 2
    if count > longest:
        findings.append(
            Finding(
                severity="warning",
                code="long_sentence",
                message=f"the sentence has {count} tokens, of which the text encoder reads {longest}",
                figure=count,
                remedy="say the motion first and shorten the rest",
            )
        )
    return findings
