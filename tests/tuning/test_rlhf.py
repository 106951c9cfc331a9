"""Reward model, RLHF loop, training on pairs, constitution: small models that must really learn."""

import copy

import pytest
import torch

from course_utils.nn.blocks import Recipe
from course_utils.nn.families import Decoder
from course_utils.tuning import inject_lora, rlhf
from course_utils.tuning import preference_training as pt
from course_utils.tuning import reward_model as rm
from course_utils.tuning.constitution import CONSTITUTION, critique_and_revise

PAD, END, V = 0, 1, 23
HOW = rlhf.Sampling(new_tokens=7, end_id=END, pad_id=PAD, temperature=0.9)


def make_decoder(positions="rotary", seed=0):
    torch.manual_seed(seed)
    model = Decoder(Recipe(V, 20, 3, 2, 31, context=19, positions=positions)).eval()
    # torch's N(0, 1) embeddings make tied logits so large that no two samples differ
    torch.nn.init.normal_(model.tokens.weight, std=0.2)
    return model


def likes_fives(ids, mask):
    return ((ids == 5) & mask).sum(dim=1).float()


def prompts(rows=11):
    return torch.randint(2, V, (rows, 3), generator=torch.Generator().manual_seed(1))


def written(policy, score=likes_fives, seed=2):
    make = torch.Generator().manual_seed(seed)
    return rlhf.write(policy, make_decoder(), score, prompts(53), HOW, make)


# -- reward model --------------------------------------------------------------------------------


def test_bradley_terry_by_hand():
    loss = rm.bradley_terry_loss(torch.tensor([2.0]), torch.tensor([2.0]))
    assert loss.item() == pytest.approx(0.693147, abs=1e-6)
    # a margin moves the gap, centring adds its square
    loss = rm.bradley_terry_loss(torch.tensor([3.0]), torch.tensor([1.0]), 2.0, centre=0.5)
    assert loss.item() == pytest.approx(0.693147 + 0.5 * 16, abs=1e-5)
    with pytest.raises(ValueError, match="chosen"):
        rm.bradley_terry_loss(torch.zeros(3), torch.zeros(5))


def test_pair_accuracy_is_the_area_under_the_curve():
    from sklearn.metrics import roc_auc_score

    scores = torch.randn(31, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    labels = torch.arange(31) % 3 == 0
    ours = rm.pair_accuracy(scores[labels], scores[~labels])
    assert ours == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)


def _texts(rows, token, seed):
    make = torch.Generator().manual_seed(seed)
    texts = [torch.randint(6, V, (5 + i % 4,), generator=make).tolist() for i in range(rows)]
    return [[token, *text] for text in texts]


@pytest.mark.parametrize("trunk", ["window", "decoder"])
@pytest.mark.parametrize("kind", ["labels", "pairs"])
def test_reward_model_learns(trunk, kind):
    torch.manual_seed(0)
    model = rm.RewardModel(rm.WordWindow(V, 13) if trunk == "window" else make_decoder(), dropout=0)
    good, bad = _texts(37, 5, 0), _texts(37, 4, 1)
    if kind == "labels":
        rm.fit_labels(model, good + bad, [1] * 37 + [0] * 37, steps=90, learning_rate=1e-2)
    else:
        rm.fit_pairs(model, good, bad, steps=90, learning_rate=1e-2)
    fresh = model.score(_texts(41, 5, 2)), model.score(_texts(43, 4, 3))
    assert rm.pair_accuracy(*fresh) > 0.85  # 37 texts a class: some is learned by heart


@pytest.mark.parametrize("trunk", ["window", "decoder"])
def test_padding_and_batching_change_no_score(trunk):
    torch.manual_seed(0)
    model = rm.RewardModel(rm.WordWindow(V, 13) if trunk == "window" else make_decoder())
    torch.nn.init.normal_(model.head.weight)
    rows = _texts(7, 5, 0)
    alone = torch.cat([model.score([row]) for row in rows])
    torch.testing.assert_close(model.score(rows), alone, rtol=0, atol=1e-5)


def test_normalise():
    torch.manual_seed(0)
    model = rm.RewardModel(rm.WordWindow(V, 13))
    torch.nn.init.normal_(model.head.weight)
    rows = _texts(29, 5, 0)
    for _ in range(2):  # a second time changes nothing
        model.normalise(model.score(rows))
        scores = model.score(rows)
        assert scores.mean().item() == pytest.approx(0, abs=1e-5)
        assert scores.std().item() == pytest.approx(1, abs=1e-5)


# -- the loop ------------------------------------------------------------------------------------


def test_write_masks_and_log_probs():
    policy = make_decoder(seed=3)
    out = written(policy)
    assert out.prompt == 3 and out.ids.shape[1] == 3 + out.mask.shape[1]
    for row, mask in zip(out.ids[:, 3:], out.mask, strict=True):
        real = row[mask].tolist()
        assert END not in real[:-1]
        assert (row[~mask] == PAD).all()
    with torch.no_grad():
        table = (policy(out.ids) / HOW.temperature).log_softmax(-1)
    expected = table[:, 2:-1].gather(-1, out.ids[:, 3:, None])[..., 0]
    # the same sum in another order, float32
    torch.testing.assert_close(out.logps, expected, rtol=0, atol=1e-5)


def test_kl_to_itself_is_zero():
    assert written(make_decoder()).kl.abs().max() == 0


@pytest.mark.parametrize("method", ["reinforce", "ppo"])
def test_training_raises_the_score(method):
    policy = make_decoder()
    before = written(policy)
    plan = rlhf.Plan(method, rounds=25, batch_size=32, learning_rate=1e-2, beta=0.01)
    history = rlhf.train_policy(policy, make_decoder(), likes_fives, prompts(), HOW, plan)
    after = written(policy)
    assert after.scores.mean() > before.scores.mean() + 1
    assert history[0].kl == pytest.approx(0, abs=1e-5)  # the first texts come from the reference
    assert len(history) == 25


def test_a_price_keeps_the_policy_near():
    kls = []
    for beta in (0.0, 2.0):
        policy = make_decoder()
        plan = rlhf.Plan("ppo", rounds=15, batch_size=32, learning_rate=1e-2, beta=beta)
        rlhf.train_policy(policy, make_decoder(), likes_fives, prompts(), HOW, plan)
        kls.append(written(policy).kl.mean().item())
    assert kls[1] < kls[0] / 2


def test_adaptive_price_rises_when_too_far():
    policy = make_decoder()
    plan = rlhf.Plan("ppo", rounds=15, batch_size=32, learning_rate=1e-2, beta=0.01, target_kl=0.1)
    history = rlhf.train_policy(policy, make_decoder(), likes_fives, prompts(), HOW, plan)
    assert history[-1].beta > history[0].beta


def test_same_seed_same_training_and_the_reference_stays():
    reference, policies = make_decoder(), [make_decoder(), make_decoder()]
    kept = copy.deepcopy(reference.state_dict())
    plan = rlhf.Plan("ppo", rounds=3, batch_size=13, epochs=2, minibatches=2)
    for policy in policies:
        rlhf.train_policy(policy, reference, likes_fives, prompts(), HOW, plan, seed=5)
    for one, two in zip(*(p.parameters() for p in policies), strict=True):
        assert torch.equal(one, two)
    assert all(torch.equal(kept[name], w) for name, w in reference.state_dict().items())


def test_refuses_one_object_as_both():
    model = make_decoder()
    with pytest.raises(ValueError, match="copy"):
        rlhf.train_policy(model, model, likes_fives, prompts(), HOW, rlhf.Plan())


# -- pairs ---------------------------------------------------------------------------------------


def pair_rows(samples=4):
    make = torch.Generator().manual_seed(7)
    return rlhf.ranked_pairs(
        make_decoder(), likes_fives, prompts(), HOW, samples=samples, generator=make
    )


def test_ranked_pairs():
    chosen, rejected, rollout = pair_rows()
    assert len(chosen) == len(rejected) == 11 and len(rollout.scores) == 44
    for best, worst, scores in zip(chosen, rejected, rollout.scores.view(11, 4), strict=True):
        assert best["labels"][:3] == [-100] * 3 and best["labels"][3:] == best["input_ids"][3:]
        assert best["input_ids"][:3] == worst["input_ids"][:3]
        assert best["labels"].count(5) == scores.max() - best["input_ids"][:3].count(5)


@pytest.mark.parametrize("kind", ["sigmoid", "ipo", "kto", "orpo", "simpo"])
def test_training_on_pairs(kind):
    model = make_decoder()
    pairs = pt.PairSet(*pair_rows()[:2], PAD)
    reference = pairs.all_log_probs(model)
    assert pt.accuracy_hits(reference, reference).mean() == 0.5  # all ties at the start
    pt.train_on_pairs(model, pairs, reference, kind=kind, steps=30, learning_rate=1e-2, beta=0.5)
    after = pairs.all_log_probs(model)
    assert pt.accuracy_hits(after, reference).mean() > 0.8


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_upper_part_and_cached_pairs_equal_the_whole_model(positions):
    model, rows = make_decoder(positions), pair_rows()[:2]
    inject_lora(model, r"stack\.blocks\.[12]\..*qkv", r=2)
    for weight in model.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight)
    upper = pt.UpperPart(model, 1)
    cached, plain = pt.CachedPairs(upper, *rows, PAD), pt.PairSet(*rows, PAD)
    for one, two in zip(
        vars(cached.all_log_probs(model)).values(),
        vars(plain.all_log_probs(model)).values(),
        strict=True,
    ):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="another model"):
        cached.log_probs(make_decoder(), [0])
    with pytest.raises(ValueError, match="start"):
        pt.UpperPart(model, 3)


# -- constitution --------------------------------------------------------------------------------


def test_critique_and_revise_keeps_the_talk_together():
    seen = []

    def reply(talks):
        seen.append([[m["content"] for m in talk] for talk in talks])
        return [f"r{len(seen)}.{i}" for i in range(len(talks))]

    got = critique_and_revise(reply, ["a", "b"], CONSTITUTION[:2])
    assert [(r.draft, r.critique, r.revised) for r in got] == [
        ("r1.0", "r2.0", "r3.0"),
        ("r1.1", "r2.1", "r3.1"),
    ]
    rule = CONSTITUTION[1]
    assert seen[2][1] == ["b", "r1.1", rule.critique, "r2.1", rule.revision]
    assert got[0].pair == {"prompt": "a", "chosen": "r3.0", "rejected": "r1.0"}
    with pytest.raises(ValueError, match="principles"):
        critique_and_revise(reply, ["a"], CONSTITUTION)
    with pytest.raises(ValueError, match="conversations"):
        critique_and_revise(lambda talks: ["one"], ["a", "b"], CONSTITUTION[:2])
