"""Train the small CLIP text encoder and its tokenizer on the sentences of the synthetic dataset.

Try it:

    python -m recipe.train_text_encoder --output_dir runs/try_text --max_train_steps 20
    python -m recipe.train_text_encoder --output_dir runs/text

The encoder learns to tell which motions a sentence asks for, in which order. The denoiser then attends to its
tokens. Writes output_dir/text_encoder, output_dir/tokenizer and metrics.json (accuracy on wordings never
trained on).
"""

import dataclasses
import string
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from data.synthetic.wordings import MOTIONS, sample_wording
from training.loop import learning_rate_at, set_learning_rate
from utils.config import check_minimum, run_script, save_config
from utils.devices import choose_device
from utils.errors import UserError
from utils.files import atomic_folder, check_output_dir, write_json

MAX_TOKENS = 32
WARMUP_STEPS = 100
START, END = "<|startoftext|>", "<|endoftext|>"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a text encoder training run."""

    output_dir: Path = Path("runs/text")
    """Gets text_encoder/, tokenizer/ and metrics.json."""
    max_train_steps: int = 1500
    """Optimisation steps."""
    train_batch_size: int = 64
    """Sentences a step."""
    learning_rate: float = 1e-3
    """AdamW's learning rate; rises over 100 steps, then falls to zero by a half cosine."""
    hidden_size: int = 128
    """Width of the token embeddings that the denoiser attends to."""
    num_layers: int = 3
    """Transformer layers."""
    word_dropout: float = 0.1
    """Probability that a word is left out of a training sentence."""
    seed: int = 0
    """Weights and sentences follow from it."""
    device: str = "auto"
    """cpu, cuda or cuda:1; auto takes a GPU where there is one."""


def draw_sentences(rng: np.random.Generator, count: int, split: str) -> tuple[list[str], torch.Tensor]:
    """Draw sentences of one or two motions, with labels (count, 2) into MOTIONS; its length is no second."""
    texts, labels = [], []
    for _ in range(count):
        motions = [
            MOTIONS[i] for i in rng.choice(len(MOTIONS), size=1 + int(rng.random() < 0.4), replace=False)
        ]
        texts.append(sample_wording(motions, rng, split))
        labels.append([MOTIONS.index(m) for m in motions] + [len(MOTIONS)] * (2 - len(motions)))
    return texts, torch.tensor(labels)


def build_tokenizer(folder: Path, sentences: list[str]) -> CLIPTokenizer:
    """Train CLIP's byte-pair tokenizer anew on `sentences`, save it and load it as a user would."""
    # With every character as a word of its own in the vocabulary, no word is unknown.
    characters = [" ".join(string.ascii_lowercase + string.digits + string.punctuation)]
    untrained = CLIPTokenizer(vocab={START: 0, END: 1}, merges=[])
    corpus = sentences + characters
    tokenizer = untrained.train_new_from_iterator(corpus, vocab_size=1024, show_progress=False)
    tokenizer.model_max_length = MAX_TOKENS
    with atomic_folder(folder) as new:
        tokenizer.save_pretrained(new)
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


class MotionHead(nn.Module):
    """Reads the first and the second motion off a sentence's pooled embedding; used in training only."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, 2 * (len(MOTIONS) + 1))

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """(b, d) to logits (b, motions + 1, 2)."""
        return self.linear(pooled).unflatten(1, (len(MOTIONS) + 1, 2))


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """Token ids (b, MAX_TOKENS), padded."""
    return tokenizer(
        texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    ).input_ids


@torch.no_grad()
def accuracy(
    text_encoder: CLIPTextModel,
    head: MotionHead,
    tokenizer: CLIPTokenizer,
    split: str,
    seed: int,
    count: int = 1000,
) -> float:
    """Share of sentences of a split whose motions are all read rightly."""
    texts, labels = draw_sentences(np.random.default_rng([seed, 7]), count, split)
    tokens = tokenize(tokenizer, texts).to(text_encoder.device)
    predicted = head(text_encoder(tokens).pooler_output).argmax(1).cpu()
    return (predicted == labels).all(1).float().mean().item()


def main(config: Config) -> None:
    """Train the tokenizer, then the encoder."""
    check_minimum(config, 1, "max_train_steps", "train_batch_size", "hidden_size", "num_layers")
    check_output_dir(config.output_dir)
    if (config.output_dir / "text_encoder").exists():
        raise UserError(f"{config.output_dir} holds a text encoder; choose another --output_dir")
    device = choose_device(config.device)
    texts, _ = draw_sentences(np.random.default_rng([config.seed, 0]), 20_000, "train")
    tokenizer = build_tokenizer(config.output_dir / "tokenizer", texts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=config.hidden_size,
                intermediate_size=4 * config.hidden_size,
                num_hidden_layers=config.num_layers,
                num_attention_heads=4,
                max_position_embeddings=MAX_TOKENS,
                projection_dim=config.hidden_size,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        head = MotionHead(config.hidden_size)
    text_encoder.to(device)
    head.to(device)
    parameters = [*text_encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.01)

    # Train on fresh sentences, with words left out so that no single one carries the meaning.
    progress = tqdm(range(config.max_train_steps), desc="train text encoder", unit="step", dynamic_ncols=True)
    for step in progress:
        rng = np.random.default_rng([config.seed, 1, step])
        texts, labels = draw_sentences(rng, config.train_batch_size, "train")
        texts = [" ".join(w for w in text.split() if rng.random() >= config.word_dropout) for text in texts]
        rate = learning_rate_at(step, config.learning_rate, WARMUP_STEPS, config.max_train_steps)
        set_learning_rate(optimizer, rate)
        tokens = tokenize(tokenizer, texts).to(device)
        loss = functional.cross_entropy(head(text_encoder(tokens).pooler_output), labels.to(device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        progress.set_postfix(loss=f"{loss.item():.4f}")

    # Save, and measure on wordings that were kept for test.
    with atomic_folder(config.output_dir / "text_encoder") as folder:
        text_encoder.eval().save_pretrained(folder)
    save_config(config, config.output_dir / "config.json")
    metrics = {
        f"accuracy_{split}_wordings": accuracy(text_encoder, head, tokenizer, split, config.seed)
        for split in ("train", "test")
    }
    write_json(config.output_dir / "metrics.json", metrics)
    print(f"{metrics}; the encoder and its tokenizer are in {config.output_dir}")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
