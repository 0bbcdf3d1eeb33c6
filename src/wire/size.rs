//! How a number of bytes is written in what people read: the same at both ends.

/// A number of bytes with a unit that suits it, rounded to a tenth of the unit.
pub fn in_words(bytes: u64) -> String {
    let power = bytes.checked_ilog2().unwrap_or(0) / 10;
    let unit = 1 << (10 * power);
    let tenths = bytes / unit * 10 + (bytes % unit * 10 + unit / 2) / unit;
    let names = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let name = names[power as usize];
    match (bytes % unit, tenths) {
        (0, _) => format!("{} {name}", bytes / unit),
        // Just below the next unit.
        (_, 10_240) if power < 6 => format!("1.0 {}", names[power as usize + 1]),
        _ => format!("{}.{} {name}", tenths / 10, tenths % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_rounded_to_a_tenth_of_its_unit() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1 << 10, "1 KiB"),
            (1025, "1.0 KiB"),
            (1600, "1.6 KiB"),
            ((1 << 20) - 52, "1023.9 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (5 << 20, "5 MiB"),
            (3 << 29, "1.5 GiB"),
            (1 << 40, "1 TiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(in_words(bytes), expected);
        }
    }
}
