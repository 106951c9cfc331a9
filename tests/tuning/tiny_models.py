"""Small random models that the tests of this folder share."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from course_utils.nn.llama import Llama

# pairwise distinct primes where the architecture allows: V=97, F=37, L=3, H=6 on H_kv=2, D=14
LLAMA = {
    "vocab_size": 97,
    "hidden_size": 84,
    "intermediate_size": 37,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 131,
}
GPT2 = {"vocab_size": 97, "n_embd": 66, "n_layer": 2, "n_head": 3, "n_positions": 53}


def make_llama(**changes):
    """A transformers model with random weights, the same at every call."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**LLAMA | changes)).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, mean=float(weight.dim() == 1), std=0.2)
    return model


def make_gpt2():
    """GPT-2 with random weights and without dropout: its matrices are stored transposed."""
    torch.manual_seed(0)
    off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2LMHeadModel(GPT2Config(**GPT2, **off)).eval()


def make_ours(**changes):
    """Our Llama with the weights of ``make_llama``."""
    theirs = make_llama(**changes)
    return Llama.from_tensors(theirs.config.to_dict(), theirs.state_dict())


def make_ids(batch=5, length=11, vocab=97):
    """Token ids (B, T), the same at every call."""
    return torch.randint(0, vocab, (batch, length), generator=torch.Generator().manual_seed(1))


def logits_of(model, ids):
    """(B, T, V) of ours or transformers', without gradients."""
    with torch.no_grad():
        out = model(ids)
    return out if isinstance(out, torch.Tensor) else out.logits
