"""Strips answer bit for bit as the whole, on random networks and random choices of strips."""

import numpy as np
from drawn_networks import networks
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import check_strips

from keras_concurrent.tflite.strips.rewriting import strips

choices = st.fixed_dictionaries(
    {
        "shares": st.lists(st.sampled_from([0, 1, 1, 1, 2, 0.3]), min_size=1, max_size=5).filter(
            any
        ),
        "least_rows": st.sampled_from([2, 2, 5, 9]),
        "least_flops": st.sampled_from([np.inf, 0]),
        "exchange_after": st.sets(st.integers(1, 6)),
    }
)


@settings(max_examples=200, deadline=None)
@given(networks(), choices, st.integers(1, 2))
def test_strips_of_random_networks_answer_bit_for_bit_as_the_whole(file, choice, threads):
    check_strips(file, strips(file, **choice), threads)
