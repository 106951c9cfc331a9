"""Token stream: no token lost or doubled, position restored, separators."""

import pytest
import torch

from course_utils.nn.stream import Batches, MixedBatches, cut_rows, pack_stream


def test_packing_loses_no_token_and_ends_every_document():
    documents = [[5, 6, 7], [], [8], [9, 10]]
    stream = pack_stream(documents, end_id=0).tolist()
    assert stream == [5, 6, 7, 0, 8, 0, 9, 10, 0]
    assert [t for t in stream if t] == [t for d in documents for t in d]
    assert pack_stream(documents, end_id=None).tolist() == [5, 6, 7, 8, 9, 10]


def test_a_document_with_the_separator_is_refused():
    with pytest.raises(ValueError, match="document 1 holds the separator 3"):
        pack_stream([[1, 2], [2, 3]], end_id=3)
    with pytest.raises(ValueError, match="no token"):
        pack_stream([[], []], end_id=3)


@pytest.mark.parametrize("offset", [0, 1, 4])
def test_every_token_is_a_target_exactly_once(offset):
    stream = torch.arange(37)
    rows = cut_rows(stream, 5, offset)
    targets = rows[:, 1:].flatten().tolist()
    assert targets == list(range(offset + 1, offset + 1 + len(targets)))
    assert 37 - (offset + 1 + len(targets)) < 5  # the tail is shorter than a row


def test_too_short_a_stream_is_refused():
    with pytest.raises(ValueError, match="a row needs 6 tokens"):
        cut_rows(torch.arange(5), 5)
    with pytest.raises(ValueError, match="no batch of 11 rows"):
        Batches(torch.arange(37), 5, 11)


def test_an_epoch_holds_different_rows_and_the_next_cuts_elsewhere():
    batches = Batches(torch.arange(103), 7, 3, seed=2)
    first = torch.cat([batches.next() for _ in range(batches.per_epoch)])
    assert first.shape == (batches.per_epoch * 3, 8)
    starts = first[:, 0].tolist()
    assert len(set(starts)) == len(starts)
    second = torch.cat([batches.next() for _ in range(batches.per_epoch)])
    assert batches.epoch == 1
    assert set(second[:, 0].tolist()) != set(starts)


def test_position_is_restored_also_across_an_epoch():
    one = Batches(torch.arange(103), 7, 3, seed=2)
    for _ in range(one.per_epoch + 2):
        one.next()
    state = one.state_dict()
    expected = [one.next() for _ in range(one.per_epoch)]
    other = Batches(torch.arange(103), 7, 3, seed=2)
    other.load_state_dict(state)
    for batch in expected:
        assert torch.equal(other.next(), batch)


def test_another_seed_is_another_order_and_its_position_is_refused():
    one, other = (Batches(torch.arange(103), 7, 3, seed=s) for s in (1, 2))
    assert not torch.equal(one.next(), other.next())
    with pytest.raises(ValueError, match="seed 1, not 2"):
        other.load_state_dict(one.state_dict())


def test_a_mixture_has_its_shares_and_comes_back():
    def make():
        low, high = torch.arange(103), torch.arange(1000, 1211)
        return MixedBatches([Batches(low, 7, 2, seed=3), Batches(high, 7, 5, seed=5)])

    mixed = make()
    batch = mixed.next()
    assert (batch < 1000).all(dim=1).sum() == 2
    assert (batch >= 1000).all(dim=1).sum() == 5
    other = make()
    other.load_state_dict(mixed.state_dict())
    assert torch.equal(other.next(), mixed.next())
