//! Arbitrary bytes as reports and frames: nothing panics, no bound is negative, and time stays within reason.

use proptest::prelude::*;
use synoptic_base::{Mono, Span};

use super::baselines::{LastReport, LeastSquares};
use super::feed::{FrameSeen, ReportSeen};
use super::{Engine, Estimate, Estimator, camera};

/// Bytes of one event.
const EVENT: usize = 16;

fn bytes(b: &[u8]) -> u64 {
    b.iter().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// One event: what it is, how much later it comes, and its times. Half of the RTP times are near the ones before,
/// or nothing but the checks for nonsense would be exercised.
fn drive(estimator: &mut impl Estimator, data: &[u8]) -> Result<(), TestCaseError> {
    let mut now = Mono::from_nanos(1_000_000_000);
    let mut near = 0_u32;
    for event in data.chunks_exact(EVENT) {
        now += Span::from_micros(bytes(&event[1..4]) as i64 / 8);
        near = near.wrapping_add(bytes(&event[4..6]) as u32);
        let rtp = if event[0] & 1 == 0 {
            near
        } else {
            bytes(&event[4..8]) as u32
        };
        match event[0] >> 1 & 7 {
            0 => estimator.reconnect(now),
            1 | 2 => estimator.report(&ReportSeen {
                ssrc: 1,
                ntp: bytes(&event[8..16]),
                rtp,
                arrival: now,
            }),
            _ => {
                let frame = FrameSeen {
                    rtp,
                    arrival: now,
                    captured: now,
                    wall: synoptic_base::Utc::from_nanos(0),
                    outlier: false,
                    at: Span::ZERO,
                };
                if let Some(Estimate::Box(captured)) = estimator.frame(&frame) {
                    prop_assert!(
                        captured.rel_error > Span::ZERO,
                        "a bound of {}",
                        captured.rel_error
                    );
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn estimators_take_any_bytes(data in prop::collection::vec(any::<u8>(), 0..3_000), rate in any::<u32>()) {
        drive(&mut Engine::new(&camera()), &data)?;
        drive(&mut Engine::new(&camera().clock_rate(rate)), &data)?;
        drive(&mut LastReport::new(90_000), &data)?;
        drive(&mut LeastSquares::default(), &data)?;
    }
}
