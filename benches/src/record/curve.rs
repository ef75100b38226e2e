//! Latency over percentile as an SVG, one line per program. The horizontal axis is stretched towards the tail: 90 %, 99 %, 99.9 %…
//! are equally far apart, because that is where programs differ.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;
/// Points per factor of ten.
const STEPS: usize = 24;

/// One line: its name, its number among all programs (which decides its colour), its latencies in nanoseconds.
pub(crate) type Line = (String, usize, Histogram<u64>);

/// The drawing, or nothing if nobody has latencies.
pub(crate) fn svg(lines: &[Line]) -> String {
    let lines: Vec<_> = lines.iter().filter(|(_, _, histogram)| !histogram.is_empty()).collect();
    if lines.is_empty() {
        return String::new();
    }
    let tail = lines.iter().map(|(_, _, histogram)| decades(histogram)).fold(1.0, f64::max);
    let values =
        |of: fn(&Histogram<u64>) -> u64| lines.iter().map(move |(_, _, histogram)| of(histogram).max(1) as f64);
    let lowest = values(Histogram::min).fold(f64::INFINITY, f64::min).log10().floor();
    let highest = values(Histogram::max).fold(0.0, f64::max).log10().ceil().max(lowest + 1.0);
    let scale = Scale { tail, lowest, highest };
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"latency over percentile\">{}",
        scale.grid()
    );
    for (name, number, histogram) in lines {
        let points: String =
            points(histogram).map(|(decade, nanos)| format!("{:.1},{:.1} ", scale.x(decade), scale.y(nanos))).collect();
        let _ = write!(
            svg,
            "<polyline class=\"line c{number}\" points=\"{}\"><title>{name}</title></polyline>",
            points.trim()
        );
    }
    svg + "</svg>"
}

/// How far into the tail the samples reach: a thousand reach to 99.9 %, that is three.
fn decades(histogram: &Histogram<u64>) -> f64 {
    (histogram.len() as f64).log10()
}

/// (decades of the tail, nanoseconds) from the smallest to the largest.
fn points(histogram: &Histogram<u64>) -> impl Iterator<Item = (f64, f64)> {
    let last = decades(histogram);
    let steps = (last * STEPS as f64).ceil().max(1.0) as usize;
    (0..=steps).map(move |step| {
        let decade = last * step as f64 / steps as f64;
        let value = histogram.value_at_quantile(1.0 - 10f64.powf(-decade));
        (decade, value.max(1) as f64)
    })
}

struct Scale {
    /// Decades of the horizontal axis.
    tail: f64,
    /// Powers of ten of the vertical axis.
    lowest: f64,
    highest: f64,
}

impl Scale {
    fn x(&self, decade: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * decade / self.tail
    }

    fn y(&self, nanos: f64) -> f64 {
        let share = (nanos.log10() - self.lowest) / (self.highest - self.lowest);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    }

    fn grid(&self) -> String {
        let mut grid = String::new();
        for decade in 0..=(self.tail.floor() as usize) {
            let x = self.x(decade as f64);
            let _ = write!(
                grid,
                "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{}\"/><text x=\"{x:.1}\" y=\"{}\" \
                 text-anchor=\"middle\">{}</text>",
                HEIGHT - BOTTOM,
                HEIGHT - BOTTOM + 18.0,
                percentile(decade)
            );
        }
        for power in (self.lowest as i32)..=(self.highest as i32) {
            let y = self.y(10f64.powi(power));
            let _ = write!(
                grid,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{}\" y2=\"{y:.1}\"/><text x=\"{}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                duration(power)
            );
        }
        grid
    }
}

/// 0 %, 90 %, 99 %, 99.9 % …
fn percentile(decades: usize) -> String {
    match decades {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        _ => format!("99.{} %", "9".repeat(decades - 2)),
    }
}

/// A power of ten of nanoseconds.
fn duration(power: i32) -> String {
    let (unit, base) = match power {
        ..3 => ("ns", 0),
        3..6 => ("µs", 3),
        6..9 => ("ms", 6),
        _ => ("s", 9),
    };
    format!("{} {unit}", 10u64.pow((power - base) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency;

    #[test]
    fn the_axes_are_named_in_round_numbers() {
        assert_eq!((0..5).map(percentile).collect::<Vec<_>>(), ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
        assert_eq!([2, 3, 5, 6, 9].map(duration), ["100 ns", "1 µs", "100 µs", "1 ms", "1 s"]);
    }

    #[test]
    fn a_curve_rises_from_the_fastest_to_the_slowest() {
        let mut histogram = latency::empty();
        (1..=1000u64).for_each(|n| histogram.saturating_record(n * 1000));
        let points: Vec<_> = points(&histogram).collect();
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
        assert!((points.last().unwrap().1 - 1e6).abs() < 1e4 && points[0].1 < 2e3, "{points:?}");
        let svg = svg(&[("a".to_owned(), 0, histogram), ("b".to_owned(), 1, latency::empty())]);
        assert_eq!(svg.matches("<polyline").count(), 1, "an empty histogram is no line");
        assert!(svg.contains("99.9 %") && svg.contains("1 ms"));
    }
}
