"""Peak memory of a training step in a process of its own."""

import pytest
import torch
from torch import nn

from course_utils.tuning import peak


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.value = nn.Linear(64, 64), nn.Linear(64, 64)


def test_an_unknown_method_is_refused_before_a_process_starts(tmp_path):
    with pytest.raises(ValueError, match="LoRA, QLoRA; got 'GaLore'"):
        peak.peak_bytes("GaLore", tmp_path)


def test_a_failed_process_says_why(tmp_path):
    with pytest.raises(RuntimeError, match="'LoRA' ended with 1: "):
        peak.peak_bytes("LoRA", tmp_path)


def test_the_peak_never_falls_and_counts_bytes():
    before = peak.resident_peak()
    block = torch.ones(60_000_000)  # 240 MB
    after = peak.resident_peak()
    del block
    assert after > 0.99 * before > 50e6  # the kernel counts in batches of pages
    assert peak.resident_peak() > 0.99 * after
    assert after < 1e12  # not kilobytes taken for bytes twice


@pytest.mark.parametrize(("method", "trained"), [("all weights", 4), ("LoRA", 4), ("QLoRA", 4)])
def test_what_trains(method, trained):
    model = peak.adapt(Tower(), method)
    names = [n for n, w in model.named_parameters() if w.requires_grad]
    assert len(names) == trained
    assert all("lora_" in n for n in names) == (method != "all weights")


@pytest.fixture
def tiny_encoder(tmp_path):
    """A random BERT with 8 million weights, most of them embeddings."""
    from transformers import BertConfig, BertModel

    shape = {"hidden_size": 256, "num_attention_heads": 2, "intermediate_size": 37}
    BertModel(BertConfig(num_hidden_layers=1, **shape)).save_pretrained(tmp_path)
    return tmp_path


def test_a_large_parent_does_not_count(tiny_encoder):
    block = torch.ones(300_000_000)  # 1.2 GB, more than the child needs
    assert peak.peak_bytes("loaded only", tiny_encoder) < peak.resident_peak() - 2e8
    del block


def test_all_weights_need_more_than_loading(tiny_encoder):
    low, high = (
        peak.peak_bytes(m, tiny_encoder, rows=2, length=16) for m in ("loaded only", "all weights")
    )
    assert high > low + 16 * 2**20  # gradients and means of 8 million weights take 96 MB
