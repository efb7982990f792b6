"""Statistics of comparisons; NumPy and SciPy only. docs/statistics.md has the formulas."""

from alignbench.stats.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha
from alignbench.stats.bootstrap import Bootstrap, Interval
from alignbench.stats.comparison import bootstrap_p_value, holm, verdict
from alignbench.stats.detectable import minimum_detectable_difference
from alignbench.stats.hierarchical import (
    Comparisons,
    Difference,
    compare_rows,
    hierarchical_bootstrap,
    paired_difference,
)
from alignbench.stats.judge_agreement import JudgeAgreement, agreement_table
from alignbench.stats.length_control import (
    LengthControl,
    LengthControlledWinRate,
    fit_length_control,
    length_controlled_win_rate,
)
from alignbench.stats.length_fit import ALPACA_EVAL_PRIOR, Prior
from alignbench.stats.prediction_powered import PredictionPowered, prediction_powered_mean
from alignbench.stats.rates import rate_interval
from alignbench.stats.strengths import BradleyTerry, bradley_terry, bradley_terry_by_prompt
from alignbench.stats.win_rates import WinRate, win_rate

__all__ = [
    "ALPACA_EVAL_PRIOR",
    "Bootstrap",
    "BradleyTerry",
    "Comparisons",
    "Difference",
    "Interval",
    "JudgeAgreement",
    "LengthControl",
    "LengthControlledWinRate",
    "PredictionPowered",
    "Prior",
    "WinRate",
    "agreement_table",
    "bootstrap_p_value",
    "bradley_terry",
    "bradley_terry_by_prompt",
    "cohen_kappa",
    "compare_rows",
    "fit_length_control",
    "fleiss_kappa",
    "hierarchical_bootstrap",
    "holm",
    "krippendorff_alpha",
    "length_controlled_win_rate",
    "minimum_detectable_difference",
    "paired_difference",
    "prediction_powered_mean",
    "rate_interval",
    "verdict",
    "win_rate",
]
