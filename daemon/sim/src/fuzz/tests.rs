//! Every target for a moment, or as long as the environment says.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use synoptic_base::Span;
use synoptic_media::clocks::SystemClock;

use super::*;

/// In CI: some thousand inputs of each parser.
const SHORT: Span = Span::from_millis(700);

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

#[test]
fn any_bytes_leave_every_invariant_standing() {
    let clock = SystemClock::shared();
    let length = setting("SYNOPTIC_FUZZ_S").map_or(SHORT, |s| Span::from_secs(s as i64));
    let seed = setting("SYNOPTIC_FUZZ_SEED").unwrap_or(1);
    for target in TARGETS {
        let samples = samples(target.name);
        let steps = samples.is_empty();
        samples.iter().for_each(|s| (target.run)(s));
        let end = clock.now() + length;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut runs = 0_u64;
        while clock.now() < end {
            let data = if steps {
                let mut noise = vec![0; rand::Rng::random_range(&mut rng, 0..4_000)];
                rand::RngCore::fill_bytes(&mut rng, &mut noise);
                noise
            } else {
                mutated(&samples, &mut rng)
            };
            let run = || (target.run)(&data);
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
                let hex: String = data.iter().map(|b| format!("{b:02x}")).collect();
                panic!(
                    "target {}, seed {seed}, input {runs} ({} bytes): {hex}",
                    target.name,
                    data.len()
                );
            }
            runs += 1;
        }
        println!("{}: {runs} inputs", target.name);
        assert!(runs > 0);
    }
}

#[test]
fn samples_are_understood() {
    use synoptic_engine::timebase::wire;
    let of = |name| samples(name).swap_remove(0);
    let mut reader = wire::FlvReader::default();
    reader.push(&of("flv"));
    let items = std::iter::from_fn(|| reader.poll().unwrap()).count();
    assert_eq!(items, 4, "script, configuration, two pictures");
    assert!(
        samples("flv_script")
            .iter()
            .all(|s| wire::flv_script(s).is_some())
    );
    assert_eq!(wire::ts_units(&of("ts")).map(|u| u.len()), Ok(2));
    assert!(
        samples("m3u8")
            .iter()
            .all(|s| wire::playlist(std::str::from_utf8(s).unwrap()).is_ok())
    );
    assert_eq!(wire::sei_times(&of("sei"), 1).len(), 1);
}
