//! Charts as inline SVG. Their numbers are in their words, too: nothing is told by colour alone.

use std::fmt::Write as _;

use portcullis_engine::time::{UnixNanos, to_rfc3339};

use super::html::{Number, Text};
use super::tally::Split;
use super::timeline::{Bar, Timeline};

/// The size of the chart over time, in pixels: of the bars, and of what is around them.
const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 10.0;

/// The kinds of a bar, from the ground up: its class and its words.
const KINDS: [(&str, &str); 3] = [("allowed", "allowed"), ("monitored", "monitored"), ("denied", "refused")];

/// An instant as a person reads it, in UTC.
pub fn instant(seconds: u64) -> String {
    let text = to_rfc3339(UnixNanos(seconds.saturating_mul(1_000_000_000)));
    text.get(..19).unwrap_or(&text).replace('T', " ")
}

/// A span of time in words.
fn span(seconds: u64) -> String {
    match seconds {
        s if s % 86_400 == 0 => format!("{} d", s / 86_400),
        s if s % 3_600 == 0 => format!("{} h", s / 3_600),
        s if s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

/// Requests over time, as stacked bars.
pub fn over_time(timeline: &Timeline) -> String {
    const MOST_BARS: u64 = 60;
    let (length, bars) = timeline.bars(MOST_BARS);
    let total = |bar: &Bar| bar.counts.iter().sum::<u64>();
    let (Some(first), Some(last)) = (bars.first(), bars.last()) else {
        return "<p class=\"none\">No line has a time.</p>".to_owned();
    };
    let top = nice(bars.iter().map(total).max().unwrap_or(1));
    let mut svg = format!(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"Requests per {}, from {} to {}; at most {} in one bar\">\n",
        LEFT + WIDTH + 10.0,
        TOP + HEIGHT + 28.0,
        span(length),
        instant(first.begins),
        instant(last.begins + length),
        bars.iter().map(total).max().unwrap_or(0),
    );
    for part in 0..=4_u32 {
        let y = TOP + HEIGHT - HEIGHT * f64::from(part) / 4.0;
        let value = top * f64::from(part) / 4.0;
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\"/><text class=\"axis end\" x=\"{}\" y=\"{}\">{value}</text>",
            LEFT + WIDTH,
            LEFT - 8.0,
            y + 4.0,
        );
    }
    let step = WIDTH / bars.len() as f64;
    // A single bar is no wall.
    let width = (step * 0.8).min(60.0);
    for (index, bar) in bars.iter().enumerate() {
        let x = LEFT + step * index as f64 + (step - width) / 2.0;
        let mut y = TOP + HEIGHT;
        let _ = write!(svg, "<g><title>{} UTC, {}:", instant(bar.begins), span(length));
        for ((_, words), count) in KINDS.into_iter().zip(bar.counts) {
            let _ = write!(svg, " {count} {words}");
        }
        svg.push_str("</title>");
        for ((class, _), count) in KINDS.into_iter().zip(bar.counts).filter(|(_, count)| *count > 0) {
            let height = HEIGHT * count as f64 / top;
            y -= height;
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
            );
        }
        svg.push_str("</g>\n");
    }
    let ground = TOP + HEIGHT + 20.0;
    let _ = writeln!(svg, "<text class=\"axis\" x=\"{LEFT}\" y=\"{ground}\">{} UTC</text>", instant(first.begins));
    let end = instant(last.begins.saturating_add(length));
    let _ = writeln!(svg, "<text class=\"axis end\" x=\"{}\" y=\"{ground}\">{end} UTC</text>", LEFT + WIDTH);
    svg.push_str("</svg>\n");
    svg
}

/// A number at or above `most` whose quarters are easy to read.
fn nice(most: u64) -> f64 {
    let most = most.max(4) as f64;
    let magnitude = 10_f64.powf(most.log10().floor());
    [1.0, 2.0, 4.0, 6.0, 8.0, 10.0]
        .into_iter()
        .map(|factor| (factor * magnitude / 4.0).ceil() * 4.0)
        .find(|top| *top >= most)
        .unwrap_or(most)
}

/// A row of a bar chart: its name and its counts.
pub type Row<'a> = (&'a str, Split);

/// Counts by name, as stacked bars beside each other in a table.
pub fn by_name(heading: &str, rows: &[Row<'_>], with_allowed: bool) -> String {
    let sum = |split: &Split| split.allowed + split.monitored + split.denied;
    let most = rows.iter().map(|(_, split)| sum(split)).max().unwrap_or(0).max(1) as f64;
    let mut table = format!(
        "<table><thead><tr><th scope=\"col\">{heading}</th>\
         <th scope=\"col\" class=\"bar\"><span class=\"hidden\">share</span></th>"
    );
    // What is refused for a reason is never allowed for it.
    let columns = if with_allowed { &["allowed", "monitored", "refused"][..] } else { &["monitored", "refused"][..] };
    for column in columns {
        let _ = write!(table, "<th scope=\"col\" class=\"number\">{column}</th>");
    }
    table.push_str("</tr></thead><tbody>\n");
    for (name, split) in rows {
        let _ = write!(
            table,
            "<tr><th scope=\"row\">{}</th><td class=\"bar\"><svg viewBox=\"0 0 300 14\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
            Text(name)
        );
        let mut x = 0.0;
        for ((class, _), count) in KINDS.into_iter().zip([split.allowed, split.monitored, split.denied]) {
            let width = 300.0 * count as f64 / most;
            if count > 0 {
                let _ =
                    write!(table, "<rect class=\"{class}\" x=\"{x:.1}\" y=\"0\" width=\"{width:.1}\" height=\"14\"/>");
            }
            x += width;
        }
        table.push_str("</svg></td>");
        let counts = [split.allowed, split.monitored, split.denied];
        for count in counts.into_iter().skip(counts.len() - columns.len()) {
            let _ = write!(table, "<td class=\"number\">{}</td>", Number(count));
        }
        table.push_str("</tr>\n");
    }
    table.push_str("</tbody></table>\n");
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_reaches_the_highest_bar_and_has_whole_quarters() {
        for most in [0, 1, 3, 5, 9, 10, 11, 99, 100, 101, 12_345] {
            let top = nice(most);
            assert!(top >= most as f64 && top <= (most.max(4) * 3) as f64, "{most}: {top}");
            assert_eq!(top % 4.0, 0.0, "{most}: {top}");
        }
    }
}
