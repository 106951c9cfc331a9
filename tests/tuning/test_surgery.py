"""Surgery: layers found by name as in peft, exchanged, frozen, counted; light imports."""

import subprocess
import sys

import pytest
import torch
from peft.tuners.tuners_utils import check_target_module_exists
from tiny_models import make_gpt2, make_llama, make_ours
from torch import nn

from course_utils.tuning.nf4 import quantize_linears
from course_utils.tuning.surgery import (
    check_same,
    find_layers,
    freeze,
    layer_sizes,
    parameter_counts,
    replace_layer,
    shared_weights,
)


class Targets:
    """What peft's matching reads of a configuration."""

    exclude_modules = None

    def __init__(self, target_modules):
        self.target_modules = target_modules


@pytest.mark.parametrize(
    "targets",
    [
        ["q_proj"],
        ["self_attn.v_proj", "model.layers.1.mlp.up_proj"],
        r"model\.layers\.[12]\.mlp\.\w+",
        r".*lm_head",
    ],
    ids=str,
)
def test_names_match_as_in_peft(llama, targets):
    linear = [n for n, m in llama.named_modules() if isinstance(m, nn.Linear)]
    expected = [n for n in linear if check_target_module_exists(Targets(targets), n)]
    assert expected and list(find_layers(llama, targets)) == expected


def test_an_ending_is_cut_at_a_dot():
    model = nn.ModuleDict({"up": nn.Linear(2, 3), "warm_up": nn.Linear(2, 3)})
    assert list(find_layers(model, ["up"])) == ["up"]


@pytest.mark.parametrize(
    ("make", "count"), [(make_llama, 21), (make_ours, 12), (make_gpt2, 8)], ids=["l", "o", "g"]
)
def test_all_linear_leaves_the_output_out(make, count):
    found = find_layers(make(), "all-linear")
    assert len(found) == count
    assert not any("head" in name for name in found)


def test_sizes_are_inputs_then_outputs():
    assert layer_sizes(nn.Linear(3, 7)) == (3, 7)
    (name, layer), *_ = find_layers(make_gpt2(), ["attn.c_attn"]).items()
    assert layer_sizes(layer) == (66, 198)
    assert name == "transformer.h.0.attn.c_attn"


def test_replacing_freezing_and_counting(ours):
    replace_layer(ours, "stack.blocks.1.attention.out", nn.Linear(84, 84))
    assert ours.stack.blocks[1].attention.out.bias is not None
    freeze(ours)
    assert parameter_counts(ours)[0] == 0
    ours.head.weight.requires_grad_(True)
    assert parameter_counts(ours)[0] == 97 * 84


def test_quantised_matrices_count_with_all_their_numbers():
    total = parameter_counts(make_ours())[1]
    assert parameter_counts(quantize_linears(make_ours())) == (2 * 97 * 84 + 7 * 84, total)


def test_shared_matrices_are_found():
    tied, free = make_llama(tie_word_embeddings=True), make_llama()
    assert shared_weights(tied, [tied.lm_head]) == ["model.embed_tokens"]
    assert shared_weights(free, [free.lm_head]) == []


def test_differences_are_named():
    one = {"a": torch.zeros(2), "b": torch.zeros(3)}
    check_same(one, dict(one))
    with pytest.raises(
        ValueError, match=r"2 weights do not fit: b: model \(3,\), stored \(5,\); c"
    ):
        check_same(one, {"a": torch.zeros(2), "b": torch.zeros(5), "c": torch.zeros(1)})


def test_the_room_loads_no_heavy_library():
    code = "import sys, course_utils.tuning; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"transformers", "peft", "datasets", "bitsandbytes"} & set(done.stdout.split()) == set()
