"""Sentences to embeddings, through a frozen CLIP text encoder."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import CLIPTextModel, CLIPTokenizer

from models.folder import load_part
from utils.errors import UserError

TOKENIZER_NAMES = ("tokenizer.json", "vocab.json")


def load_text_encoder(
    path: str | Path, tokenizer_path: str | Path | None = None
) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Load a CLIP text encoder, frozen, in float32 and eval mode, and its tokenizer from local folders.

    Args:
        path: the text encoder's folder (openai/clip-vit-large-patch14's layout, or a pipeline's
            text_encoder).
        tokenizer_path: the tokenizer's folder; by default `path` itself where it holds one, else `tokenizer`
            beside it.

    Raises:
        UserError: a folder is missing or does not hold what it should, or the two do not belong together.
    """
    path = Path(path)
    # Its file may hold CLIP's picture encoder as well.
    text_encoder = load_part(path, "text encoder", {"CLIPTextModel": CLIPTextModel})
    if tokenizer_path is None:
        tokenizer_path = path if _holds_tokenizer(path) else path.parent / "tokenizer"
    if not _holds_tokenizer(Path(tokenizer_path)):
        raise UserError(
            f"there is no tokenizer in {tokenizer_path}; give as tokenizer a folder that holds "
            f"{' or '.join(TOKENIZER_NAMES)}"
        )
    try:
        tokenizer = CLIPTokenizer.from_pretrained(tokenizer_path, local_files_only=True)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"cannot load a CLIP tokenizer from {tokenizer_path}: {reason}") from error
    if len(tokenizer) > text_encoder.config.vocab_size:
        raise UserError(
            f"the tokenizer in {tokenizer_path} knows {len(tokenizer)} tokens, the text encoder in {path} "
            f"{text_encoder.config.vocab_size}; give the tokenizer it was trained with"
        )
    limit = text_encoder.config.max_position_embeddings
    tokenizer.model_max_length = min(tokenizer.model_max_length, limit)
    return tokenizer, text_encoder


def _holds_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in TOKENIZER_NAMES)


@torch.no_grad()
def encode_prompts(
    tokenizer: CLIPTokenizer,
    text_encoder: CLIPTextModel,
    prompts: list[str],
    device: torch.device | None = None,
) -> torch.Tensor:
    """Encode sentences as the last hidden state of every token.

    Args:
        tokenizer: tokenizer of the text encoder.
        text_encoder: frozen.
        prompts: b sentences.
        device: where the text encoder computes; where it is if None.

    Returns:
        (b, n, d): n is the tokenizer's longest length (77 for CLIP; longer sentences are cut), d the
        encoder's width.
    """
    tokens = tokenizer(
        prompts,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    return text_encoder(tokens.input_ids.to(device or text_encoder.device)).last_hidden_state


class PromptCache:
    """Embeddings of sentences, each computed once.

    Args:
        tokenizer: tokenizer of the text encoder.
        text_encoder: frozen.
        max_bytes: bytes of embeddings to keep. Beyond it, the oldest sentence is forgotten.
    """

    def __init__(
        self, tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, max_bytes: int = 4 * 2**30
    ) -> None:
        self.tokenizer, self.text_encoder, self.max_bytes = tokenizer, text_encoder, max_bytes
        self._embeds: dict[str, torch.Tensor] = {}

    def __call__(self, prompts: Sequence[str]) -> torch.Tensor:
        """Embeddings (b, n, d) of sentences; those not known yet are computed together."""
        known = {text: self._embeds[text] for text in prompts if text in self._embeds}
        unseen = [text for text in dict.fromkeys(prompts) if text not in known]
        if unseen:
            new = dict(zip(unseen, encode_prompts(self.tokenizer, self.text_encoder, unseen), strict=True))
            known |= new
            self._embeds |= new
            capacity = max(1, self.max_bytes // known[unseen[0]].nbytes)
            for text in list(self._embeds)[: max(0, len(self._embeds) - capacity)]:
                del self._embeds[text]
        return torch.stack([known[text] for text in prompts])
