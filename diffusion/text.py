"""Sentences to embeddings, through a frozen CLIP text encoder."""

from pathlib import Path

import torch
from transformers import CLIPTextModel, CLIPTokenizer

from utils.errors import UserError


def load_text_encoder(
    path: str | Path, tokenizer_path: str | Path | None = None
) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Load a CLIP text encoder and its tokenizer from local folders, the encoder frozen in eval mode.

    Args:
        path: the text encoder's folder (openai/clip-vit-large-patch14's layout, or a pipeline's
            text_encoder).
        tokenizer_path: the tokenizer's folder; by default `path` itself where it holds one, else `tokenizer`
            beside it.

    Raises:
        UserError: a folder is missing or does not hold what it should.
    """
    path = Path(path)
    if tokenizer_path is None:
        inside = any((path / name).is_file() for name in ("tokenizer.json", "vocab.json"))
        tokenizer_path = path if inside else path.parent / "tokenizer"
    try:
        tokenizer = CLIPTokenizer.from_pretrained(tokenizer_path, local_files_only=True)
        text_encoder = CLIPTextModel.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise UserError(
            f"cannot load a CLIP text encoder from {path} with the tokenizer in {tokenizer_path}: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error
    return tokenizer, text_encoder.eval().requires_grad_(False)


@torch.no_grad()
def encode_prompts(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, prompts: list[str]) -> torch.Tensor:
    """Encode sentences as the last hidden state of every token.

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
    return text_encoder(tokens.input_ids.to(text_encoder.device)).last_hidden_state
