//! What is wrong with a configuration file, said so that a person can mend it at once.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether the file can be used in spite of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used, but this deserves a look.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Key path, such as `camera[2].source` (counted from 0); empty for the file as a whole.
    pub path: String,
    /// Line, from 1; 0 when the problem has no place in the file.
    pub line: usize,
    /// Column in characters, from 1; 0 when the problem has no place in the file.
    pub column: usize,
    /// How many characters of the line are meant, at least 1.
    pub width: usize,
    /// The line itself, passwords replaced by `*`.
    pub excerpt: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem of the file as a whole.
    pub(super) fn of_file(message: String, hint: &str) -> Problem {
        Problem {
            severity: Severity::Error,
            path: String::new(),
            line: 0,
            column: 0,
            width: 1,
            excerpt: String::new(),
            message,
            hint: Some(hint.to_owned()),
        }
    }
}

/// Everything that is wrong with a file: why it was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, in the order of the file; at least one error, warnings among them.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&render(&self.file, &self.problems))
    }
}

/// The problems as a person likes them on a terminal: place, line, caret, message, hint.
pub fn render(file: &Path, problems: &[Problem]) -> String {
    let mut out = String::new();
    for problem in problems {
        // Writing to a String cannot fail.
        let _ = render_one(&mut out, file, problem);
    }
    let errors = problems.iter().filter(|p| p.severity == Severity::Error).count();
    if errors > 0 {
        let plural = if errors == 1 { "error" } else { "errors" };
        let _ = writeln!(out, "{errors} {plural} in {}", file.display());
    }
    out
}

fn render_one(out: &mut String, file: &Path, problem: &Problem) -> fmt::Result {
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    write!(out, "{severity}: {}", file.display())?;
    if problem.line > 0 {
        write!(out, ":{}:{}", problem.line, problem.column)?;
    }
    if !problem.path.is_empty() {
        write!(out, ": {}", problem.path)?;
    }
    writeln!(out, ": {}", problem.message)?;
    if problem.line > 0 {
        let number = problem.line.to_string();
        let gutter = " ".repeat(number.len());
        // A tab before the caret stays a tab, so that the two lines keep step.
        let lead: String = (problem.excerpt.chars().chain(std::iter::repeat(' ')))
            .take(problem.column.saturating_sub(1))
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        writeln!(out, " {gutter} |")?;
        writeln!(out, " {number} | {}", problem.excerpt)?;
        writeln!(out, " {gutter} | {lead}{}", "^".repeat(problem.width))?;
    }
    if let Some(hint) = &problem.hint {
        writeln!(out, "   hint: {hint}")?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_place_line_caret_message_and_hint() {
        let problem = Problem {
            severity: Severity::Error,
            path: "camera[0].fps".to_owned(),
            line: 12,
            column: 8,
            width: 3,
            excerpt: "\tfps = 999 # fast".to_owned(),
            message: "999 is out of range".to_owned(),
            hint: Some("use 1 to 240".to_owned()),
        };
        let text = render(Path::new("a.toml"), &[problem]);
        let expected = "error: a.toml:12:8: camera[0].fps: 999 is out of range\n    |\n 12 | \tfps = 999 # fast\n    \
                        | \t      ^^^\n   hint: use 1 to 240\n\n1 error in a.toml\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_problem_of_the_file_has_no_line() {
        let problem = Problem::of_file("cannot be read".to_owned(), "create it");
        let text = render(Path::new("a.toml"), &[problem]);
        assert_eq!(
            text,
            "error: a.toml: cannot be read\n   hint: create it\n\n1 error in a.toml\n"
        );
    }
}
