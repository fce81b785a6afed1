import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_concurrent.board import CLIENT, MOBILENET, Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.errors import ClusterError
from keras_concurrent.network import ClientComputer, Link, Network, parse_link

GOOD = """\
schema_version = 1

[network]
bandwidth_mbit_per_s = 100
latency_ms = 0.5

[[board]]
name = "slow"
gflops_per_s = 2.5
message_ms = 0.75
message_gb_per_s = 0.5
encryption_gb_per_s = 0.1
endpoint = "tcp/127.0.0.1:7447"

[[board]]
name = "fast"
gflops_per_s = 10.0
call_ms = 0.2
memory_mb = 256
int8_gops_per_s = 40
endpoint = "tls/[::1]:7448"

[client]
message_ms = 0.1

[[link]]
between = ["fast", "client"]
bandwidth_mbit_per_s = 8
latency_ms = 3
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "cluster.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Cluster.read(path)

    return read


def test_a_file_describes_boards_and_network_in_the_units_of_its_keys(read):
    cluster = read(GOOD)
    slow, fast = cluster.boards
    assert (slow.name, slow.flops_per_s, slow.call_s) == ("slow", 2.5e9, 0.1e-3)
    assert (fast.name, fast.flops_per_s, fast.call_s) == ("fast", 10e9, 0.2e-3)
    assert fast.endpoint == "tls/[::1]:7448"
    assert (slow.memory_bytes, fast.memory_bytes) == (math.inf, 256e6)
    assert slow.seconds(1e9, 1e9) == 1 / 2.5  # int8 unsaid: as float32
    assert fast.seconds(1e9, 1e9) == 1 / 40
    assert cluster.bytes_per_s("slow", "fast") == 12.5e6  # 100 million bits, eight to a byte
    assert cluster.latency_s("slow", "fast") == 0.5e-3
    # 2 ns a byte, and 10 to encrypt it, for "fast" is tls
    assert cluster.message_s("slow", 1000) == pytest.approx(0.75e-3 + 12e-6)
    assert cluster.message_s("client", 1000) == 0.1e-3
    for pair in (("fast", "client"), ("client", "fast")):
        assert cluster.bytes_per_s(*pair) == 1e6
        assert cluster.latency_s(*pair) == 3e-3
    assert cluster.bytes_per_s("slow", "client") == 12.5e6
    assert not cluster.network.shared
    assert cluster.board("slow") is slow


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", fullmatch=True)
positive = st.floats(1e-9, 1e9)
not_negative = st.just(0) | st.floats(0, 1e6) | st.integers(0, 10**6)


@settings(max_examples=40, deadline=None)
@given(
    boards=st.lists(
        st.tuples(
            names.filter(lambda n: n != CLIENT), positive, not_negative, st.none() | positive
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda board: board[0],
    ),
    network=st.builds(Network, positive, not_negative, st.sampled_from(["switch", "shared"])),
    link=st.none() | st.tuples(positive, not_negative),
    messaging=st.tuples(not_negative, st.none() | positive, st.none() | positive),
    on_board=st.booleans(),
)
def test_what_is_written_is_read_back_equal(
    tmp_path_factory, boards, network, link, messaging, on_board
):
    keys = ("message_ms", "message_gb_per_s", "encryption_gb_per_s")
    own = dict(zip(keys, messaging, strict=True))
    cluster = Cluster(
        tuple(
            Board(name, rate, f"tcp/127.0.0.1:{7447 + i}", call, memory, **own)
            for i, (name, rate, call, memory) in enumerate(boards)
        ),
        network,
        (Link((boards[0][0], CLIENT), *link),) if link else (),
        ClientComputer(*messaging, on=boards[0][0] if on_board else None),
    )
    path = tmp_path_factory.getbasetemp() / "round_trip.toml"
    path.write_text(cluster.to_toml(), encoding="utf-8")
    assert Cluster.read(path) == cluster


def test_a_board_listens_for_tensors_beside_its_endpoint_or_where_it_says():
    ports = [Board("a", 1.0, f"tls/[::1]:{port}").tensor_port_used for port in (7447, 64535, 64536)]
    assert ports == [8447, 65535, 63536]
    said = Cluster((Board("a", 1.0, "tls/pi:7447", tensor_port=9000),), Network(1.0, 0.0))
    assert said.boards[0].tensor_port_used == 9000
    assert "tensor_port = 9000" in said.to_toml()
    assert "tensor_port" not in Cluster.of("pi4", 1).to_toml()
    for wrong in (0, 65536, True, "8447"):
        with pytest.raises(ClusterError, match="tensor_port must be a port from 1 to 65535, got"):
            Board("a", 1.0, "tls/pi:7447", tensor_port=wrong)


@pytest.mark.parametrize("endpoint", ['tcp/a"b:1', "tcp/a\\b:1", "tcp/a b:1"])
def test_an_endpoint_that_toml_would_mangle_is_refused(endpoint):
    with pytest.raises(ClusterError, match="endpoint must look like"):
        Board("a", 1.0, endpoint)


def edited(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


NETWORK = "[network]\nbandwidth_mbit_per_s = 100\nlatency_ms = 0.5\n"
NO_BOARDS = GOOD[: GOOD.index("[[board]]")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            edited("schema_version = 1", "schema_version = 2"),
            "a cluster must have schema_version 1, got 2: describe",
        ),
        (edited("schema_version = 1", ""), "a cluster must have schema_version 1, got None"),
        (edited("schema_version = 1", "schema_version = 1\nowner = 1"), "got owner"),
        (edited("latency_ms", "latencies_ms"), r"\[network\] has the unknown key 'latencies_ms'"),
        (edited("call_ms", "call_s"), r"\[\[board\]\] has the unknown key 'call_s'; it takes call"),
        (edited(NETWORK, ""), r"must have a \[network\], got none"),
        (edited(NETWORK, "network = 5\n"), r"\[network\] must be a table, got 5"),
        (NO_BOARDS, r"at least one \[\[board\]\], got none"),
        (edited("latency_ms = 0.5\n", ""), r"\[network\] lacks latency_ms"),
        (edited("gflops_per_s = 2.5\n", ""), r"\[\[board\]\] lacks .*gflops_per_s"),
        (NO_BOARDS + '[board]\nname = "one"\n', r"written \[\[board\]\]"),
        ("board = [1]\n" + NO_BOARDS, r"\[\[board\]\] must be a table, got 1"),
        (edited('"fast"', '"slow"'), "boards must differ in name, got 'slow' twice"),
        (
            edited("tls/[::1]:7448", "tcp/127.0.0.1:7447"),
            "boards must differ in endpoint, got 'tcp/127.0.0.1:7447' twice",
        ),
        (edited('"slow"', '"client"'), "not 'client', got 'client'"),
        (edited('"slow"', '"a b"'), "letters, digits.*got 'a b'"),
        (
            edited("latency_ms = 0.5", 'latency_ms = 0.5\nmedium = "air"'),
            "switch, shared, got 'air'",
        ),
        (edited("[[link]]", "[link]"), r"links are written \[\[link\]\]"),
        (edited('"fast", "client"', '"fast", "pi"'), "link between fast and pi: no board is named"),
        (edited('"fast", "client"', '"fast", "fast"'), "between must be two different names"),
        (edited('["fast", "client"]', '"fast"'), "between must be two different names, got 'fast'"),
        (edited("latency_ms = 3", ""), r"\[\[link\]\] lacks latency_ms"),
        (GOOD + GOOD[GOOD.index("[[link]]") :], "links must differ in the pair"),
        (edited('"slow"', '""'), "letters, digits.*got ''"),
        (edited('"slow"', '"../x"'), "letters, digits.*got '../x'"),
        (edited('"slow"', "7"), "letters, digits.*got 7"),
        (edited("tls/[::1]:7448", "127.0.0.1:7448"), "board 'fast': endpoint must look like 'tcp/"),
        (
            edited("tls/[::1]:7448", "tcp/127.0.0.1"),
            "endpoint must look like .*got 'tcp/127.0.0.1'",
        ),
        (edited("tls/[::1]:7448", "udp/127.0.0.1:1"), "endpoint must look like"),
        (edited('"tls/[::1]:7448"', "7448"), "endpoint must look like .*got 7448"),
        ("= nonsense", "is no TOML file"),
        (b"\xff\xfe\x00", "is no TOML file"),
    ],
)
def test_a_file_that_describes_no_cluster_is_refused_by_name(read, text, message):
    with pytest.raises(ClusterError, match=message) as caught:
        read(text)
    assert "cluster.toml" in str(caught.value)


BAD_NUMBERS = ["0", "-1", "nan", "inf", "-inf", '"fast"', "true", "[1]"]


@pytest.mark.parametrize("number", BAD_NUMBERS)
@pytest.mark.parametrize(
    ("line", "key", "where", "may_be_0"),
    [
        ("bandwidth_mbit_per_s = 100", "bandwidth_mbit_per_s", "network", False),
        ("latency_ms = 0.5", "latency_ms", "network", True),
        ("gflops_per_s = 2.5", "gflops_per_s", "board 'slow'", False),
        ("call_ms = 0.2", "call_ms", "board 'fast'", True),
        ("memory_mb = 256", "memory_mb", "board 'fast'", False),
        ("int8_gops_per_s = 40", "int8_gops_per_s", "board 'fast'", False),
        ("latency_ms = 3", "latency_ms", "link between fast and client", True),
        ("bandwidth_mbit_per_s = 8", "bandwidth_mbit_per_s", "link between fast and client", False),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(read, number, line, key, where, may_be_0):
    text = edited(line, f"{key} = {number}")
    if number == "0" and may_be_0:
        assert read(text) != read(GOOD)
        return
    bound = "0 or more" if may_be_0 else "above 0"
    with pytest.raises(ClusterError, match=f"{where}: {key} must be a number {bound}, got"):
        read(text)


def test_a_number_beyond_floats_is_refused(read):
    with pytest.raises(ClusterError, match="bandwidth_mbit_per_s"):
        read(edited("= 100", "= 1" + "0" * 400))


def test_a_version_that_is_no_number_is_refused(read):
    with pytest.raises(ClusterError, match="a cluster must have schema_version 1, got True"):
        read(edited("schema_version = 1", "schema_version = true"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ClusterError, match=r"cannot read .*nowhere\.toml: No such file"):
        Cluster.read(tmp_path / "nowhere.toml")


def test_an_unknown_board_is_named_with_the_known_ones():
    with pytest.raises(ClusterError, match="no board is named 'pi9'; the cluster has pi4-1, pi4-2"):
        Cluster.of("pi4", 2).board("pi9")


def test_a_described_cluster_listens_on_this_machine_only():
    cluster = Cluster.of("pi3", 3, "100mbit")
    assert [b.name for b in cluster.boards] == ["pi3-1", "pi3-2", "pi3-3"]
    assert [b.endpoint for b in cluster.boards] == [
        f"tcp/127.0.0.1:{port}" for port in (7447, 7448, 7449)
    ]
    assert {b.gflops_per_s for b in cluster.boards} == {11.9}
    assert {b.cores for b in cluster.boards} == {4}
    assert {b.memory_bytes for b in cluster.boards} == {768e6}
    assert cluster.network == parse_link("100mbit")
    given_ports = Cluster.of("pi3", 2, ports=[9001, 9000])
    assert [b.endpoint for b in given_ports.boards] == ["tcp/127.0.0.1:9001", "tcp/127.0.0.1:9000"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pi9", 2), "kind must be one of zero2w, pi3, pi4, pi5, n5105, got 'pi9'"),
        (("pi3", 0), "boards must be at least 1, got 0"),
        (("pi3", 1, "fast"), "link must look like .*got 'fast'"),
        (("pi3", 1, "1gbit", None, 2), "cores of a pi3 must be 1 or 4, got 2"),
        (("pi3", 1, "1gbit", None, 0), "cores of a pi3 must be 1 or 4, got 0"),
    ],
)
def test_a_bad_argument_of_a_described_cluster_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Cluster.of(*arguments)


@pytest.mark.parametrize(
    ("link", "bytes_per_s", "wire_ms"),
    [
        ("1gbit", 125e6, 0.2),
        ("100mbit", 12.5e6, 0.5),
        ("20mbit", 2.5e6, 0.5),
        ("2.5gbit", 312.5e6, 0.2),
        ("54MBIT", 6.75e6, 0.5),
        ("1000mbit", 125e6, 0.2),
    ],
)
def test_a_link_is_named_by_its_rate_in_bits(link, bytes_per_s, wire_ms):
    network = parse_link(link)
    assert network.bandwidth_mbit_per_s * 1e6 / 8 == bytes_per_s
    assert network.latency_ms == wire_ms
    assert not network.shared


def test_wifi_is_one_medium_for_all():
    assert parse_link("54mbit-wifi") == Network(54.0, 2.0, medium="shared")


# FLOPs, bytes of tensors and weights in float32, operators, as the converter makes them of
# keras.applications' networks at 224 pixels; docs/boards.md names the command that counts them.
NETWORKS = {
    "MobileNet": MOBILENET,
    "MobileNetV2": (601_828_648, 70_593_128, 65),
    "MobileNetV3Large": (436_662_112, 84_575_256, 124),
    "MobileNetV3Small": (114_776_576, 35_010_020, 111),
}
# Milliseconds in the multi-threaded table of XNNPACK's README, float32 and int8.
PUBLISHED = {
    "pi3": {"MobileNet": 114, "MobileNetV2": 79, "MobileNetV3Large": 67, "MobileNetV3Small": 22},
    "pi4": {"MobileNet": 77, "MobileNetV2": 46, "MobileNetV3Large": 40, "MobileNetV3Small": 15},
}
PUBLISHED_INT8 = {
    "pi3": {"MobileNet": 46, "MobileNetV2": 30},
    "pi4": {"MobileNet": 24, "MobileNetV2": 17},
}


@pytest.mark.parametrize("kind", ["pi3", "pi4"])
def test_whole_boards_take_what_was_published_of_them(kind):
    (board,) = Cluster.of(kind, 1).boards
    for name, published_ms in PUBLISHED[kind].items():
        flops, touched, operators = NETWORKS[name]
        predicted_ms = 1e3 * board.seconds(flops, 0, touched, operators)
        assert predicted_ms == pytest.approx(published_ms, rel=0.05)
    for name, published_ms in PUBLISHED_INT8[kind].items():
        flops, touched, operators = NETWORKS[name]
        predicted_ms = 1e3 * board.seconds(flops, flops, touched / 4, operators)
        assert predicted_ms == pytest.approx(published_ms, rel=0.06)


def test_a_newer_board_is_described_faster():
    kinds = [Cluster.of(kind, 1).boards[0] for kind in ("zero2w", "pi3", "pi4", "pi5")]
    for int8 in (0, 1):
        took = [b.seconds(MOBILENET[0], int8 * MOBILENET[0], *MOBILENET[1:]) for b in kinds]
        assert took == sorted(took, reverse=True)
    _, _, pi4, pi5 = kinds
    assert pi5.flops_per_s == pytest.approx(pi4.flops_per_s * 30.249 / 11.433, rel=0.01)
    took = pi5.seconds(MOBILENET[0], MOBILENET[0], MOBILENET[1] / 4, MOBILENET[2])
    assert took == pytest.approx(8.74e-3, rel=0.01)  # ncnn's benchmark


# Milliseconds on one thread in the table of ncnn's benchmark, float32.
ON_ONE_CORE = {
    "zero2w": {"MobileNet": 394, "MobileNetV2": 274, "MobileNetV3Large": 234},
    "pi3": {"MobileNet": 206, "MobileNetV2": 159, "MobileNetV3Large": 127},
    "pi4": {"MobileNet": 124, "MobileNetV2": 93, "MobileNetV3Large": 73},
    "n5105": {"MobileNet": 106, "MobileNetV2": 63, "MobileNetV3Large": 50},
}


@pytest.mark.parametrize("kind", ON_ONE_CORE)
def test_one_core_takes_what_was_published_of_one_thread(kind):
    (alone,) = Cluster.of(kind, 1, cores=1).boards
    for name, published_ms in ON_ONE_CORE[kind].items():
        flops, touched, operators = NETWORKS[name]
        predicted_ms = 1e3 * alone.seconds(flops, 0, touched, operators)
        assert predicted_ms == pytest.approx(published_ms, rel=0.14)


@pytest.mark.parametrize("kind", ["zero2w", "pi3", "pi4", "pi5", "n5105"])
def test_one_core_is_named_as_such_and_is_slower_than_all_but_not_in_proportion(kind):
    alone, whole = (Cluster.of(kind, 2, cores=cores).boards[1] for cores in (1, 4))
    assert whole == Cluster.of(kind, 2).boards[1]
    assert (alone.name, alone.cores) == (f"{kind}-1core-2", 1)
    assert (alone.memory_mb, alone.call_ms) == (whole.memory_mb, whole.call_ms)
    for flops, touched, operators in NETWORKS.values():
        took = (flops, 0, touched, operators)
        assert 1.2 < alone.seconds(*took) / whole.seconds(*took) < 3.5
        took = (flops, flops, touched / 4, operators)
        assert 1.2 < alone.seconds(*took) / whole.seconds(*took) < 5.0


@pytest.mark.parametrize("cores", [0, -1, 2.0, True, "4"])
def test_cores_are_counted(cores):
    with pytest.raises(ClusterError, match="cores must be a whole number above 0, got"):
        Board("b", 1.0, "tcp/127.0.0.1:1", cores=cores)


def test_a_described_board_is_its_rates_where_nothing_else_is_said():
    board = Board("b", 2.0, "tcp/127.0.0.1:1", int8_gops_per_s=8.0)
    assert board.seconds(4e9) == 2.0
    assert board.seconds(4e9, 4e9, 1e9, 100) == 0.5
    assert board.flops_per_s == pytest.approx(2e9)
    slower = Board("b", 2.0, "tcp/127.0.0.1:1", tensor_gb_per_s=4.0, operator_ms=10.0)
    assert slower.seconds(4e9, 0, 1e9, 5) == pytest.approx(2.0 + 0.25 + 0.05)


@pytest.mark.parametrize(
    "link", ["", "gbit", "0mbit", "0.0gbit", "-1gbit", "1 gbit", "1gb", "1e3mbit", "1gbit-air"]
)
def test_another_form_of_link_is_refused(link):
    with pytest.raises(ValueError, match="link must look like '1gbit', '100mbit' or"):
        parse_link(link)


def test_numbers_are_checked_without_a_file_too():
    with pytest.raises(
        ClusterError, match="network: latency_ms must be a number 0 or more, got nan"
    ):
        Network(1, math.nan)
    with pytest.raises(ClusterError, match="client: message_gb_per_s must be a number above 0"):
        ClientComputer(message_gb_per_s=0)


def test_an_old_files_message_ms_is_shared_by_both_ends_with_a_warning(read):
    old = edited("latency_ms = 0.5\n\n", "latency_ms = 0.5\nmessage_ms = 0.25\n\n")
    with pytest.warns(UserWarning, match="message_ms belongs to the boards and the client"):
        cluster = read(old)
    assert cluster.message_costs_s("fast")[0] == 0.125e-3
    assert cluster.message_costs_s("slow")[0] == 0.75e-3  # said so itself
    assert cluster.message_costs_s(CLIENT)[0] == 0.1e-3


def test_a_client_on_a_board_sends_over_the_boards_interface_and_to_it_over_none(read):
    cluster = read(edited("[client]\nmessage_ms = 0.1\n", '[client]\non = "slow"\n'))
    assert cluster.bytes_per_s(CLIENT, "slow") == math.inf
    assert cluster.latency_s("slow", CLIENT) == 0
    assert cluster.latency_s("fast", CLIENT) == cluster.latency_s("fast", "slow") == 0.5e-3
    assert cluster.interface(CLIENT) == cluster.interface("slow") == "slow"
    assert cluster.message_costs_s(CLIENT) == cluster.message_costs_s("slow")
    with pytest.raises(ClusterError, match="client: no board is named 'pi9', which it is on"):
        read(edited("[client]\nmessage_ms = 0.1\n", '[client]\non = "pi9"\n'))
