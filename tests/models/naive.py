"""The family again, written from the papers' formulas number by number: slow, and with nothing to get wrong but the formula.

A synthetic gradient g -> c * g of a value with respect to p is written as value + c * (p - p.detach()), which adds nothing
to the value.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from prolu.models.sae import Sae
from prolu.spec.sae import (
    BatchTopKSae,
    GatedSae,
    JumpReluSae,
    MatryoshkaBatchTopKSae,
    ProluHybridSae,
    ProluSae,
    ReluSae,
    TopKSae,
)
from prolu.spec.sparsity import L0, L1, L1DecoderNorm, NoPenalty, SparsitySpec, SqrtL1, Tanh

Matrix = list[list[Tensor]]


@dataclass(frozen=True)
class NaiveTerms:
    """What `objective` returns."""

    acts: Tensor
    x_hat: Tensor
    reconstruction: Tensor
    penalty: Tensor
    auxiliary: Tensor


def naive_encode(sae: Sae, x: Tensor) -> Tensor:
    """Return the acts of inference."""
    return _stacked(_Naive(sae, x).acts(training=False))


def naive_terms(sae: Sae, x: Tensor, sparsity: SparsitySpec, over: str, dead: Tensor) -> NaiveTerms:
    """Return the terms of training."""
    naive = _Naive(sae, x)
    acts = naive.acts(training=True)
    x_hat = naive.decode(acts, range(naive.d_sae))
    prefixes = sae.spec.prefixes if isinstance(sae.spec, MatryoshkaBatchTopKSae) else [naive.d_sae]
    losses = [naive.error(naive.decode(acts, range(prefix)), naive.x, over) for prefix in prefixes]
    return NaiveTerms(
        acts=_stacked(acts),
        x_hat=_stacked(x_hat),
        reconstruction=sum(losses, _zero()) / len(losses),
        penalty=naive.penalty(acts, sparsity),
        auxiliary=naive.auxiliary(x_hat, over, dead),
    )


class _Naive:
    def __init__(self, sae: Sae, x: Tensor) -> None:
        self.sae, self.spec = sae, sae.spec
        self.x = [list(row) for row in x]
        self.batch, self.d_in, self.d_sae = len(x), sae.d_in, sae.d_sae
        self.m = [
            [sum(((x[t, j] - sae.b_dec[j]) * sae.W_enc[j, i] for j in range(self.d_in)), _zero()) for i in self.latents]
            for t in range(self.batch)
        ]

    @property
    def latents(self) -> range:
        return range(self.d_sae)

    def z(self, t: int, i: int) -> Tensor:
        return self.m[t][i] + self.sae.b_enc[i]

    def acts(self, *, training: bool) -> Matrix:
        match self.spec:
            case TopKSae(k=k):
                return [self._keep([(t, i) for i in self.latents], k)[t] for t in range(self.batch)]
            case BatchTopKSae(k=k) | MatryoshkaBatchTopKSae(k=k) if training:
                return self._keep([(t, i) for t in range(self.batch) for i in self.latents], k * self.batch)
        return [[self._act(t, i) for i in self.latents] for t in range(self.batch)]

    def _keep(self, places: list[tuple[int, int]], number: int) -> Matrix:
        acts = [[_zero() for _ in self.latents] for _ in range(self.batch)]
        for t, i in sorted(places, key=lambda place: -self.z(*place).item())[:number]:
            acts[t][i] = _relu(self.z(t, i))
        return acts

    def _act(self, t: int, i: int) -> Tensor:
        m, sae = self.m[t][i], self.sae
        match self.spec:
            case ReluSae():
                return _relu(m + sae.b_enc[i])
            case ProluSae(estimator=estimator):
                return _prolu(m, sae.b_enc[i], estimator.kind)
            case ProluHybridSae(estimator=estimator):
                b = sae.b_enc[i]
                return _prolu(m, b, estimator.kind) if b < 0 else _relu(m + b)
            case JumpReluSae(bandwidth=bandwidth):
                z, theta = self.z(t, i), sae.threshold[i]
                value = _relu(z) if z > theta else 0 * z
                return value - theta.detach() * _kernel(z, theta, bandwidth) * (theta - theta.detach())
            case GatedSae():
                magnitude = _relu(torch.exp(sae.r_mag[i]) * m + sae.b_mag[i])
                return magnitude if m + sae.b_gate[i] > 0 else 0 * magnitude
            case _:  # a batch kind at inference
                z = self.z(t, i)
                return _relu(z) if z > sae.threshold else 0 * z

    def decode(self, acts: Matrix, latents: range, *, b_dec: bool = True) -> Matrix:
        W_dec, zero = self.sae.W_dec, _zero()
        return [
            [
                sum((row[i] * W_dec[i, j] for i in latents), zero) + (self.sae.b_dec[j] if b_dec else zero)
                for j in range(self.d_in)
            ]
            for row in acts
        ]

    def error(self, x_hat: Matrix, x: Matrix, over: str) -> Tensor:
        total = sum(((x_hat[t][j] - x[t][j]) ** 2 for t in range(self.batch) for j in range(self.d_in)), _zero())
        return total / self.batch / (self.d_in if over == "mean" else 1)

    def penalty(self, acts: Matrix, sparsity: SparsitySpec) -> Tensor:
        paid = [[self._paid(acts, t, i, sparsity) for i in self.latents] for t in range(self.batch)]
        return sum((one for row in paid for one in row), _zero()) / self.batch

    def _paid(self, acts: Matrix, t: int, i: int, sparsity: SparsitySpec) -> Tensor:
        act, row = acts[t][i], self.sae.W_dec[i]
        if isinstance(self.spec, GatedSae):
            act, row = _relu(self.m[t][i] + self.sae.b_gate[i]), row.detach()
        norm = torch.sqrt(sum((row[j] ** 2 for j in range(self.d_in)), _zero()))
        match sparsity:
            case NoPenalty():
                return _zero()
            case L1():
                return act
            case SqrtL1(epsilon=epsilon):
                return torch.sqrt(act + epsilon)
            case L1DecoderNorm():
                return act * norm
            case Tanh(scale=scale):
                return torch.tanh(scale * act * norm)
            case L0() if isinstance(self.spec, JumpReluSae):
                z, theta = self.z(t, i).detach(), self.sae.threshold[i]
                fires = (z > theta).to(z.dtype)
                return fires - _kernel(z, theta, self.spec.bandwidth) * (theta - theta.detach())
        raise AssertionError(sparsity)

    def auxiliary(self, x_hat: Matrix, over: str, dead: Tensor) -> Tensor:
        match self.spec:
            case GatedSae(auxiliary_coefficient=coefficient):
                W_dec, b_dec = self.sae.W_dec.detach(), self.sae.b_dec.detach()
                by_the_gates = [
                    [
                        sum((_relu(row[i] + self.sae.b_gate[i]) * W_dec[i, j] for i in self.latents), b_dec[j])
                        for j in range(self.d_in)
                    ]
                    for row in self.m
                ]
                return coefficient * self.error(by_the_gates, self.x, over)
            case TopKSae() | BatchTopKSae() | MatryoshkaBatchTopKSae() as spec:
                the_dead = [i for i in self.latents if dead[i]]
                acts = [self._keep([(t, i) for i in the_dead], spec.aux_k or 0)[t] for t in range(self.batch)]
                e_hat = self.decode(acts, self.latents, b_dec=False)
                e = [[(self.x[t][j] - x_hat[t][j]).detach() for j in range(self.d_in)] for t in range(self.batch)]
                return spec.aux_coefficient * self.error(e_hat, e, over)
        return _zero()


def _zero() -> Tensor:
    return torch.zeros((), dtype=torch.float64)


def _relu(z: Tensor) -> Tensor:
    return z if z > 0 else 0 * z


def _prolu(m: Tensor, b: Tensor, estimator: str) -> Tensor:
    if not (m > 0 and m + b > 0):
        return 0 * m
    for_m, for_b = m - m.detach(), b - b.detach()
    return m + for_b if estimator == "relu_like" else m + m.detach() * (for_m + for_b)


def _kernel(z: Tensor, theta: Tensor, bandwidth: float) -> float:
    return 1 / bandwidth if abs((z - theta).item() / bandwidth) < 0.5 else 0.0


def _stacked(rows: Matrix) -> Tensor:
    return torch.stack([torch.stack(row) for row in rows])
