//! How a number of bytes is written in what people read: the same at both ends.

/// A number of bytes with a unit that suits it, rounded to a tenth of the unit. A body is some bytes longer than its file, and reads alike.
pub fn in_words(bytes: u64) -> String {
    let power = bytes.checked_ilog2().unwrap_or(0) / 10;
    let unit = 1 << (10 * power);
    let tenths = bytes / unit * 10 + (bytes % unit * 10 + unit / 2) / unit;
    let names = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let name = names[power as usize];
    match (tenths / 10, tenths % 10) {
        // Just below the next unit.
        (1024, _) if power < 6 => format!("1 {}", names[power as usize + 1]),
        (whole, 0) => format!("{whole} {name}"),
        (whole, tenth) => format!("{whole}.{tenth} {name}"),
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
            (1025, "1 KiB"),
            (1600, "1.6 KiB"),
            ((1 << 20) - 52, "1023.9 KiB"),
            ((1 << 20) - 1, "1 MiB"),
            (5 << 20, "5 MiB"),
            (3 << 29, "1.5 GiB"),
            (1 << 40, "1 TiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(in_words(bytes), expected);
        }
    }
}
