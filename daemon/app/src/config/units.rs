//! Lengths of time and amounts of bytes as people write them: `"250ms"`, `"1.5h"`, `"30d"`, `"20GB"`.

use synoptic_base::Span;

/// Units of time and their length in nanoseconds.
const TIME_UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

/// Units of bytes: powers of ten as disks are sold, powers of two with an `i` (IEC 80000-13).
const BYTE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// How a length of time is written, for hints.
pub(super) const TIME_HINT: &str =
    "write a number and a unit: ns, us, ms, s, min, h, d or w, such as \"250ms\" or \"30d\"";
/// How an amount of bytes is written, for hints.
pub(super) const BYTES_HINT: &str =
    "write a number and a unit: B, kB, MB, GB, TB, KiB, MiB, GiB or TiB, such as \"20GB\"";
/// What the JSON Schema says of a length of time.
pub(super) const TIME_PATTERN: &str = r"^[0-9]+(\.[0-9]+)? ?(ns|us|ms|s|min|h|d|w)$";
/// What the JSON Schema says of an amount of bytes.
pub(super) const BYTES_PATTERN: &str = r"^[0-9]+(\.[0-9]+)? ?(B|[kMGT]B|[KMGT]iB)$";

/// Reads a length of time: a number that is not negative, at most one blank, a unit. `None` when it is none
/// or too long for a [`Span`].
pub(super) fn parse_span(text: &str) -> Option<Span> {
    let (number, unit) = split(text)?;
    let (_, unit_ns) = TIME_UNITS.iter().find(|(name, _)| *name == unit)?;
    let ns = scaled(number, u64::try_from(*unit_ns).ok()?)?;
    i64::try_from(ns).ok().map(Span::from_nanos)
}

/// Reads an amount of bytes, written as [`parse_span`] wants it.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let (_, unit_bytes) = BYTE_UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    scaled(number, *unit_bytes)
}

/// Writes a length of time with the largest unit that leaves a whole number.
pub(super) fn write_span(span: Span) -> String {
    let ns = span.as_nanos();
    let unit = TIME_UNITS
        .iter()
        .rev()
        .find(|(name, size)| ns % size == 0 && (*name != "w" || ns == 0));
    let (name, size) = unit.copied().unwrap_or(("ns", 1));
    if ns == 0 {
        return "0s".to_owned();
    }
    format!("{}{name}", ns / size)
}

/// Writes an amount of bytes with the largest decimal unit that leaves a whole number.
pub(super) fn write_bytes(bytes: u64) -> String {
    let decimal = &BYTE_UNITS[..5];
    let unit = decimal
        .iter()
        .rev()
        .find(|(_, size)| bytes != 0 && bytes.is_multiple_of(*size));
    let (name, size) = unit.copied().unwrap_or(("B", 1));
    format!("{}{name}", bytes / size)
}

fn split(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    Some((number, unit.strip_prefix(' ').unwrap_or(unit)))
}

/// `number x unit` exactly in integers: floats would turn 0.1 s into 100000000.00000001 ns.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || (number.contains('.') && !digits(fraction)) || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u128.pow(fraction.len() as u32);
    let mantissa: u128 = format!("{whole}{fraction}").parse().ok()?;
    let value = mantissa.checked_mul(u128::from(unit))? / scale;
    u64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_as_people_write_them() {
        for (text, ns) in [
            ("250ms", 250_000_000),
            ("33 ms", 33_000_000),
            ("1.5h", 5_400_000_000_000),
            ("0.1s", 100_000_000),
            ("30d", 30 * 86_400_000_000_000),
            ("2w", 14 * 86_400_000_000_000),
            ("4s", 4_000_000_000),
            ("10min", 600_000_000_000),
        ] {
            assert_eq!(parse_span(text), Some(Span::from_nanos(ns)), "{text}");
        }
        for bad in [
            "",
            "4",
            "s",
            "-4s",
            "4 days",
            "4  s",
            "1.s",
            ".5s",
            "1.2.3s",
            "4S",
            "99999999999w",
            "1e3s",
        ] {
            assert_eq!(parse_span(bad), None, "{bad}");
        }
    }

    #[test]
    fn bytes_as_people_write_them() {
        for (text, bytes) in [
            ("20GB", 20_000_000_000),
            ("1 GiB", 1 << 30),
            ("1.5kB", 1_500),
            ("0B", 0),
            ("5gb", 5_000_000_000),
        ] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for bad in ["", "20", "GB", "-1GB", "20 XB", "99999999999TB"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for ns in [
            0,
            1,
            1_500,
            33_000_000,
            4_000_000_000,
            43_200_000_000_000,
            86_400_000_000_000 * 28,
        ] {
            let span = Span::from_nanos(ns);
            assert_eq!(parse_span(&write_span(span)), Some(span));
        }
        assert_eq!(write_span(Span::from_secs(30 * 86_400)), "30d");
        for bytes in [0, 1, 1_000, 1 << 30, 20_000_000_000] {
            assert_eq!(parse_bytes(&write_bytes(bytes)), Some(bytes));
        }
        assert_eq!(write_bytes(20_000_000_000), "20GB");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,24}") {
            let _ = (parse_span(&text), parse_bytes(&text));
        }
    }
}
