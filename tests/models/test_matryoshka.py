"""The Matryoshka autoencoder by hand: each prefix reconstructs by itself."""

import torch

from prolu.models.objective import objective
from prolu.models.sae import sae_of
from prolu.spec.sae import BatchTopKSae, MatryoshkaBatchTopKSae
from prolu.spec.sparsity import NoPenalty
from tests.models.family import D_SAE, DEAD, Member, inputs


def test_the_loss_is_the_mean_over_prefixes_with_b_dec_in_each() -> None:
    sae = sae_of(MatryoshkaBatchTopKSae(d_sae=3, k=3, prefixes=[1, 3]), 3)
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(3))
        sae.W_dec.copy_(torch.eye(3))
        sae.b_dec.copy_(torch.tensor([0.0, 0.5, 0.0]))
    terms = objective(sae, torch.tensor([[2.0, 1.5, -1.0]]), sparsity=NoPenalty(), over="sum", dead=None)
    # acts = (2, 1, 0): the first latent alone gives (2, 0.5, 0), all give (2, 1.5, 0)
    assert terms.x_hat.tolist() == [[2, 1.5, 0]]
    assert terms.reconstruction.item() == ((1.0 + 1.0) + 1.0) / 2


def test_with_all_latents_as_the_only_prefix_it_is_batch_topk() -> None:
    whole = Member(MatryoshkaBatchTopKSae(d_sae=D_SAE, k=2, aux_k=2, prefixes=[D_SAE]), NoPenalty())
    plain = Member(BatchTopKSae(d_sae=D_SAE, k=2, aux_k=2), NoPenalty())
    found, expected = (
        objective(member.build(), inputs(), sparsity=NoPenalty(), over="mean", dead=DEAD) for member in (whole, plain)
    )
    for part in ("acts", "x_hat", "reconstruction", "auxiliary"):
        torch.testing.assert_close(getattr(found, part), getattr(expected, part))
