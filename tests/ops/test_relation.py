"""The generalized non-local operation against a float64 loop over positions."""

import keras
import numpy as np
import pytest

from keras_videorel.ops import nonlocal_operation
from tests.layers.relational_reference import attend
from tests.layers.tensors import array, normal

N, M, C_X, C_Y, D, C_Z, R = 5, 7, 4, 6, 3, 2, 3
FORMS = ("embedded_gaussian", "gaussian", "dot_product", "concatenation")


def make(form, lead=(), relations=False, identity=False):
    """Float32 arguments of one call."""
    r = (R,) if relations else ()
    c_y = C_X if form == "gaussian" else C_Y  # x^T y
    arguments = {"x": normal((*lead, N, C_X), 1), "y": normal((*lead, M, c_y), 2)}
    if form != "gaussian":
        arguments["theta"] = normal((C_X, *r, D), 3)
        arguments["phi"] = normal((c_y, *r, D), 4, 0.5)
    if form == "concatenation":
        arguments["w"] = normal((*r, 2 * D), 5)
    if not identity:
        arguments["g"] = normal((c_y, *r, C_Z), 6)
    return arguments


def expect(arguments, form, scaled=False, relations=False):
    """(Z, omega) of the reference, sample by sample and relation by relation."""
    arguments = {name: value.astype("float64") for name, value in arguments.items()}
    x, y = arguments.pop("x"), arguments.pop("y")
    w = arguments.pop("w", None)
    lead = x.shape[:-2]
    zs, omegas = [], []
    for index in np.ndindex(*lead):
        if not relations:
            z, omega = attend(x[index], y[index], **arguments, form=form, w=w, scaled=scaled)
        else:
            each = [
                attend(
                    x[index],
                    y[index],
                    **{name: value[:, k] for name, value in arguments.items()},
                    form=form,
                    w=None if w is None else w[k],
                    scaled=scaled,
                )
                for k in range(R)
            ]
            z = np.stack([one[0] for one in each], axis=1)  # (N, R, C_z)
            omega = np.stack([one[1] for one in each])  # (R, N, M)
        zs.append(z)
        omegas.append(omega)
    z, omega = np.stack(zs), np.stack(omegas)
    return z.reshape(*lead, *z.shape[1:]), omega.reshape(*lead, *omega.shape[1:])


CASES = [
    (form, lead, relations, scaled)
    for form in FORMS
    for lead, relations, scaled in (
        ((), False, False),
        ((2,), True, True),
        ((2, 3), True, False),
        ((2, 3), False, True),
    )
    # Gaussian has no projections to multiply, concatenation no product to scale.
    if not (form == "gaussian" and relations) and not (form == "concatenation" and scaled)
]
CASES += [("gaussian", (2,), False, False), ("concatenation", (2,), True, False)]


@pytest.mark.parametrize("identity", [False, True], ids=["g", "no_g"])
@pytest.mark.parametrize(("form", "lead", "relations", "scaled"), CASES)
def test_every_form_is_the_papers(form, lead, relations, scaled, identity):
    arguments = make(form, lead, relations, identity)
    z, weights = nonlocal_operation(
        **arguments, compatibility=form, use_scale=scaled, return_weights=True
    )
    expected, omega = expect(arguments, form, scaled, relations)
    assert tuple(z.shape) == expected.shape and tuple(weights.shape) == omega.shape
    np.testing.assert_allclose(array(weights), omega, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(array(z), expected, rtol=1e-4, atol=1e-5)
    alone = nonlocal_operation(**arguments, compatibility=form, use_scale=scaled)
    np.testing.assert_allclose(array(alone), array(z), rtol=1e-5, atol=1e-6)
    if form.endswith("gaussian"):
        np.testing.assert_allclose(array(weights).sum(-1), 1, atol=1e-5)
    if form == "concatenation":
        assert (omega == 0).any() and (omega > 0).any(), "the ReLU must act"


def test_embedded_gaussian_is_the_default():
    arguments = make("embedded_gaussian", (2,))
    expected, _ = expect(arguments, "embedded_gaussian")
    np.testing.assert_allclose(array(nonlocal_operation(**arguments)), expected, atol=1e-5)


def test_scale_divides_by_the_root_of_the_embedding():
    """Theta multiplied by sqrt(d) takes the scale back."""
    arguments = make("embedded_gaussian", (2,))
    plain = array(nonlocal_operation(**arguments))
    scaled = array(nonlocal_operation(**arguments, use_scale=True))
    assert np.abs(plain - scaled).max() > 0.01
    arguments["theta"] = arguments["theta"] * np.sqrt(D).astype("float32")
    again = array(nonlocal_operation(**arguments, use_scale=True))
    np.testing.assert_allclose(again, plain, rtol=1e-4, atol=1e-5)


def test_zero_theta_attends_evenly():
    arguments = make("embedded_gaussian", (2,))
    arguments["theta"] = np.zeros_like(arguments["theta"])
    z, weights = nonlocal_operation(**arguments, return_weights=True)
    np.testing.assert_allclose(array(weights), 1 / M, atol=1e-6)
    mean = (arguments["y"] @ arguments["g"]).mean(-2, keepdims=True)
    np.testing.assert_allclose(array(z), np.broadcast_to(mean, (2, N, C_Z)), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("form", ["embedded_gaussian", "gaussian"])
def test_softmax_is_safe(form, dtype):
    """Logits of 1e4 and -1e4 pick one position; exp(1e4) itself is beyond any float."""
    x = np.asarray([[100.0, 0.0], [0.0, 100.0], [-100.0, -100.0]], "float32")
    y = np.asarray([[100.0, 0.0], [0.0, 100.0], [-100.0, 0.0], [-100.0, -50.0]], "float32")
    identity = np.eye(2, dtype="float32")
    arguments = {"x": x, "y": y, "g": identity}
    if form == "embedded_gaussian":
        arguments |= {"theta": identity, "phi": identity}
    arguments = {name: keras.ops.cast(value, dtype) for name, value in arguments.items()}
    z, weights = nonlocal_operation(**arguments, compatibility=form, return_weights=True)
    assert keras.backend.standardize_dtype(z.dtype) == dtype
    np.testing.assert_allclose(array(weights), np.eye(4)[[0, 1, 3]], atol=1e-6)
    np.testing.assert_allclose(array(z), y[[0, 1, 3]], rtol=1e-2)


def test_float16_is_near_float32():
    arguments = make("embedded_gaussian", (2,), relations=True)
    expected, _ = expect(arguments, "embedded_gaussian", True, True)
    half = {name: value.astype("float16") for name, value in arguments.items()}
    z = array(nonlocal_operation(**half, use_scale=True))
    np.testing.assert_allclose(z, expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("form", FORMS)
def test_in_a_functional_model(form):
    arguments = make(form, (2,))
    x, y = arguments.pop("x"), arguments.pop("y")
    inputs = [keras.Input(x.shape[1:]), keras.Input(y.shape[1:])]
    model = keras.Model(inputs, nonlocal_operation(*inputs, **arguments, compatibility=form))
    expected, _ = expect({"x": x, "y": y, **arguments}, form)
    np.testing.assert_allclose(model.predict([x, y], verbose=0), expected, rtol=1e-4, atol=1e-5)


ERRORS = [
    # form, arguments to leave out, arguments to set, words of the message
    ("softmax", (), {}, "compatibility.*softmax"),
    ("embedded_gaussian", ("theta",), {}, "theta"),
    ("embedded_gaussian", ("phi",), {}, "phi"),
    ("dot_product", ("theta",), {}, "theta"),
    ("concatenation", ("phi",), {}, "phi"),
    ("concatenation", ("w",), {}, "`w`"),
    ("embedded_gaussian", (), {"w": (2 * D,)}, "`w`"),
    ("dot_product", (), {"w": (2 * D,)}, "`w`"),
    ("gaussian", (), {"theta": (C_X, D)}, "theta"),
    ("gaussian", (), {"phi": (C_X, D)}, "phi"),
    ("gaussian", (), {"y": (M, C_X + 1), "g": (C_X + 1, C_Z)}, "Received"),
    ("embedded_gaussian", (), {"theta": (C_X + 1, D)}, "theta"),
    ("embedded_gaussian", (), {"phi": (C_Y + 1, D)}, "phi"),
    ("embedded_gaussian", (), {"phi": (C_Y, D + 1)}, "phi"),
    ("embedded_gaussian", (), {"g": (C_Y + 1, C_Z)}, "`g`"),
    ("embedded_gaussian", (), {"phi": (C_Y, R, D)}, "phi"),
    ("embedded_gaussian", (), {"theta": (C_X, R, D), "phi": (C_Y, R + 1, D), "g": None}, "phi"),
    ("concatenation", (), {"w": (2 * D + 1,)}, "`w`"),
]


@pytest.mark.parametrize(("form", "without", "replaced", "message"), ERRORS)
def test_errors_name_the_argument(form, without, replaced, message):
    arguments = make(form if form in FORMS else "embedded_gaussian")
    for name in without:
        del arguments[name]
    for name, shape in replaced.items():
        arguments[name] = None if shape is None else np.zeros(shape, "float32")
    with pytest.raises(ValueError, match=message) as error:
        nonlocal_operation(**arguments, compatibility=form)
    assert "Received" in str(error.value)
