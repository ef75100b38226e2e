//! The Date of responses that lack one (RFC 9110 §5.6.7), written once per second and core.

use core::cell::Cell;

/// `Sun, 06 Nov 1994 08:49:37 GMT`
pub(super) type HttpDate = [u8; 29];

/// The last date written.
#[derive(Debug)]
pub(super) struct DateCell(Cell<(u64, HttpDate)>);

impl Default for DateCell {
    fn default() -> Self {
        DateCell(Cell::new((0, format(0))))
    }
}

impl DateCell {
    /// The date at `unix` seconds.
    pub(super) fn at(&self, unix: u64) -> HttpDate {
        let (second, date) = self.0.get();
        if second == unix {
            return date;
        }
        let date = format(unix);
        self.0.set((unix, date));
        date
    }
}

/// IMF-fixdate of a time in seconds since 1970.
fn format(unix: u64) -> HttpDate {
    let (days, seconds) = (unix / 86_400, unix % 86_400);
    let (year, month, day) = civil(days);
    let mut date = *b"Thu, 00 Jan 0000 00:00:00 GMT";
    let two = |value: u64| [b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8];
    date[..3].copy_from_slice(b"ThuFriSatSunMonTueWed".chunks(3).nth((days % 7) as usize).unwrap_or(b"Thu"));
    date[5..7].copy_from_slice(&two(day));
    let names = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    date[8..11].copy_from_slice(names.chunks(3).nth(month as usize - 1).unwrap_or(b"Jan"));
    date[12..14].copy_from_slice(&two(year / 100));
    date[14..16].copy_from_slice(&two(year % 100));
    date[17..19].copy_from_slice(&two(seconds / 3600));
    date[20..22].copy_from_slice(&two(seconds / 60 % 60));
    date[23..25].copy_from_slice(&two(seconds % 60));
    date
}

/// Year, month and day of a day number, in the proleptic Gregorian calendar; years are counted from March so that the leap day
/// is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        for (unix, text) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(core::str::from_utf8(&DateCell::default().at(unix)), Ok(text));
        }
    }
}
