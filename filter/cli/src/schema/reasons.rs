//! The reference of refusals and counters.

use portcullis_engine::answer::{BearerError, Reason};
use portcullis_engine::bans::Offence;
use portcullis_engine::{COUNTERS, HISTOGRAMS, gauges};

/// A table of all reasons, of all counters, gauges and histograms.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Refusals and counters\n\n\
         <!-- Made by scripts/docs from the tables in the code. Changes belong there. -->\n\n\
         ## Why a request was refused\n\n\
         Each refusal has a reason with a code that stays the same. The client finds it in the problem document \
         (`application/problem+json`, RFC 9457) as `reason` and at the end of `type`, the operator in the audit line \
         (`event.reason`), in the counters and in Envoy's response code details. The client gets the fixed words of this table; \
         what exactly was wrong stands in the audit line only. An offence is what bans can `count`.\n\n\
         | reason | status | error of RFC 6750 | offence | the client is told | what it means |\n|---|---|---|---|---|---|\n",
    );
    for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::Ok) {
        text.push_str(&format!(
            "| `{}` | {} | {} | {} | {} | {} |\n",
            reason.code(),
            reason.status(),
            bearer_error(reason.bearer_error()),
            Offence::of(*reason).map_or("", Offence::as_str),
            reason.description(),
            reason.doc().replace('|', "\\|"),
        ));
    }
    text.push_str(
        "\n## Counters\n\n\
         In `/stats` a counter's labels are part of its name (`wasmcustom.portcullis_decisions.rule.orders.reason.ok.verdict.allowed`). \
         With the `stats_tags` of the reference `envoy.yaml`, `/stats/prometheus` has them as labels.\n\n\
         | counter | labels | counts |\n|---|---|---|\n",
    );
    for family in COUNTERS {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        text.push_str(&format!("| `{}` | {} | {} |\n", family.name, labels.join(", "), family.help));
    }
    text.push_str("\n| counter | event | what happened |\n|---|---|---|\n");
    for family in COUNTERS {
        for (event, meaning) in family.events {
            text.push_str(&format!("| `{}` | `{event}` | {meaning} |\n", family.name));
        }
    }
    text.push_str("\n## Gauges\n\n| gauge | labels | tells |\n|---|---|---|\n");
    for (name, label, meaning) in gauges() {
        text.push_str(&format!("| `{name}` | `{label}` | {meaning} |\n"));
    }
    text.push_str("\n## Histograms\n\n| histogram | tells |\n|---|---|\n");
    for (name, meaning) in HISTOGRAMS {
        text.push_str(&format!("| `{name}` | {meaning} |\n"));
    }
    text
}

fn bearer_error(error: BearerError) -> &'static str {
    match error {
        BearerError::None => "",
        BearerError::Missing => "a challenge without an error",
        BearerError::InvalidRequest => "`invalid_request`",
        BearerError::InvalidToken => "`invalid_token`",
        BearerError::InsufficientScope => "`insufficient_scope`",
        BearerError::InvalidDpopProof => "`invalid_dpop_proof`",
        BearerError::UseDpopNonce => "`use_dpop_nonce`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_row_and_says_what_it_means() {
        let text = markdown();
        for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::Ok) {
            assert!(text.contains(&format!("| `{}` | {} |", reason.code(), reason.status())), "{reason}");
            assert!(!reason.doc().is_empty(), "{reason}");
        }
    }
}
