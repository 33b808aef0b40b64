"""``benchmarks/gpu.py`` without a GPU: its tables, what it does about a part that fails, and all of it on the
CPU."""

import json
import sys
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from toy import CPU

from benchmarks import gpu, gpu_parts, gpu_sides, harness
from benchmarks.gpu_tables import markdown

SHAPE = harness.QUICK


@pytest.mark.parametrize(
    "card, tera",
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-40GB", 312),
        ("NVIDIA A10G", 125),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("NVIDIA GeForce RTX 4090", 165),
        ("Tesla T4", None),
    ],
)
def test_peak_of_a_card(card, tera):
    assert gpu.peak_of(card) == (tera and 1e12 * tera)


def test_its_seconds_are_at_most_eight_minutes():
    assert sum(gpu.PARTS.values()) <= gpu.SECONDS < 480 - 5


def found(rows, error="", **beside):
    said = {
        "command": "python benchmarks/gpu.py",
        "commit": "abc",
        "torch": "2",
        "cuda": "13",
        "cpu": "a CPU",
    }
    parts = {"step, large": {"rows": rows, "seconds": 1.0, "error": error}}
    return {**said, "card": "a card", "peak": 1e12, "memory": 80e9, "parts": parts, **beside}


def test_a_table_has_ratios_memory_and_the_share_of_the_card():
    common = {"work": "large", "shape": "V=9", "tokens": 1000, "first": 2.0, "blocks": [], "flops": 1e10}
    rows = [
        {**common, "side": "textbook", "kind": "fp32", "seconds": 0.1, "peak": 4e9},
        {**common, "side": "textbook, compiled", "kind": "tf32", "error": "OutOfMemoryError: no | memory"},
        {**common, "side": "ours", "kind": "bf16", "seconds": 0.02, "peak": 1e9, "apart": 1e-3},
    ]
    lines = markdown(found(rows, "ended after 9 s")).splitlines()
    assert lines[0].endswith("a card, 80 GB, 1 TFLOP/s of dense bf16; torch 2, CUDA 13; a CPU")
    assert "| textbook | fp32 | 100.00 | 10,000 | 1.00 | 4.00 | 10.0% |  | 2.0 |" in lines
    assert "| ours | bf16 | 20.00 | 50,000 | 5.00 | 1.00 | 50.0% | 1.0e-03 | 2.0 |" in lines
    assert any(
        line.startswith(r"| textbook, compiled | tf32 | OutOfMemoryError: no \| memory |") for line in lines
    )
    assert "Not all of it: ended after 9 s." in lines
    peers = "| step, large: large | ours, bf16: 20.00 ms | textbook, fp32: 100.00 ms | 5.00 |"
    assert peers in lines


def test_a_beam_is_no_peer_and_a_side_without_one_no_row():
    common = {"work": "DeepSC's", "shape": "", "kind": "fp32", "tokens": 1, "first": 0, "peak": None}
    rows = [{**common, "side": "ours, beam search", "seconds": 0.1}]
    assert "fastest peer" not in markdown(found(rows))
    rows += [{**common, "side": "textbook", "seconds": 0.4}, {**common, "side": "ours", "seconds": 0.2}]
    assert "| ours, fp32: 200.00 ms | textbook, fp32: 400.00 ms | 2.00 |" in markdown(found(rows))


def test_tests_are_counted_and_those_that_failed_named():
    rows = [{"test": "a", "outcome": "passed"}, {"test": "b[1]", "outcome": "failed"}]
    rows += [{"test": "", "outcome": "error", "error": "ImportError: no x"}]
    made = markdown(found([], parts={"tests": {"rows": rows, "seconds": 1.0, "error": ""}}))
    assert "1 passed, 1 failed, 0 skipped.\n\n- b[1]: failed\n- ImportError: no x: error\n" in made


def test_a_side_that_fails_is_a_line_and_the_others_go_on():
    def fails():
        raise RuntimeError("two\nlines")

    sides = [
        gpu_sides.Side("one", "tf32", lambda: lambda number: None, lambda: torch.tensor(2.0)),
        gpu_sides.Side("two", "fp32", fails),
        gpu_sides.Side("three", "bf16", lambda: lambda number: None, lambda: torch.tensor(2.5)),
    ]
    before = torch.get_float32_matmul_precision()
    one, two, three = gpu_parts.race(sides, "work", SHAPE, CPU, quick=True, flops=5.0)
    assert torch.get_float32_matmul_precision() == before
    assert one["apart"] == 0 and three["apart"] == 0.25 and one["flops"] == 5 and one["seconds"] >= 0
    assert two["error"] == "RuntimeError: two lines" and "seconds" not in two


@pytest.mark.parametrize("distils", [False, True])
def test_all_sides_compute_the_same_loss(distils, monkeypatch):
    """Liger's with a stand-in that computes what its documentation says; its divergence knows no bias."""

    class CrossEntropy:
        def __call__(self, weight, state, targets, bias):
            return F.cross_entropy(state @ weight.t() + bias, targets)

    class Divergence:
        def __init__(self, jsd_beta, temperature):
            assert jsd_beta == 0
            self.t = temperature

        def __call__(self, state, weight, theirs, their_weight, labels):
            p, q = (
                F.log_softmax(s @ w.t() / self.t, -1) for s, w in ((theirs, their_weight), (state, weight))
            )
            return F.kl_div(q, p, log_target=True, reduction="batchmean")

    for name, attribute, value in (
        ("fused_linear_cross_entropy", "LigerFusedLinearCrossEntropyLoss", CrossEntropy),
        ("fused_linear_jsd", "LigerFusedLinearJSD", Divergence),
    ):
        module = ModuleType(name)
        setattr(module, attribute, value)
        monkeypatch.setitem(sys.modules, f"liger_kernel.transformers.{name}", module)
    rows = gpu_sides.Rows.of(SHAPE, CPU)
    with torch.no_grad():
        rows.student.bias.zero_(), rows.teacher.bias.zero_()
    gradients = []
    for make in (gpu_sides.textbook_loss, gpu_sides.our_loss, gpu_sides.liger_loss):
        loss = make(rows, "fp32", distils=distils, compiled=False)
        gpu_sides.backward_of(rows, loss)(1)
        gradients.append((loss().detach(), rows.state.grad, rows.student.weight.grad))
    for made in gradients[1:]:
        for ours, theirs in zip(made, gradients[0]):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_products_of_a_step_are_counted_as_the_roofline_counts_them():
    counted = gpu_parts.roofline.count(SHAPE, gpu_sides.batch_of(SHAPE))
    assert gpu_parts.flops_of(SHAPE, distils=True) == pytest.approx(sum(w.flops for w in counted.values()))


@pytest.mark.slow
@pytest.mark.processes
def test_all_of_it_runs_on_a_cpu(tmp_path):
    record, page = tmp_path / "gpu.json", tmp_path / "gpu.md"
    gpu.main(["--device", "cpu", "--quick", "--json", str(record), "--markdown", str(page)])
    parts = json.loads(record.read_text())["parts"]
    assert parts.keys() == gpu.PARTS.keys()
    assert {name: part["error"] for name, part in parts.items()} == dict.fromkeys(parts, "")
    rows = [row for part in parts.values() for row in part["rows"]]
    assert len(rows) > 40 and not any("error" in row for row in rows)
    assert {row["outcome"] for row in parts["tests"]["rows"]} == {"passed"}
    assert "### Decoding" in page.read_text()


@pytest.mark.slow
@pytest.mark.processes
def test_a_part_that_takes_too_long_is_ended_and_the_next_not_begun(tmp_path, monkeypatch):
    record = tmp_path / "gpu.json"
    words = ["--device", "cpu", "--quick", "--seconds", "1.2", "--json", str(record)]
    gpu.main([*words, "--markdown", str(tmp_path / "gpu.md"), "--only", "losses", "decoding"])
    parts = json.loads(record.read_text())["parts"]
    assert parts["losses"]["error"] == "ended after 1 s"
    assert parts["decoding"]["error"] == "not begun: no time was left"
