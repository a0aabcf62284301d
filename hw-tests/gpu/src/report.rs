//! What was found, as JSON for programs and as Markdown for docs/reference/gpu-results.md.

use std::fmt::Write;

use serde::Serialize;

/// One comparison.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    /// What was compared with what.
    pub(crate) name: String,
    /// Whether it held.
    pub(crate) verdict: Verdict,
    /// The largest difference, in `unit`.
    pub(crate) worst: f64,
    /// What may differ at most.
    pub(crate) tolerance: f64,
    /// Unit of both.
    pub(crate) unit: &'static str,
    /// Values compared, or why it was not run.
    pub(crate) note: String,
}

/// How a comparison ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Within tolerance.
    Passed,
    /// Beyond it, or broken.
    Failed,
    /// Something it needs is not here.
    NotRun,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Number {
    /// What was measured.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// How it was measured.
    pub(crate) note: String,
}

/// The machine.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Machine {
    /// As the driver names it.
    pub(crate) gpu: String,
    /// `sm_90`.
    pub(crate) target: String,
    /// The CUDA that the driver serves.
    pub(crate) driver_cuda: String,
    /// How the kernels were compiled.
    pub(crate) compiler: String,
    /// TensorRT's library and version, or why there is none.
    pub(crate) tensorrt: String,
    /// Megabytes of GPU memory.
    pub(crate) memory_mb: u64,
    /// Multiprocessors.
    pub(crate) multiprocessors: u32,
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// The machine.
    pub(crate) machine: Machine,
    /// Comparisons.
    pub(crate) checks: Vec<Check>,
    /// Measurements.
    pub(crate) numbers: Vec<Number>,
}

impl Check {
    /// From the largest difference found among `compared` values.
    pub(crate) fn compared(
        name: impl Into<String>,
        worst: f64,
        tolerance: f64,
        unit: &'static str,
        compared: usize,
    ) -> Check {
        // A NaN is no pass, and neither is nothing.
        let holds = worst <= tolerance && compared > 0;
        Check {
            name: name.into(),
            verdict: if holds { Verdict::Passed } else { Verdict::Failed },
            worst,
            tolerance,
            unit,
            note: format!("{compared} values"),
        }
    }

    /// Something broke.
    pub(crate) fn broken(name: impl Into<String>, why: impl std::fmt::Display) -> Check {
        Check {
            name: name.into(),
            verdict: Verdict::Failed,
            worst: f64::NAN,
            tolerance: 0.0,
            unit: "",
            note: why.to_string(),
        }
    }

    /// Something it needs is not here.
    pub(crate) fn not_run(name: impl Into<String>, why: impl std::fmt::Display) -> Check {
        Check {
            verdict: Verdict::NotRun,
            ..Check::broken(name, why)
        }
    }
}

impl Report {
    /// How many checks failed.
    pub(crate) fn failures(&self) -> usize {
        self.checks
            .iter()
            .filter(|c| c.verdict == Verdict::Failed)
            .count()
    }

    /// As a section of the page of results.
    pub(crate) fn markdown(&self) -> String {
        let m = &self.machine;
        let mut text = format!(
            "## {} ({}, driver for CUDA {})\n\nKernels by {}; TensorRT: {}; {} MB, {} multiprocessors.\n\n",
            m.gpu, m.target, m.driver_cuda, m.compiler, m.tensorrt, m.memory_mb, m.multiprocessors
        );
        text.push_str("| check | verdict | worst | tolerance | note |\n|---|---|---|---|---|\n");
        for c in &self.checks {
            let verdict = match c.verdict {
                Verdict::Passed => "passed",
                Verdict::Failed => "**FAILED**",
                Verdict::NotRun => "not run",
            };
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "| {} | {verdict} | {:.3e} {} | {:.1e} | {} |",
                c.name,
                c.worst,
                c.unit,
                c.tolerance,
                c.note.replace('\n', " ")
            );
        }
        if !self.numbers.is_empty() {
            text.push_str("\n| measurement | value | how |\n|---|---|---|\n");
            for n in &self.numbers {
                let _ = writeln!(text, "| {} | {:.4} {} | {} |", n.name, n.value, n.unit, n.note);
            }
        }
        text
    }
}
