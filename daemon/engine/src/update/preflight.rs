//! Whether a box can take an update, and this one: pure functions of what was measured.

use synoptic_base::Utc;

use super::types::{Release, Wish};
use super::version::version_refusal;

/// A slot of the running system's class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotFacts {
    /// RAUC's name: `rootfs.0`.
    pub name: String,
    /// The boot loader's name: `A`. None where nothing boots from it.
    pub bootname: Option<String>,
    /// It runs.
    pub booted: bool,
    /// The boot loader may start it; `None` when it cannot be asked.
    pub good: Option<bool>,
    /// What was installed into it, if RAUC did.
    pub version: Option<String>,
}

/// Whether the boot loader can go back: on Jetson a thing of its own (UEFI variables).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Redundancy {
    /// It can, or the slots' own marks say so.
    #[default]
    Armed,
    /// It was flashed without a second system.
    NotArmed,
    /// It refuses to start the slot of this boot name, whatever is written into it.
    Trapped(String),
}

/// What was measured of the box.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoxFacts {
    /// The kind of machine, as RAUC's configuration names it.
    pub compatible: String,
    /// Version of the running system.
    pub version: String,
    /// Newest version that was ever committed.
    pub floor: Option<String>,
    /// Bytes free where the bundle goes, beside what is already there of it.
    pub free: u64,
    /// Bytes that stay free for the daemon's own data.
    pub reserve: u64,
    /// Slots of the system.
    pub slots: Vec<SlotFacts>,
    /// Whether the boot loader can go back.
    pub redundancy: Redundancy,
    /// Boot name of the slot that the health gate has not committed yet.
    pub pending: Option<String>,
    /// What RAUC does, if it does something.
    pub busy: Option<String>,
    /// What the box takes for UTC.
    pub utc: Option<Utc>,
}

/// What was read of a bundle whose signature is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleFacts {
    /// Its version and machine.
    pub release: Release,
    /// When it was made, if it says so.
    pub built: Option<Utc>,
    /// Its size.
    pub bytes: u64,
}

/// Why an update is not begun. Each says how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bundle's version cannot be compared.
    #[error("the bundle's version `{0}` is none as of semver.org: build it with one like 1.2.3")]
    NoVersion(String),
    /// Not the version that was asked for.
    #[error("the bundle is of version {bundle}, {wanted} was asked for: check the address")]
    OtherVersion {
        /// The bundle's.
        bundle: String,
        /// The wish's.
        wanted: String,
    },
    /// It runs already.
    #[error("version {0} runs already: force it to write it again")]
    SameVersion(String),
    /// Older than what runs.
    #[error("version {new} is older than {running}, which runs: allow the downgrade if it is meant")]
    Downgrade {
        /// The bundle's.
        new: String,
        /// The box's.
        running: String,
    },
    /// Older than what ran once.
    #[error(
        "version {new} is older than {floor}, which this box ran before: allow the downgrade if it is meant"
    )]
    BelowFloor {
        /// The bundle's.
        new: String,
        /// The newest one that was committed.
        floor: String,
    },
    /// Another kind of machine.
    #[error("the bundle is for `{bundle}`, this box is a `{machine}`: take the bundle for it")]
    WrongMachine {
        /// The bundle's.
        bundle: String,
        /// The box's.
        machine: String,
    },
    /// No room.
    #[error(
        "the data partition has {free} MB free, {wanted} MB are needed: lower `max_size` of [store], or remove files"
    )]
    NoSpace {
        /// Free, in MB.
        free: u64,
        /// Needed, in MB.
        wanted: u64,
    },
    /// There is no slot to write.
    #[error("there is no second slot: this box cannot be updated in place, flash it")]
    OneSlot,
    /// RAUC cannot tell which slot runs.
    #[error(
        "it is not known which slot runs: the boot loader does not say (rauc.slot= on the kernel's command line)"
    )]
    NoBootedSlot,
    /// Jetson: flashed without redundancy.
    #[error(
        "the second root file system is not armed (RootfsRedundancyLevel is 0): flash the box with the redundant layout"
    )]
    NotArmed,
    /// Jetson: the firmware will not start the slot.
    #[error(
        "the firmware holds slot {0} for unbootable and would not start it: reset its status (nvbootctrl) first"
    )]
    Trapped(String),
    /// The running system may still go back to the slot that would be written.
    #[error(
        "the system that runs is not committed yet, and the other slot is its way back: wait for the health gate"
    )]
    Uncommitted,
    /// RAUC is busy.
    #[error("RAUC is busy ({0}): wait for it")]
    Busy(String),
    /// The clock is wrong.
    #[error(
        "the box's clock says {now}, before the bundle was made ({built}): set the clock or wait for NTP, or force it"
    )]
    ClockBehind {
        /// The box's time.
        now: String,
        /// The bundle's.
        built: String,
    },
}

/// All of them in one sentence each.
pub fn spoken(refusals: &[Refusal]) -> String {
    refusals
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// The slot that would be written: the first with a boot name that does not run.
pub fn target(slots: &[SlotFacts]) -> Option<&SlotFacts> {
    slots.iter().find(|s| !s.booted && s.bootname.is_some())
}

/// Why this box can take no update now, whatever is in it. `bytes` is how much is still to come, if known.
pub fn box_refusals(facts: &BoxFacts, bytes: Option<u64>) -> Vec<Refusal> {
    let mut found = Vec::new();
    if let Some(busy) = &facts.busy {
        // It tells nothing of its slots meanwhile.
        found.push(Refusal::Busy(busy.clone()));
    } else if !facts.slots.iter().any(|s| s.booted) {
        found.push(Refusal::NoBootedSlot);
    } else if target(&facts.slots).is_none() {
        found.push(Refusal::OneSlot);
    }
    match (&facts.redundancy, target(&facts.slots)) {
        (Redundancy::NotArmed, _) => found.push(Refusal::NotArmed),
        (Redundancy::Trapped(slot), Some(target)) if target.bootname.as_ref() == Some(slot) => {
            found.push(Refusal::Trapped(slot.clone()));
        }
        _ => {}
    }
    if facts.pending.is_some() {
        found.push(Refusal::Uncommitted);
    }
    let wanted = bytes.unwrap_or(0).saturating_add(facts.reserve);
    if facts.free < wanted {
        const MB: u64 = 1_000_000;
        found.push(Refusal::NoSpace {
            free: facts.free / MB,
            wanted: wanted.div_ceil(MB),
        });
    }
    found
}

/// Why this bundle may not be installed on this box. The bundle is on the box's disk already.
pub fn bundle_refusals<S>(facts: &BoxFacts, bundle: &BundleFacts, wish: &Wish<S>) -> Vec<Refusal> {
    let mut found = box_refusals(facts, None);
    if bundle.release.compatible != facts.compatible {
        found.push(Refusal::WrongMachine {
            bundle: bundle.release.compatible.clone(),
            machine: facts.compatible.clone(),
        });
    }
    if let Some(wanted) = wish.version.as_ref().filter(|v| **v != bundle.release.version) {
        found.push(Refusal::OtherVersion {
            bundle: bundle.release.version.clone(),
            wanted: wanted.clone(),
        });
    }
    found.extend(version_refusal(
        &facts.version,
        facts.floor.as_deref(),
        &bundle.release.version,
        wish.allow_downgrade,
        wish.force,
    ));
    if let (Some(now), Some(built)) = (facts.utc, bundle.built)
        && now < built
        && !wish.force
    {
        found.push(Refusal::ClockBehind {
            now: now.to_rfc3339(),
            built: built.to_rfc3339(),
        });
    }
    found
}
