//! Rows that the engine does not pass yet, with the wrong outcome that they have today.
//!
//! A repair makes `known_defects_are_still_there` fail: take its row out of the table, and the row is asserted with
//! the others.

/// A row that fails.
struct Defect {
    case: u32,
    says: &'static str,
    seed: u64,
    /// A failure that begins so.
    outcome: &'static str,
}

const DEFECTS: [Defect; 0] = [];

/// Whether a row is known to fail.
pub(super) fn known(case: u32, says: &str) -> bool {
    DEFECTS.iter().any(|d| d.case == case && d.says == says)
}

#[test]
fn known_defects_are_still_there() {
    let rows = super::rows();
    let mut mended = Vec::new();
    for defect in &DEFECTS {
        let row = rows
            .iter()
            .find(|r| r.case == defect.case && r.says == defect.says);
        let Some(row) = row else {
            mended.push(format!(
                "case {} \"{}\": there is no such row",
                defect.case, defect.says
            ));
            continue;
        };
        let failures = row.failures(defect.seed);
        if !failures.iter().any(|f| f.starts_with(defect.outcome)) {
            mended.push(format!(
                "case {} \"{}\", seed {}: now {failures:?}",
                defect.case, defect.says, defect.seed
            ));
        }
    }
    assert!(
        mended.is_empty(),
        "mended, or failing otherwise: take them out of the table of defects\n{}",
        mended.join("\n")
    );
}
