//! Durations and sizes as they are written on the command line: `50ms`, `5s`, `1m`, `64KiB`.

const TIME: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
const SIZE: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];

/// Parses a duration, and returns milliseconds. Only `0` may be without a unit.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let (number, unit) = split(text, "a duration such as 50ms, 5s, 1m or 1h")?;
    let factor = match (unit, number) {
        ("", 0) => 1,
        ("", number) => return Err(format!("which unit? Write {number}ms or {number}s")),
        (unit, _) => factor(&TIME, unit).ok_or_else(|| {
            format!("the unit {unit:?} is none of ms, s, m and h (no fractions: 1500ms, not 1.5s)")
        })?,
    };
    in_range(number, factor)
}

/// Parses a size, and returns bytes. A number without a unit counts bytes.
pub(crate) fn size(text: &str) -> Result<i64, String> {
    let (number, unit) = split(text, "a size such as 512, 64KiB or 16MiB")?;
    let factor = match unit {
        "" => 1,
        unit => factor(&SIZE, unit).ok_or_else(|| {
            format!("the unit {unit:?} is none of B, KiB, MiB and GiB (powers of 1024)")
        })?,
    };
    in_range(number, factor)
}

fn split<'a>(text: &'a str, expected: &str) -> Result<(u64, &'a str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err(format!("expected {expected}"));
    }
    let number = digits.parse().map_err(|_| "the number is too large".to_owned())?;
    Ok((number, unit.trim_start()))
}

fn factor(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    let same = |name: &str| name.eq_ignore_ascii_case(unit);
    units.iter().find(|(name, _)| same(name)).map(|(_, factor)| *factor)
}

fn in_range(number: u64, factor: u64) -> Result<i64, String> {
    let product = number.checked_mul(factor).and_then(|product| i64::try_from(product).ok());
    product.ok_or_else(|| "the number is too large".to_owned())
}

/// Returns milliseconds in a readable form: `80 ms`, `4.2 s`, `1 min 5 s`.
pub(crate) fn readable(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("50ms"), Ok(50));
        assert_eq!(duration("5s"), Ok(5_000));
        assert_eq!(duration("1m"), Ok(60_000));
        assert_eq!(duration("2 h"), Ok(7_200_000));
        assert_eq!(duration("0"), Ok(0));
        for bad in ["", "5", "5x", "1.5s", "-1s", "s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(duration("5"), Err("which unit? Write 5ms or 5s".to_owned()));
    }

    #[test]
    fn sizes_are_bytes_unless_said() {
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("16mib"), Ok(16 << 20));
        for bad in ["", "64KB", "1.5MiB", "-1", "9223372036854775807GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(readable(80), "80 ms");
        assert_eq!(readable(4_270), "4.2 s");
        assert_eq!(readable(65_000), "1 min 5 s");
    }
}
