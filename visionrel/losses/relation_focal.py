"""Relation-focal importance sampling of timesteps, from ReVersion."""

import math

import numpy as np
import torch
from torch import Tensor


def relation_focal_probabilities(num_timesteps: int, alpha: float = 0.5) -> Tensor:
    r"""Probability of each training timestep, larger where the picture is noisier.

    "ReVersion: Diffusion-Based Relation Inversion from Images" (arXiv 2303.13495),
    relation-focal importance sampling: high-level content such as a relation is settled at large
    (noisy) timesteps, so these are drawn more often. The paper gives the density
    :math:`f(t) = (1 - \alpha \cos(\pi t / T)) / T`; over the whole steps t = 0..T-1 it sums to
    :math:`1 - \alpha / T`, hence, normalised as in the authors' code,

    .. math::
        p(t) = \frac{1 - \alpha \cos(\pi t / T)}{T - \alpha}

    Despite the name the denoising loss is *not* divided by p(t): this changes the training
    distribution, it is no unbiased estimator.

    Args:
        num_timesteps: T, the length of the noise schedule, at least 1.
        alpha: strength in [0, 1]; 0 is uniform, 1 never draws t = 0. The paper chose 0.5, which
            makes the last step three times as likely as the first.

    Returns:
        Probabilities, shape (num_timesteps,), float64, non-decreasing, with sum 1.

    Example:
        >>> relation_focal_probabilities(4, alpha=0.5)
        tensor([0.1429, 0.1847, 0.2857, 0.3867], dtype=torch.float64)
    """
    if num_timesteps < 1 or num_timesteps != int(num_timesteps):
        raise ValueError(
            f"`num_timesteps` must be a whole number of at least 1, got {num_timesteps}; pass the "
            "noise scheduler's `num_train_timesteps`."
        )
    if not 0 <= alpha <= 1:
        raise ValueError(
            f"`alpha` must lie in [0, 1], got {alpha}: a larger one makes p(0) negative, a smaller "
            "one prefers clean pictures; the paper uses 0.5."
        )
    if num_timesteps == 1:  # 0 / 0 in the formula when alpha is 1
        return torch.ones(1, dtype=torch.float64)
    angles = torch.arange(int(num_timesteps), dtype=torch.float64) * (math.pi / num_timesteps)
    return (1 - alpha * angles.cos()) / (num_timesteps - alpha)


def focal_probabilities_at(alphas_cumprod: Tensor, alpha: float = 0.5) -> Tensor:
    r"""Carries relation-focal sampling over to another noise schedule than Stable Diffusion's.

    The paper's f weighs the steps t of Stable Diffusion, but what a step shows is decided by its
    signal-to-noise ratio. So each step of another schedule counts as the step
    :math:`\tau(t)` of Stable Diffusion with the same ratio:

    .. math::
        p(t) \propto f(\tau(t))\, \tau'(t)

    Steps noisier than Stable Diffusion's last are never drawn: a small picture shows nothing
    there, and the token would learn where the exemplars' objects stand. The authors have Stable
    Diffusion's schedule alone, for which this is :func:`relation_focal_probabilities`.

    Args:
        alphas_cumprod: the schedule's products of (1 - beta), shape (num_timesteps,), falling.
        alpha: strength in [0, 1]; 0 is uniform over the steps of Stable Diffusion.

    Returns:
        Probabilities, shape (num_timesteps,), float64, with sum 1.

    Errors:
        ValueError: the schedule has no two steps as noisy as Stable Diffusion's.
    """
    published = _stable_diffusion_schedule()
    focal = relation_focal_probabilities(len(published), alpha)
    given = alphas_cumprod.detach().double().cpu()
    if given.shape == published.shape and torch.allclose(given, published, rtol=1e-4, atol=1e-6):
        return focal
    steps = np.arange(len(published))
    noise, known = _log_noise(given), _log_noise(published)
    places = np.interp(noise, known, steps, right=len(published))
    if ((places > 0) & (places < len(published))).sum() < 2:
        raise ValueError(
            "`alphas_cumprod` has no two steps whose noise lies within Stable Diffusion's; train "
            "without relation-focal sampling."
        )
    weights = np.interp(places, steps, focal.numpy()) * np.gradient(places)
    weights[places >= len(published)] = 0
    return torch.from_numpy(weights / weights.sum())


def _stable_diffusion_schedule() -> Tensor:
    """Products of (1 - beta) of Stable Diffusion 1.5: scaled-linear betas, 1000 steps."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0)


def _log_noise(alphas_cumprod: Tensor) -> np.ndarray:
    """Negative logarithm of the signal-to-noise ratio; it rises from step to step."""
    return (torch.log1p(-alphas_cumprod) - alphas_cumprod.log()).numpy()


def sample_timesteps(
    probabilities: Tensor, count: int, random: np.random.Generator | np.random.RandomState
) -> Tensor:
    """Draw independent timesteps by inverting the cumulative distribution.

    The draws equal ``random.choice(len(probabilities), size=count, p=probabilities)``, the call of
    the authors' code, without its checks of the whole array at every batch.

    Args:
        probabilities: shape (num_timesteps,), from :func:`relation_focal_probabilities`.
        count: how many timesteps to draw, with replacement.
        random: a NumPy generator, new or legacy style; it advances by ``count`` uniforms.

    Returns:
        Timesteps, shape (count,), int64, on the CPU.

    Example:
        >>> focal = relation_focal_probabilities(1000)
        >>> sample_timesteps(focal, 2, np.random.RandomState(2023))
        tensor([480, 926])
    """
    if probabilities.ndim != 1 or probabilities.numel() == 0:
        raise ValueError(
            f"`probabilities` must have shape (num_timesteps,), got {tuple(probabilities.shape)}; "
            "pass the result of relation_focal_probabilities."
        )
    cumulative = probabilities.double().cpu().numpy().cumsum()
    cumulative /= cumulative[-1]
    drawn = np.searchsorted(cumulative, random.random(count), side="right")
    return torch.from_numpy(drawn.astype(np.int64))
