//! What counts against a release, row by row.

use super::*;

fn at(s: i64) -> Mono {
    Mono::from_nanos(0) + Span::from_secs(s)
}

fn camera(id: &str, delivers: bool, answers: bool) -> CameraFacts {
    CameraFacts {
        id: id.to_owned(),
        delivers,
        answers,
        reason: None,
    }
}

fn group(cameras: &[&str], packets_per_s: f64, lost: bool) -> GroupFacts {
    GroupFacts {
        id: "all".to_owned(),
        cameras: cameras.iter().map(|c| (*c).to_owned()).collect(),
        packets_per_s,
        lost,
    }
}

/// Two cameras in step, a detector that looks, a database that is written.
fn well() -> Facts {
    Facts {
        cameras: vec![camera("left", true, false), camera("right", true, false)],
        groups: vec![group(&["left", "right"], 15.0, false)],
        detectors: vec![DetectorFacts {
            name: "people".to_owned(),
            cameras: vec!["left".to_owned()],
            ran: true,
            reason: None,
        }],
        database: DatabaseFacts {
            written: true,
            error: None,
        },
    }
}

type Change = fn(&mut Facts);

#[test]
fn only_what_a_release_can_break_counts() {
    let table: &[(&str, Change, Option<&str>)] = &[
        ("all is well", |_| {}, None),
        (
            "no cameras at all",
            |f| {
                *f = Facts {
                    database: f.database.clone(),
                    ..Facts::default()
                }
            },
            None,
        ),
        (
            "a camera is away",
            |f| {
                f.cameras[1] = camera("right", false, false);
                f.groups[0].lost = true;
            },
            None,
        ),
        (
            "all cameras are away",
            |f| {
                f.cameras = vec![camera("left", false, false), camera("right", false, false)];
                f.groups[0] = group(&["left", "right"], 0.0, true);
                f.detectors[0].ran = false;
            },
            None,
        ),
        (
            "a camera answers and is silent",
            |f| {
                f.cameras[1] = camera("right", false, true);
                f.cameras[1].reason = Some("no frames for 5 s".to_owned());
            },
            Some("camera right: it answers, but gives no frames: no frames for 5 s"),
        ),
        (
            "all answer and are silent",
            |f| {
                f.cameras = vec![camera("left", false, true)];
                f.groups[0] = group(&["left"], 0.0, true);
            },
            Some("camera left: it answers"),
        ),
        (
            "frames come, packets do not",
            |f| f.groups[0].packets_per_s = 0.0,
            Some("group all: 2 of its cameras give frames, but no packets come of them"),
        ),
        (
            "one camera of a group comes, packets do not",
            |f| {
                f.cameras[1] = camera("right", false, false);
                f.groups[0].packets_per_s = 0.0;
            },
            Some("group all: 1 of its cameras"),
        ),
        (
            "cameras never meet",
            |f| f.groups[0].lost = true,
            Some("group all: 2 of its cameras give frames, but never share"),
        ),
        (
            "the model does not run",
            |f| {
                f.detectors[0].ran = false;
                f.detectors[0].reason = Some("the file is damaged".to_owned());
            },
            Some("detector people: frames come, but its model has not run: the file is damaged"),
        ),
        (
            "nothing was written",
            |f| f.database.written = false,
            Some("database: nothing was written"),
        ),
        (
            "the disk is broken",
            |f| f.database.error = Some("disk I/O error".to_owned()),
            Some("database: it cannot be written: disk I/O error"),
        ),
    ];
    for (name, change, wanted) in table {
        let mut facts = well();
        change(&mut facts);
        let mut watch = HealthWatch::default();
        let first = watch.judge(at(0), &facts);
        let later = watch.judge(at(60), &facts);
        match wanted {
            None => {
                assert_eq!(later, [], "{name}");
                assert_eq!(verdict(&later), Health::Well, "{name}");
            }
            Some(wanted) => {
                assert_eq!(verdict(&first), Health::Waiting, "{name}");
                assert_eq!(verdict(&later), Health::Unwell, "{name}");
                let spoken = later[0].spoken();
                assert!(
                    spoken.starts_with(wanted) && spoken.ends_with("(for 60 s)"),
                    "{name}: {spoken}"
                );
                assert_eq!(later.len(), 1, "{name}: {later:?}");
            }
        }
    }
}

#[test]
fn patience_is_each_subject_s_own_and_begins_anew() {
    let mut watch = HealthWatch::default();
    let mut facts = well();
    facts.cameras[0] = camera("left", false, true);
    watch.judge(at(0), &facts);
    facts.cameras[1] = camera("right", false, true);
    let found = watch.judge(at(59), &facts);
    assert!(found.iter().all(|f| !f.counts()), "{found:?}");
    let found = watch.judge(at(60), &facts);
    let counts: Vec<_> = found.iter().map(|f| (f.subject.as_str(), f.counts())).collect();
    assert_eq!(counts, [("camera left", true), ("camera right", false)]);
    // It went away: that is not the release's, and when it is back it is given its time.
    facts.cameras[0].answers = false;
    watch.judge(at(61), &facts);
    facts.cameras[0].answers = true;
    let found = watch.judge(at(62), &facts);
    assert!(!found[0].counts());
}
