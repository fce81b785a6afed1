"""What the demo found, as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from keras_concurrent.cli.console import table


def print_figures(figures: dict[str, Any]) -> None:
    """Print what `run_demo` found, as tables."""
    console = Console()
    latency = figures["latency"]
    used = figures["boards_used"]
    several = f"{figures['boards']} boards" + (f", {used} used" * (used < figures["boards"]))
    label = f"emulated {figures['emulated']}" if figures["emulated"] else "this machine's cores"
    rows = [
        (name, *(f"{latency[key][f] * 1e3:.1f}" for f in ("predicted_s", "median_s", "p95_s")))
        for name, key in (("one whole board", "one_board"), (several, "boards"))
    ]
    if figures["one_board_in_int8_s"] is not None:
        in_int8 = f"{figures['one_board_in_int8_s'] * 1e3:.1f}"
        rows.insert(1, ("the same in int8", in_int8, "", ""))
    console.print(
        table(
            f"One image on {label}, {figures['link']}",
            ("", "predicted ms", "median ms", "p95 ms"),
            rows,
        )
    )
    score = figures["score"]
    console.print(
        table(
            f"Concurrency score on {figures['boards']} units (lower is better)",
            ("CS", "eta", "Lambda, bytes", "delta_w", "used units"),
            [
                (
                    f"{score['concurrency_score']:.3f}",
                    f"{score['eta']:.2f}",
                    f"{score['lambda_bytes']:,}",
                    f"{score['delta_w']:.3f}",
                    f"{score['used_units']}",
                )
            ],
        )
    )
    accuracy = figures["accuracy"]
    console.print(
        f"{figures['images']} test images: accuracy {accuracy['boards']:.3f} through the boards, "
        f"{accuracy['keras']:.3f} through Keras; {figures['classes_differ']} classes differ\n"
        f"largest difference to the uncut .tflite {figures['max_abs_diff_tflite']:g}, "
        f"to Keras {figures['max_abs_diff']:.1g}\n"
        f"{figures['verdict']}",
        highlight=False,
        soft_wrap=True,
    )
    console.print("\n".join(figures["files"]), highlight=False, soft_wrap=True)
