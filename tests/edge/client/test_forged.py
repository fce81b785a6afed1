"""A board whose keys are an attacker's: what it sends in the place of others counts for nothing."""

import numpy as np
import pytest
from in_process import running

from keras_concurrent.board import CLIENT
from keras_concurrent.edge.link.protocol import Tensor, encode
from keras_concurrent.edge.watch.bench import compare, random_images, reference
from keras_concurrent.errors import BoardError

IMAGES = 100
COMPLAINT = "that another"  # board, or participant, is to send


def rogue_of(bundle):
    """A board that owns no final answer."""
    placement = bundle.placement("boards")
    return next(b for b in placement.programs if b not in placement.senders_to(CLIENT).values())


def forged(bundle, client, receiver, rogue, image, routes):
    """Tensors of an image that the rogue is not to send on the current route, with its own values.

    Yields:
        What travels.
    """
    requests = client._requests
    senders = requests.placement(requests.route).senders_to(receiver)
    for name, sender in senders.items():
        spec = bundle.manifest.tensors[name]
        for route in routes:
            if sender != rogue:
                content = np.full(spec.shape, 7, spec.dtype).tobytes()
                number = bundle.manifest.tensor_numbers[name]
                yield encode(Tensor(client._dispatch.session, image, route, number, content))


def attack(bundle, client, exchange, rogue, receivers, image, routes):
    """Send each receiver all that can be forged; how much that is."""
    sent = 0
    for receiver in receivers:
        for said in forged(bundle, client, receiver, rogue, image, routes):
            exchange.hand_over(rogue, receiver, *said)
            sent += 1
    return sent


@pytest.mark.parametrize("at_client", [True, False])
def test_no_tensor_in_anothers_place_is_taken(bundle, caplog, at_client):
    images, rogue = random_images(bundle, 8), rogue_of(bundle)
    expected = reference(bundle, images)
    sent = wrong = 0
    with running(bundle) as (client, exchange, boards):
        others = [CLIENT] if at_client else [b.name for b in boards if b.name != rogue]
        for number in range(IMAGES):
            current = [client._requests.route]
            image = client._requests._images + 1
            if not at_client:  # before the board has anything of the image
                sent += attack(bundle, client, exchange, rogue, others, image, current)
            future = client.submit(images[number % 8], deadline_s=5)
            if at_client:  # before the true answer comes
                sent += attack(bundle, client, exchange, rogue, others, image, current)
            answer = future.result()["classes"]
            wrong += not np.array_equal(answer, expected[number % 8]["classes"])
    assert sent >= IMAGES
    assert wrong == 0
    said = [record.message for record in caplog.records if COMPLAINT in record.message]
    assert len(said) == len(set(said)) > 0  # once by each that was sent any
    assert all(f": {rogue} sent " in line for line in said)


def test_a_route_that_stands_by_lets_no_one_send_in_anothers_place(bundle):
    images, rogue = random_images(bundle, 4), rogue_of(bundle)
    expected = reference(bundle, images)
    sent = wrong = 0
    with running(bundle) as (client, exchange, boards):
        client.wait_ready(5)
        routes = client._requests.routes()
        everyone = [CLIENT, *(b.name for b in boards if b.name != rogue)]
        for number in range(20):
            image = client._requests._images + 1
            future = client.submit(images[number % 4], deadline_s=0.5)
            sent += attack(bundle, client, exchange, rogue, everyone, image, routes)
            try:
                answer = future.result()["classes"]
            except BoardError:  # it can hinder an answer, as by sending nothing
                continue
            wrong += not np.array_equal(answer, expected[number % 4]["classes"])
    assert sent > 20 * len(everyone)
    assert wrong == 0


def test_who_sends_what_is_theirs_is_heard_on_every_route(bundle, caplog):
    images = random_images(bundle, 5)
    expected = reference(bundle, images)
    for placement in ("boards", "one_board"):
        with running(bundle, placement) as (client, _, _):
            assert compare([client.infer(i) for i in images], expected) == (0.0, 0)
    lost = sorted(bundle.placement("boards").programs)[-1]
    with running(bundle) as (client, exchange, _):
        assert compare([client.infer(i) for i in images], expected) == (0.0, 0)
        exchange.leave(lost)
        assert compare([client.infer(i) for i in images], expected) == (0.0, 0)
        assert client.absent == (lost,)
    assert COMPLAINT not in caplog.text
