"""The report: what it prints, exports and concludes."""

import json

import numpy as np
import pytest
import torch

from vae_lightning.doctor import CODES, Finding, Report, diagnose, examine_file

GOOD = """
import torch
def kl(m, s):
    return 0.5 * (m**2 + s.exp() - 1 - s).sum(1).mean()
def sample(m, s):
    return m + (s / 2).exp() * torch.randn_like(m)
def draw(m, s):
    return m + s.exp() * torch.randn_like(m)
"""


def write(tmp_path, text: str):
    path = tmp_path / "losses.py"
    path.write_text(text)
    return path


def test_exit_status() -> None:
    right, wrong = Finding("CONST", True, "."), Finding("CONST", False, ".")
    unknown, failed = Finding("CONST", None, "."), Finding("RAISES", False, ".")
    assert [Report(each).exit_status for each in ([right], [right, wrong], [unknown], [failed], [failed, wrong])] == [
        0,
        1,
        2,
        2,
        1,
    ]
    assert [Report(each).ok for each in ([right], [wrong], [unknown], [failed])] == [True, False, True, False]


def test_unknown_code_is_refused() -> None:
    with pytest.raises(ValueError, match="The 'code' parameter of Finding must be one of CODES"):
        Finding("NO-SUCH", True, ".")


def test_report_reads_as_text_and_as_json() -> None:
    report = diagnose(
        kl=lambda m, s: -0.5 * (m**2 + s.exp() - 1 - s).sum(1).mean(),
        reconstruction=lambda x, out: ((x - out) ** 2).sum(1).mean(),
        data=torch.randn(50, 12),
    )
    text = str(report)
    assert text.index("WRONG") < text.index("[ok]")
    assert all(code in text for code in report.codes)
    content = json.loads(report.to_json())
    assert content["ok"] is False
    assert {finding["code"] for finding in content["findings"]} <= set(CODES)
    assert content["measured"]["KL: σ(s)"] == "exp(s/2)"
    assert len(report) == len(content["findings"]) == len(list(report))


def test_numbers_that_json_has_no_word_for() -> None:
    finding = Finding("CONST", False, ".", evidence={"a": float("inf"), "b": np.float64(1.5), "c": [np.nan, 2]})
    assert json.loads(Report([finding]).to_json())["findings"][0]["evidence"] == {"a": "inf", "b": 1.5, "c": ["nan", 2]}


def kl(m, s):
    return 0.5 * (m**2 + s.exp() - 1 - s).sum(1).mean()


@pytest.mark.parametrize(("factor", "sigma"), [(1.0, 0.5**0.5), (0.5, 1.0), (50.0, 0.1)])
def test_squared_error_implies_a_sigma(factor: float, sigma: float) -> None:
    report = diagnose(kl=kl, reconstruction=lambda x, out: factor * ((x - out) ** 2).sum(1).mean())
    assert report.ok
    assert report.measured["implied σ (β = 1)"] == pytest.approx(sigma)


def test_surviving_latents_are_counted() -> None:
    scales = torch.tensor([3.0, 2.0, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    rows = torch.randn(4000, 12, generator=torch.Generator().manual_seed(0)) * scales
    summed = diagnose(kl=kl, reconstruction=lambda x, out: 0.5 * ((x - out) ** 2).sum(1).mean(), data=rows)
    averaged = diagnose(kl=kl, reconstruction=lambda x, out: ((x - out) ** 2).mean(), data=rows)
    assert summed.measured["latents that can survive"].startswith("2 ")
    # Averaged over 12 columns σ² is 6: one eigenvalue, 9, is above.
    assert averaged.measured["latents that can survive"].startswith("1 ")
    assert averaged.measured["implied σ (β = 1)"] == pytest.approx(6**0.5)


def test_beta_of_pytorch_vae_is_read_off() -> None:
    columns = 12_288
    report = diagnose(
        kl=lambda m, s: 0.00025 * kl(m, s),
        reconstruction=lambda x, out: ((x - out) ** 2).mean(),
        data=np.zeros((2, columns)) + np.linspace(-1, 1, columns),
    )
    assert "SCALE" in report.codes
    assert report.measured["implied σ (β = 1)"] == pytest.approx(1.24, abs=0.005)


def test_file_is_examined_by_its_names(tmp_path) -> None:
    path = write(tmp_path, GOOD)
    assert examine_file(path).exit_status == 0
    assert examine_file(path, kl="kl", sample="draw").codes == ("VAR-AS-STD",)
    missing = examine_file(path, kl="no_such")
    assert missing.exit_status == 2
    assert "draw" in missing[0].says


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("raise ValueError('no')", "RAISES"),
        ("import sys; sys.exit(4)", "RAISES"),
        ("x = 1", "NOTHING"),
        ("def", "RAISES"),
    ],
)
def test_file_that_cannot_be_used(tmp_path, text: str, code: str) -> None:
    report = examine_file(write(tmp_path, text))
    assert [finding.code for finding in report] == [code]
    assert report.exit_status == 2


def test_file_that_is_not_there(tmp_path) -> None:
    assert examine_file(tmp_path / "none.py").exit_status == 2


def test_importing_the_doctor_runs_no_file(tmp_path) -> None:
    path = write(tmp_path, "import pathlib; pathlib.Path(__file__).with_name('ran').touch()\n" + GOOD)
    assert not (tmp_path / "ran").exists()
    examine_file(path)
    assert (tmp_path / "ran").exists()
