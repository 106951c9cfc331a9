"""Chapter 4 - Prompt tuning: learn vectors that stand in front of the text.

A written prompt becomes P embeddings. Prompt tuning drops the words and trains the P vectors
themselves, ``P * C`` numbers, while the whole model stays frozen. One model can answer a batch
in which every row has another prompt, because a prompt is only input.

Letters: B batch, T length of the text, P length of the soft prompt, C width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.nn.cache import KVCache
from course_utils.nn.families import Decoder
from course_utils.tuning.surgery import freeze


class SoftPrompt(nn.Module):
    """P trainable vectors.

    Args:
        vectors: (P, C), their first values; kept in float32.

    Source: Lester et al. 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning",
    section 2; first values from the vocabulary: section 2.1 and figure 3b.
    """

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        if vectors.dim() != 2 or not len(vectors):
            raise ValueError(f"expected vectors (P, C) with P >= 1, got {tuple(vectors.shape)}")
        self.vectors = nn.Parameter(vectors.detach().float().clone())

    @classmethod
    def from_tokens(cls, table: Tensor, ids: Sequence[int]) -> SoftPrompt:
        """Begin with the embeddings of tokens: of a written prompt, or of the labels' names.

        Args:
            table: (V, C), the model's embeddings.
            ids: P token ids.
        """
        return cls(table.detach()[torch.tensor(list(ids), device=table.device)])

    @classmethod
    def from_vocabulary(
        cls, table: Tensor, length: int, generator: torch.Generator | None = None
    ) -> SoftPrompt:
        """Begin with the embeddings of P tokens drawn at random.

        Args:
            table: (V, C). length: P.
        """
        return cls.from_tokens(table, torch.randint(len(table), (length,), generator=generator))

    def forward(self, embedded: Tensor) -> Tensor:
        """Put the vectors in front: (B, T, C) -> (B, P + T, C)."""
        prompt = self.vectors.to(embedded.dtype).expand(len(embedded), -1, -1)  # (B, P, C)
        return torch.cat([prompt, embedded], dim=1)


class PromptTuned(nn.Module):
    """A frozen decoder behind a soft prompt: called like the decoder, answers like it.

    ``logits = model([p_1 ... p_P, e(x_1) ... e(x_T)])``, of which the last T are returned, so
    that losses and ``generate`` need not know about the prompt.

    Args:
        model: our ``Decoder`` (GPT, Llama) or a causal model of transformers; it is frozen.
        prompt: see :class:`SoftPrompt`; or P, for vectors drawn from the vocabulary; or a list
            of P token ids to begin with.

    Source: Lester et al. 2021, section 2: ``Pr(Y | [P; X])`` with gradients for P only.
    """

    def __init__(self, model: nn.Module, prompt: SoftPrompt | int | Sequence[int]) -> None:
        super().__init__()
        freeze(model)
        self.model = model
        table = embedding_table(model)
        if isinstance(prompt, int):
            prompt = SoftPrompt.from_vocabulary(table, prompt)
        elif not isinstance(prompt, SoftPrompt):
            prompt = SoftPrompt.from_tokens(table, prompt)
        if prompt.vectors.shape[1] != table.shape[1]:
            raise ValueError(
                f"the prompt is {prompt.vectors.shape[1]} wide, the model {table.shape[1]}"
            )
        self.prompt = prompt.to(table.device)

    @property
    def length(self) -> int:
        """P."""
        return len(self.prompt.vectors)

    def forward(
        self,
        ids: Tensor,
        *,
        padding_mask: Tensor | None = None,
        positions: None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Logits (B, T, V) after each token of the text.

        Args:
            ids: (B, T). padding_mask: (B, T), True or 1 = real token, on either side.
            positions: must be None: they follow from the mask.
            cache: from :meth:`new_cache`; the prompt is read with the first tokens.
        """
        if positions is not None:
            raise ValueError("a soft prompt sets the positions itself")
        begun = cache is not None and cache.filled > 0
        embedded = F.embedding(ids, embedding_table(self.model))
        if not begun:
            embedded = self.prompt(embedded)
            if padding_mask is not None:
                padding_mask = F.pad(padding_mask.bool(), (self.length, 0), value=True)
        logits = self._run(embedded, padding_mask, cache)
        return logits[:, -ids.shape[1] :]

    def new_cache(self, batch: int, length: int) -> KVCache:
        """A cache with room for the prompt and ``length`` tokens (our decoders only)."""
        return self.model.new_cache(batch, self.length + length)

    def _run(self, embedded: Tensor, mask: Tensor | None, cache: KVCache | None) -> Tensor:
        if isinstance(self.model, Decoder):
            hidden = self.model.stack(embedded, padding_mask=mask, cache=cache)
            return self.model.logits(hidden)
        if cache is not None:
            raise ValueError("a cache is for our decoders; transformers' models keep their own")
        inputs: dict[str, Any] = {"inputs_embeds": embedded, "use_cache": False}
        if mask is not None:
            # theirs counts columns, padding included; the places of real tokens are meant
            places = (mask.cumsum(1) - 1).clamp(min=0)
            inputs |= {"attention_mask": mask.long(), "position_ids": places}
        return self.model(**inputs).logits


def embedding_table(model: nn.Module) -> Tensor:
    """The model's token embeddings (V, C).

    Raises:
        TypeError: neither our decoder nor a model of transformers.
    """
    if isinstance(model, Decoder):
        return model.tokens.weight
    get = getattr(model, "get_input_embeddings", None)
    if not callable(get):
        raise TypeError(
            f"expected a decoder of ours or of transformers, got {type(model).__name__}"
        )
    return get().weight


def nearest_tokens(prompt: SoftPrompt, table: Tensor, count: int = 3) -> list[list[int]]:
    """For each vector of a prompt, the ids of the tokens that point most nearly its way.

    Largest cosines with the rows of the table: what a trained prompt "says", as far as it does.

    Source: Lester et al. 2021, section 7.
    """
    vectors = F.normalize(prompt.vectors.detach(), dim=-1)
    cosines = vectors @ F.normalize(table.detach().float(), dim=-1).T  # (P, V)
    return cosines.topk(count, dim=-1).indices.tolist()
