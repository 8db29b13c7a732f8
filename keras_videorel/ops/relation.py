"""The generalized non-local operation Z = r(X, Y) of Relational LSTM (Sec. 3, Eq. 1, 2, 4)."""

import math

from keras import backend, ops

from keras_videorel.checks import check_choice

COMPATIBILITIES = ("embedded_gaussian", "gaussian", "dot_product", "concatenation")


def nonlocal_operation(
    x,
    y,
    theta=None,
    phi=None,
    g=None,
    *,
    compatibility="embedded_gaussian",
    w=None,
    use_scale=False,
    return_weights=False,
):
    """Compute `Z = r(X, Y)`: for each position of X, a weighted sum over the positions of Y.

    `z_i = sum_j omega_ij g(y_j)` with `omega_ij = f(x_i, y_j) / C` (Eq. 2). The embeddings
    `theta(x) = W_theta x`, `phi(y) = W_phi y` and `g(y) = W_g y` are linear. The compatibility
    `f` and its normalizer `C` are

    - `"embedded_gaussian"`: `exp(theta(x_i)^T phi(y_j))`, with its sum over j as `C` (Eq. 4);
    - `"gaussian"`: `exp(x_i^T y_j)`, with its sum over j as `C`;
    - `"dot_product"`: `theta(x_i)^T phi(y_j)`, with `C = M`;
    - `"concatenation"`: `ReLU(w^T [theta(x_i), phi(y_j)])`, with `C = M`.

    If the matrices have an axis of relations in the middle, several relations of the same X and Y
    are computed at once.

    Args:
        x: Features at N positions, `(..., N, C_x)`. For `Z = r(X, X)` (Eq. 1), pass `x` as `y`.
        y: Features at M positions, `(..., M, C_y)`.
        theta: Matrix `W_theta`, `(C_x, d)` or `(C_x, relations, d)`. `None` for `"gaussian"`,
            where `C_x` and `C_y` must be equal.
        phi: Matrix `W_phi`, `(C_y, d)` or `(C_y, relations, d)`. `None` for `"gaussian"`.
        g: Matrix `W_g`, `(C_y, C_z)` or `(C_y, relations, C_z)`. `None` for the identity.
        compatibility: One of the names above.
        w: Vector of `"concatenation"`, `(2 * d,)` or `(relations, 2 * d)`.
        use_scale: Whether to divide the dot products by the square root of d, as in scaled
            dot-product attention. Eq. 4 does not.
        return_weights: Whether to return the weights as well.

    Returns:
        `Z`, `(..., N, C_z)` or `(..., N, relations, C_z)`. With `return_weights=True`, a tuple of
        `Z` and `omega`, `(..., N, M)` or `(..., relations, N, M)`. The softmax is computed in
        float32 or wider for all dtypes of X and Y.

    Raises:
        ValueError: If the compatibility is unknown, or a matrix is missing, not needed, or has
            the wrong shape.

    Example:

    >>> x, y = np.ones((2, 49, 64)), np.ones((2, 10, 32))
    >>> theta, phi, g = np.ones((64, 16)), np.ones((32, 16)), np.ones((32, 8))
    >>> z, omega = ops.nonlocal_operation(x, y, theta, phi, g, return_weights=True)
    >>> z.shape, omega.shape
    ((2, 49, 8), (2, 49, 10))

    References:
        - [Relational Long Short-Term Memory for Video Action Recognition](
          https://arxiv.org/abs/1811.07059), Sec. 3, Eq. 1, 2 and 4.
        - [Non-local Neural Networks](https://arxiv.org/abs/1711.07971), Sec. 3.2: the other
          compatibilities.
    """
    x, y = ops.convert_to_tensor(x), ops.convert_to_tensor(y)
    _check(x, y, theta, phi, g, compatibility, w)
    queries = _with_relations(x) if theta is None else project(x, theta)
    keys = _with_relations(y) if phi is None else project(y, phi)
    values = _with_relations(y) if g is None else project(y, g)
    z, weights = attend(
        queries, keys, values, compatibility=compatibility, w=w, use_scale=use_scale
    )
    if all(matrix is None or len(matrix.shape) == 2 for matrix in (theta, phi, g)):
        z, weights = ops.squeeze(z, axis=-2), ops.squeeze(weights, axis=-3)
    return (z, weights) if return_weights else z


def project(x, kernel):
    """Embed each position of `x`, `(..., N, C)`, for all relations in one product.

    `kernel` is `(C, relations, d)`, or `(C, d)` for one relation. The result is
    `(..., N, relations, d)`.
    """
    return ops.tensordot(x, kernel if len(kernel.shape) == 3 else kernel[:, None], axes=1)


def attend(queries, keys, values, *, compatibility="embedded_gaussian", w=None, use_scale=False):
    """Compute `nonlocal_operation` of embedded features.

    Args:
        queries: `theta(X)`, `(..., N, relations, d)`.
        keys: `phi(Y)`, `(..., M, relations, d)`.
        values: `g(Y)`, `(..., M, relations, C_z)`.
        compatibility, w, use_scale: As for `nonlocal_operation`.

    Returns:
        `(Z, omega)`: `(..., N, relations, C_z)` and `(..., relations, N, M)`.
    """
    # (..., relations, positions, features): the relations are a batch of matrices.
    queries, keys, values = (ops.swapaxes(t, -2, -3) for t in (queries, keys, values))
    weights = ops.cast(_weights(queries, keys, compatibility, w, use_scale), values.dtype)
    return ops.swapaxes(ops.matmul(weights, values), -2, -3), weights


def _weights(queries, keys, compatibility, w, use_scale):
    """Return `omega`, `(..., relations, N, M)`, in float32 or wider."""
    dtype = backend.result_type(queries.dtype, keys.dtype, "float32")
    # Without a scale, exponents of some thousands are common, and float16 ends at 65504.
    queries, keys = ops.cast(queries, dtype), ops.cast(keys, dtype)
    positions = ops.cast(ops.shape(keys)[-2], dtype)
    if compatibility == "concatenation":
        w = ops.cast(w, dtype)
        of_x, of_y = ops.split(w[..., None], 2, axis=-2)  # ([relations,] d, 1)
        logits = ops.matmul(queries, of_x) + ops.swapaxes(ops.matmul(keys, of_y), -1, -2)
        return ops.relu(logits) / positions
    logits = ops.matmul(queries, ops.swapaxes(keys, -1, -2))
    if use_scale:
        logits = logits / math.sqrt(queries.shape[-1])
    if compatibility == "dot_product":
        return logits / positions
    if keys.shape[-2] == 1:
        return ops.ones_like(logits)  # Keras 3.15.1 warns of a softmax of one
    return ops.softmax(logits, axis=-1)


def _with_relations(x):
    return ops.expand_dims(x, axis=-2)


def _check(x, y, theta, phi, g, compatibility, w):
    check_choice("compatibility", compatibility, COMPATIBILITIES)
    embedded = compatibility != "gaussian"
    for name, matrix, needed in (
        ("theta", theta, embedded),
        ("phi", phi, embedded),
        ("w", w, compatibility == "concatenation"),
    ):
        if needed != (matrix is not None):
            raise ValueError(
                f"`{name}` must {'' if needed else 'not '}be given for "
                f"compatibility={compatibility!r}. Received: {name}="
                f"{None if matrix is None else f'an array of shape {tuple(matrix.shape)}'}"
            )
    for name, matrix, of, channels in (
        ("theta", theta, "x", x.shape[-1]),
        ("phi", phi, "y", y.shape[-1]),
        ("g", g, "y", y.shape[-1]),
    ):
        if matrix is not None and (len(matrix.shape) not in (2, 3) or matrix.shape[0] != channels):
            raise ValueError(
                f"`{name}` must be of shape ({channels}, size) or ({channels}, relations, size), "
                f"for {channels} channels of `{of}`. Received: shape {tuple(matrix.shape)}"
            )
    if embedded and theta.shape[1:] != phi.shape[1:]:
        raise ValueError(
            "`theta` and `phi` must embed in as many dimensions, in as many relations. "
            f"Received: theta of shape {tuple(theta.shape)}, phi of shape {tuple(phi.shape)}"
        )
    if embedded and g is not None and g.shape[1:-1] != theta.shape[1:-1]:
        raise ValueError(
            "`g` must have as many relations as `theta`. "
            f"Received: g of shape {tuple(g.shape)}, theta of shape {tuple(theta.shape)}"
        )
    if not embedded and x.shape[-1] != y.shape[-1]:
        raise ValueError(
            f"`x` and `y` must have as many channels for compatibility={compatibility!r}. "
            f"Received: {x.shape[-1]} and {y.shape[-1]}"
        )
    if w is not None and tuple(w.shape) != (*theta.shape[1:-1], 2 * theta.shape[-1]):
        raise ValueError(
            f"`w` must be of shape {(*theta.shape[1:-1], 2 * theta.shape[-1])}, for `theta` of "
            f"shape {tuple(theta.shape)}. Received: shape {tuple(w.shape)}"
        )
