"""Relational LSTM's equations in float64 NumPy, written from the paper and from no code of ours.

Loops over positions, gates and steps where the paper has indices; one sample, no batch.
"""

import numpy as np

GATES = ("i", "f", "g", "o")  # their order in the middle axis of the weights


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def embed(matrix, vector):
    """W v, with W stored as (inputs, outputs); None is the identity."""
    return vector if matrix is None else matrix.T @ vector


def compatibility(x_i, y_j, theta, phi, form, w=None, scaled=False):
    """f(x_i, y_j): Eq. 4, or another of Non-local Neural Networks, Sec. 3.2."""
    a, b = embed(theta, x_i), embed(phi, y_j)
    if form == "concatenation":
        return max(0.0, float(w @ np.concatenate([a, b])))
    product = float(a @ b)
    if scaled:
        product /= np.sqrt(len(a))
    return product if form == "dot_product" else np.exp(product)


def attend(x, y, theta=None, phi=None, g=None, form="embedded_gaussian", w=None, scaled=False):
    """Eq. 2: Z = r(X, Y) of X (N, C_x) and Y (M, C_y), and the weights omega (N, M)."""
    n, m = len(x), len(y)
    omega = np.zeros((n, m))
    for i in range(n):
        for j in range(m):
            omega[i, j] = compatibility(x[i], y[j], theta, phi, form, w, scaled)
        # C(X): the sum over the positions of Y, or their number.
        omega[i] /= omega[i].sum() if form.endswith("gaussian") else m
    z = []
    for i in range(n):
        z.append(sum(omega[i, j] * embed(g, y[j]) for j in range(m)))
    return np.stack(z), omega


def step(x, h, c, weights, scaled=False):
    """Eq. 3: one step on X (N, C), H and C (N, units); also omega of r_x and r_h by gate."""
    gates, maps_x, maps_h = {}, [], []
    for k, gate in enumerate(GATES):
        r_x, omega_x = attend(
            x,
            x,
            weights["theta_x"][:, k],
            weights["phi_x"][:, k],
            weights["g_x"][:, k],
            scaled=scaled,
        )
        r_h, omega_h = attend(
            x,
            h,
            weights["theta_h"][:, k],
            weights["phi_h"][:, k],
            weights["g_h"][:, k],
            scaled=scaled,
        )
        total = r_x + r_h
        if "bias" in weights:
            total = total + weights["bias"][k]
        gates[gate] = np.tanh(total) if gate == "g" else sigmoid(total)
        maps_x.append(omega_x)
        maps_h.append(omega_h)
    c = gates["f"] * c + gates["i"] * gates["g"]
    h = gates["o"] * np.tanh(c)
    return h, c, np.stack(maps_x), np.stack(maps_h)


def relational_lstm(sequence, weights, h=None, c=None, mask=None, scaled=False, go_backwards=False):
    """All steps of one sample (T, H, W, C).

    Args:
        sequence: The feature maps.
        weights: Arrays by name: `theta_x`, `phi_x`, `g_x`, `theta_h`, `phi_h`, `g_h`, perhaps
            `bias`; the middle axis is the gates.
        h: H_0 (H, W, units), zeros if None.
        c: C_0, as `h`.
        mask: Booleans (T,): a step that is False leaves the states as they are.
        scaled: Multiply theta(x)^T phi(y) by 1 / sqrt(d).
        go_backwards: Take the steps from the last to the first.

    Returns:
        A dict: `outputs` (T, H, W, units) in the order of the steps taken, the last `h` and `c`
        (H, W, units), `maps_x` and `maps_h` (T, 4, H, W, H, W).
    """
    time, height, width, channels = sequence.shape
    units = weights["g_x"].shape[-1]
    positions = height * width
    h = np.zeros((positions, units)) if h is None else h.reshape(positions, units)
    c = np.zeros((positions, units)) if c is None else c.reshape(positions, units)
    outputs, maps_x, maps_h = [], [], []
    for t in reversed(range(time)) if go_backwards else range(time):
        x = sequence[t].reshape(positions, channels).astype("float64")
        h_t, c_t, omega_x, omega_h = step(x, h, c, weights, scaled)
        if mask is None or mask[t]:
            h, c = h_t, c_t
        outputs.append(h.reshape(height, width, units))
        maps_x.append(omega_x.reshape(len(GATES), height, width, height, width))
        maps_h.append(omega_h.reshape(len(GATES), height, width, height, width))
    return {
        "outputs": np.stack(outputs),
        "h": h.reshape(height, width, units),
        "c": c.reshape(height, width, units),
        "maps_x": np.stack(maps_x),
        "maps_h": np.stack(maps_h),
    }


def of_batch(sequences, weights, h=None, c=None, mask=None, scaled=False, go_backwards=False):
    """`relational_lstm` of every sample (b, T, H, W, C), stacked."""
    samples = [
        relational_lstm(
            sequence,
            weights,
            None if h is None else h[b],
            None if c is None else c[b],
            None if mask is None else mask[b],
            scaled,
            go_backwards,
        )
        for b, sequence in enumerate(sequences)
    ]
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
