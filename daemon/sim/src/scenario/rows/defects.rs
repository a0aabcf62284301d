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

const DEFECTS: [Defect; 11] = [
    // The envelope of a few late reports is believed to 3 ms from the fifth report on, however they scatter.
    Defect {
        case: 4,
        says: "a camera under congestion: each report is late",
        seed: 2,
        outcome: "coverage",
    },
    Defect {
        case: 5,
        says: "reports wait for an audio frame of 23 ms",
        seed: 2,
        outcome: "coverage",
    },
    Defect {
        case: 22,
        says: "RTP time of reports moves 5 s back for good",
        seed: 3,
        outcome: "coverage",
    },
    // One stamp hours away begins an epoch, and so does the next one, back again.
    Defect {
        case: 15,
        says: "a frame stamped 9,800 s back every 3 s",
        seed: 1,
        outcome: "epochs 80",
    },
    Defect {
        case: 15,
        says: "a frame stamped 37,600 s ahead every 3 s",
        seed: 1,
        outcome: "epochs 80",
    },
    // Frames more than 10 s apart are taken for a jump of the media clock, though as much time has passed.
    Defect {
        case: 25,
        says: "one frame in 15 s",
        seed: 1,
        outcome: "epochs 61",
    },
    // A drift beyond 500 ppm is taken for jitter: the envelope then holds on to the oldest frame.
    Defect {
        case: 16,
        says: "25 fps declared, 21 sent",
        seed: 1,
        outcome: "coverage 0",
    },
    Defect {
        case: 16,
        says: "25 fps declared, 21 sent, and no reports",
        seed: 1,
        outcome: "coverage 0",
    },
    Defect {
        case: 16,
        says: "a media clock 10.5 times too fast",
        seed: 1,
        outcome: "coverage",
    },
    // The report's own delay is part of the estimate: a longer path looks like a slower quartz.
    Defect {
        case: 32,
        says: "the path grows by 30 ms for good",
        seed: 1,
        outcome: "coverage",
    },
    // CLOCK_MONOTONIC is slewed, and the envelope takes two minutes to follow.
    Defect {
        case: 34,
        says: "NTP slews the box by 500 ppm for a minute",
        seed: 1,
        outcome: "coverage",
    },
];

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
