//! Durations and sizes as a person writes them: `"5m30s"`, `"64KiB"`.

use std::time::Duration;

/// How durations are written, for hints.
pub const DURATION_FORM: &str = "write a number and a unit (ms, s, m, h, d), such as \"90s\", \"5m30s\" or \"1h\"";

/// How sizes are written, for hints.
pub const SIZE_FORM: &str = "write a number of bytes, or a number and a unit (B, KB, MB, GB, KiB, MiB, GiB), such as \"64KiB\"";

/// Milliseconds, largest unit first; `"5m30s"` names each at most once and in this order.
const DURATION_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const SIZE_UNITS: [(&str, u64); 8] =
    [("", 1), ("b", 1), ("kb", 1_000), ("mb", 1_000_000), ("gb", 1_000_000_000), ("kib", 1 << 10), ("mib", 1 << 20), ("gib", 1 << 30)];

/// `None` when the text is no duration or is too large to count.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let (mut total, mut units) = (0_u64, DURATION_UNITS.as_slice());
    while !rest.is_empty() {
        let (number, unit);
        (number, rest) = split(rest, |c| c.is_ascii_digit());
        (unit, rest) = split(rest.trim_start(), |c| c.is_ascii_alphabetic());
        rest = rest.trim_start();
        let at = units.iter().position(|(name, _)| *name == unit)?;
        total = number.parse::<u64>().ok()?.checked_mul(units[at].1)?.checked_add(total)?;
        units = &units[at + 1..];
    }
    (units.len() < DURATION_UNITS.len()).then(|| Duration::from_millis(total))
}

/// Bytes; `None` when the text is no size or is too large to count.
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text.trim(), |c| c.is_ascii_digit());
    let unit = unit.trim_start().to_ascii_lowercase();
    let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn split(text: &str, fits: fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !fits(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            ("1h", 3_600_000),
            ("90s", 90_000),
            ("500ms", 500),
            ("5m30s", 330_000),
            ("2d", 172_800_000),
            (" 1 h 30 m ", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("0s", 0),
            ("0", 0),
        ];
        for (text, millis) in cases {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text:?}");
        }
        for bad in ["", " ", "5", "h", "1.5h", "-1s", "1h30", "30s5m", "1h1h", "1 hour", "1H", "never", "99999999999999d", "٣s", "1é"] {
            assert_eq!(duration(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn sizes() {
        let cases = [("64KiB", 65_536), ("10MB", 10_000_000), ("0", 0), ("17", 17), ("17 B", 17), ("1gib", 1 << 30), ("2 kB", 2_000)];
        for (text, bytes) in cases {
            assert_eq!(size(text), Some(bytes), "{text:?}");
        }
        for bad in ["", "KiB", "1.5MB", "-1", "10K", "10 MiBs", "99999999999GiB", "off"] {
            assert_eq!(size(bad), None, "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "\\PC*") {
            let _ = (duration(&text), size(&text));
        }
    }
}
