//! Numbers that fit a column: three digits and a prefix.

/// Steps of a thousand.
const PREFIXES: [&str; 6] = ["", "k", "M", "G", "T", "P"];

/// `1234567.0` is `1.23M`. What is not known is a dash.
pub(super) fn scaled(value: Option<f64>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    let (mut value, mut prefix) = (value, 0);
    // 999.5 would be shown as 1000.
    while value >= 999.5 && prefix + 1 < PREFIXES.len() {
        value /= 1000.0;
        prefix += 1;
    }
    let decimals = match value {
        _ if prefix == 0 && value.fract() == 0.0 => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}{}", PREFIXES[prefix])
}

/// A count, exact.
pub(super) fn count(value: u64) -> String {
    value.to_string()
}

/// A share, in percent.
pub(super) fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
}

/// Microseconds, in the unit that reads best.
pub(super) fn time(us: Option<f64>) -> String {
    match us {
        None => "-".to_owned(),
        Some(us) if us < 1e3 => format!("{us:.0} us"),
        Some(us) if us < 1e6 => format!("{:.2} ms", us / 1e3),
        Some(us) => format!("{:.2} s", us / 1e6),
    }
}

/// Seconds, as `3d 04:05:06`.
pub(super) fn age(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let clock = format!("{hours:02}:{minutes:02}:{:02}", seconds % 60);
    if days == 0 { clock } else { format!("{days}d {clock}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        for (value, shown) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (7.0, "7"),
            (12.34, "12.3"),
            (999.0, "999"),
            (999.6, "1.00k"),
            (1234.0, "1.23k"),
            (99_960.0, "100k"),
            (1_234_567.0, "1.23M"),
            (9.876e10, "98.8G"),
            (1e30, "1000000000000000P"),
        ] {
            assert_eq!(scaled(Some(value)), shown);
        }
        assert_eq!((scaled(None), percent(None), time(None)), ("-".into(), "-".into(), "-".into()));
        assert_eq!(
            (time(Some(250.4)), time(Some(1234.0)), time(Some(2.5e6))),
            ("250 us".into(), "1.23 ms".into(), "2.50 s".into())
        );
        assert_eq!((age(59), age(3 * 86_400 + 4 * 3600 + 5 * 60 + 6)), ("00:00:59".into(), "3d 04:05:06".into()));
    }
}
