//! Which versions may follow which.

use semver::Version;

use super::preflight::Refusal;

/// Why `new` may not be installed where `running` runs; `None` when it may.
///
/// Versions are of SemVer 2.0.0, compared by precedence: build metadata does not count. `floor` is the newest version that
/// this box ever committed, so that after a rollback an old release with known holes is not taken for news.
pub fn version_refusal(
    running: &str,
    floor: Option<&str>,
    new: &str,
    allow_downgrade: bool,
    force: bool,
) -> Option<Refusal> {
    let Ok(candidate) = Version::parse(new) else {
        return Some(Refusal::NoVersion(new.to_owned()));
    };
    // What runs may have been flashed with any name; nothing can be said about its order then.
    if let Ok(now) = Version::parse(running) {
        match candidate.cmp_precedence(&now) {
            std::cmp::Ordering::Equal if !force => {
                return Some(Refusal::SameVersion(new.to_owned()));
            }
            std::cmp::Ordering::Less if !allow_downgrade => {
                return Some(Refusal::Downgrade {
                    new: new.to_owned(),
                    running: running.to_owned(),
                });
            }
            std::cmp::Ordering::Equal => return None,
            _ => {}
        }
    }
    let below = floor
        .and_then(|floor| Version::parse(floor).ok())
        .is_some_and(|floor| candidate.cmp_precedence(&floor).is_lt());
    (below && !allow_downgrade).then(|| Refusal::BelowFloor {
        new: new.to_owned(),
        floor: floor.unwrap_or_default().to_owned(),
    })
}

/// The newer of a floor and a version that was just committed. What is no version changes nothing.
pub fn newest(floor: Option<&str>, committed: &str) -> Option<String> {
    match (floor.map(Version::parse), Version::parse(committed)) {
        (Some(Ok(old)), Ok(new)) if new.cmp_precedence(&old).is_lt() => floor.map(str::to_owned),
        (_, Ok(_)) => Some(committed.to_owned()),
        (_, Err(_)) => floor.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_is_welcome_same_and_older_are_not() {
        let refused = |new| version_refusal("1.2.0", None, new, false, false);
        for good in ["1.2.1", "1.10.0", "2.0.0-rc.1", "1.3.0+build.7"] {
            assert_eq!(refused(good), None, "{good}");
        }
        assert_eq!(refused("1.2.0"), Some(Refusal::SameVersion("1.2.0".to_owned())));
        assert_eq!(
            refused("1.2.0+other"),
            Some(Refusal::SameVersion("1.2.0+other".to_owned()))
        );
        for old in ["1.2.0-rc.1", "1.1.9", "0.99.0"] {
            assert!(matches!(refused(old), Some(Refusal::Downgrade { .. })), "{old}");
        }
        for bad in ["", "1.2", "v1.3.0", "2026.11.21-x y"] {
            assert!(matches!(refused(bad), Some(Refusal::NoVersion(_))), "{bad}");
        }
    }

    #[test]
    fn a_word_allows_them() {
        assert_eq!(version_refusal("1.2.0", None, "1.2.0", false, true), None);
        assert_eq!(version_refusal("1.2.0", None, "1.1.0", true, false), None);
        // Each word for its own.
        assert!(version_refusal("1.2.0", None, "1.2.0", true, false).is_some());
        assert!(version_refusal("1.2.0", None, "1.1.0", false, true).is_some());
        assert!(version_refusal("1.2.0", None, "x", true, true).is_some());
    }

    #[test]
    fn the_floor_holds_after_a_rollback() {
        // 1.4.0 was committed once; the box runs 1.2.0 again.
        let refused = |new, down| version_refusal("1.2.0", Some("1.4.0"), new, down, false);
        assert!(matches!(
            refused("1.3.0", false),
            Some(Refusal::BelowFloor { .. })
        ));
        assert_eq!(refused("1.3.0", true), None);
        assert_eq!(refused("1.4.0", false), None);
        assert_eq!(
            version_refusal("1.2.0", Some("1.4.0"), "1.2.0", false, true),
            None,
            "a repair of what runs"
        );
    }

    #[test]
    fn the_floor_only_rises() {
        assert_eq!(newest(None, "1.0.0").as_deref(), Some("1.0.0"));
        assert_eq!(newest(Some("1.0.0"), "1.1.0").as_deref(), Some("1.1.0"));
        assert_eq!(newest(Some("1.1.0"), "1.0.0").as_deref(), Some("1.1.0"));
        assert_eq!(newest(Some("1.1.0"), "nightly").as_deref(), Some("1.1.0"));
        assert_eq!(newest(Some("nightly"), "1.1.0").as_deref(), Some("1.1.0"));
    }
}
