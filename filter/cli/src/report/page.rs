//! The page: everything in one document, styles and charts too.

use std::fmt::Write as _;

use super::Logs;
use super::chart;
use super::entry::{Ban, Finding, Request, Verdict};
use super::html::{Number, Text};
use super::tally::{Found, Offender, Split, Tally};
use super::top::Top;

const STYLE: &str = include_str!("style.css");

/// The page about these logs; no table has more than `rows` rows.
pub fn write(logs: &Logs, rows: usize) -> String {
    let tally = logs.requests();
    let mut page = String::with_capacity(64 * 1024);
    // Should anything have slipped through the escaping, a browser still runs and fetches nothing.
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Gateway report</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header><h1>Gateway report</h1>\n"
    );
    head(&mut page, logs, tally);
    page.push_str("</header>\n<main>\n");
    section(&mut page, "Requests over time", &format!("{LEGEND}{}", chart::over_time(&tally.timeline)));
    section(&mut page, "Why requests were refused", &split_table("reason", &tally.reasons, rows, false));
    section(&mut page, "Rules", &split_table("rule", &tally.rules, rows, true));
    section(&mut page, "Who was refused: addresses", &offenders("address", &tally.offenders, rows));
    if tally.callers.len() > 0 {
        section(&mut page, "Who was refused: verified callers", &offenders("caller", &tally.callers, rows));
    }
    section(&mut page, "What they asked for", &offenders("request", &tally.targets, rows));
    if logs.payload.found.len() > 0 {
        section(&mut page, "What payload rules found", &payload(logs, rows));
    }
    section(&mut page, "Bans", &bans(logs, rows));
    section(&mut page, "The last refusals", &recent(tally, rows));
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

const LEGEND: &str = "<p class=\"legend\">\
    <span><svg viewBox=\"0 0 12 12\" aria-hidden=\"true\"><rect class=\"denied\" width=\"12\" height=\"12\"/></svg>refused</span>\
    <span><svg viewBox=\"0 0 12 12\" aria-hidden=\"true\"><rect class=\"monitored\" width=\"12\" height=\"12\"/></svg>would have been refused (monitor mode)</span>\
    <span><svg viewBox=\"0 0 12 12\" aria-hidden=\"true\"><rect class=\"allowed\" width=\"12\" height=\"12\"/></svg>allowed</span></p>\n";

fn section(page: &mut String, heading: &str, content: &str) {
    let _ = writeln!(page, "<section><h2>{heading}</h2>\n{content}</section>");
}

fn head(page: &mut String, logs: &Logs, tally: &Tally) {
    if let Some((first, last)) = tally.timeline.range() {
        let _ = writeln!(page, "<p>{} to {} UTC</p>", chart::instant(first), chart::instant(last));
    }
    if logs.access.count == 0 {
        page.push_str("<p>By audit events alone: they tell refusals, and nothing of what was allowed.</p>\n");
    }
    let share = |part: u64| match tally.count {
        0 => String::new(),
        count => format!(" ({:.1}\u{a0}%)", 100.0 * part as f64 / count as f64),
    };
    let mut tiles = vec![
        (tally.count, "requests".to_owned()),
        (tally.denied, format!("refused{}", share(tally.denied))),
        (tally.monitored, format!("monitored{}", share(tally.monitored))),
        (tally.allowed, format!("allowed{}", share(tally.allowed))),
        (logs.bans.count, "changes of bans".to_owned()),
        (tally.failed, "answers 5xx of services".to_owned()),
    ];
    if tally.unjudged > 0 {
        tiles.push((tally.unjudged, "answered by the proxy alone".to_owned()));
    }
    let left_out = logs.skipped.foreign + logs.skipped.too_long;
    if left_out > 0 {
        tiles.push((left_out, "lines left out".to_owned()));
    }
    page.push_str("<ul class=\"tiles\">\n");
    for (number, words) in tiles {
        let _ = writeln!(page, "<li><strong>{}</strong>{words}</li>", Number(number));
    }
    page.push_str("</ul>\n");
}

fn split_table(heading: &str, top: &Top<Split>, rows: usize, with_allowed: bool) -> String {
    let largest: Vec<_> = top.largest(rows).into_iter().map(|(name, _, split)| (name, *split)).collect();
    if largest.is_empty() {
        return NONE.to_owned();
    }
    chart::by_name(heading, &largest, with_allowed) + &rest(top, rows)
}

const NONE: &str = "<p>None.</p>\n";

/// How much the table leaves out.
fn rest<V: Default>(top: &Top<V>, rows: usize) -> String {
    let more = top.len().saturating_sub(rows);
    match (more, top.rest) {
        (0, 0) => String::new(),
        (more, 0) => format!("<p>… and {} more</p>\n", Number(more as u64)),
        (more, rest) => {
            format!("<p>… and {} more, and {} requests of rarer ones</p>\n", Number(more as u64), Number(rest))
        }
    }
}

fn offenders(heading: &str, top: &Top<Offender>, rows: usize) -> String {
    let largest = top.largest(rows);
    if largest.is_empty() {
        return NONE.to_owned();
    }
    let most = largest.first().map_or(1, |(_, count, _)| *count).max(1) as f64;
    let mut table = format!(
        "<table><thead><tr><th scope=\"col\">{heading}</th><th scope=\"col\" class=\"bar\"><span class=\"hidden\">share</span></th>\
         <th scope=\"col\" class=\"number\">refusals</th><th scope=\"col\">last reason</th><th scope=\"col\">first</th>\
         <th scope=\"col\">last (UTC)</th></tr></thead><tbody>\n"
    );
    for (name, count, offender) in largest {
        let (first, last) = match offender.seen {
            Some((first, last)) => (chart::instant(first), chart::instant(last)),
            None => (String::new(), String::new()),
        };
        let _ = writeln!(
            table,
            "<tr><th scope=\"row\">{}</th><td class=\"bar\"><svg viewBox=\"0 0 300 14\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
             <rect class=\"denied\" width=\"{:.1}\" height=\"14\"/></svg></td><td class=\"number\">{}</td><td class=\"word\">{}</td>\
             <td class=\"time\">{first}</td><td class=\"time\">{last}</td></tr>",
            Text(name),
            300.0 * count as f64 / most,
            Number(count),
            Text(&offender.reason),
        );
    }
    table.push_str("</tbody></table>\n");
    table + &rest(top, rows)
}

fn payload(logs: &Logs, rows: usize) -> String {
    let found = &logs.payload.found;
    let mut table =
        "<table><thead><tr><th scope=\"col\">payload rule</th><th scope=\"col\">in</th><th scope=\"col\">rule</th>\
        <th scope=\"col\" class=\"number\">refused</th><th scope=\"col\" class=\"number\">monitored</th>\
        <th scope=\"col\">if these are no attacks: payload</th></tr></thead><tbody>\n"
            .to_owned();
    for (_, _, Found { rule, finding, split }) in found.largest(rows) {
        let Finding { signature, place, parameter, exception } = finding;
        let _ = writeln!(
            table,
            "<tr><th scope=\"row\">{}</th><td>{} {}</td><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td><code>{}</code></td></tr>",
            Text(signature),
            Text(place),
            Text(parameter),
            Text(rule),
            Number(split.denied),
            Number(split.monitored),
            Text(exception),
        );
    }
    table.push_str("</tbody></table>\n");
    table + &rest(found, rows)
}

fn bans(logs: &Logs, rows: usize) -> String {
    let bans = &logs.bans;
    if bans.count == 0 {
        return "<p>None: audit events tell of bans, an access log alone does not.</p>\n".to_owned();
    }
    let mut table =
        "<table><thead><tr><th scope=\"col\">time</th><th scope=\"col\">what</th><th scope=\"col\">who</th>\
        <th scope=\"col\">ban</th><th scope=\"col\">cause</th><th scope=\"col\">until</th></tr></thead><tbody>\n"
            .to_owned();
    for Ban { time, action, ban, subject, cause, until } in bans.recent.iter().rev().take(rows) {
        let what = action.replace('_', " ");
        let _ = writeln!(
            table,
            "<tr><td class=\"time\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"time\">{}</td></tr>",
            Text(time),
            Text(&what),
            Text(subject),
            Text(ban),
            Text(cause),
            Text(until)
        );
    }
    table.push_str("</tbody></table>\n");
    let more = bans.count.saturating_sub(bans.recent.len().min(rows) as u64);
    if more > 0 {
        let _ = writeln!(table, "<p>… and {} before these</p>", Number(more));
    }
    table
}

fn recent(tally: &Tally, rows: usize) -> String {
    if tally.recent.is_empty() {
        return NONE.to_owned();
    }
    let mut table = "<table><thead><tr><th scope=\"col\">time (UTC)</th><th scope=\"col\">verdict</th><th scope=\"col\">reason</th>\
        <th scope=\"col\">address</th><th scope=\"col\">caller</th><th scope=\"col\">request</th><th scope=\"col\" class=\"number\">status</th>\
        </tr></thead><tbody>\n"
        .to_owned();
    for request in tally.recent.iter().rev().take(rows) {
        let Request { time, verdict, reason, client, principal, target, status, .. } = request;
        let _ = writeln!(
            table,
            "<tr><td class=\"time\">{}</td><td>{}</td><td class=\"word\">{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"number\">{}</td></tr>",
            time.map(chart::instant).unwrap_or_default(),
            if *verdict == Verdict::Denied { "refused" } else { "monitored" },
            Text(reason),
            Text(client),
            Text(principal.as_deref().unwrap_or("")),
            Text(target),
            status.map(|status| status.to_string()).unwrap_or_default(),
        );
    }
    table.push_str("</tbody></table>\n");
    table
}
