//! What conditions cost, in microseconds; `filter/decisions/0003-conditions.md` has the command that prints it.

use std::time::Instant;

use super::tests::{NAMES, with};
use super::*;

#[test]
fn an_evaluation_takes_microseconds() {
    for source in [
        "path.id == jwt.sub",
        "path.id == jwt.sub || \"audit\" in jwt.groups && method == \"POST\"",
        "jwt.tenant == \"acme\" && jwt.realm_access.roles.exists(r, r == \"admin\") && method in [\"GET\", \"POST\"]",
        "cidr(\"10.0.0.0/8\").containsIP(source.address)",
        "now.getHours() >= 8 && now.getHours() < 18",
        "jwt.sub.matches('^[a-z]+$')",
        "headers[\"x-tenant\"] == query.tenant",
    ] {
        let condition = Condition::compile(source, &NAMES).unwrap();
        let times = if cfg!(debug_assertions) { 100 } else { 200_000 };
        let micros = with(|subject| {
            let begun = Instant::now();
            for _ in 0..times {
                std::hint::black_box(condition.holds(std::hint::black_box(subject))).unwrap();
            }
            begun.elapsed().as_secs_f64() * 1e6 / f64::from(times)
        });
        println!("{micros:7.3} us  {source}");
        assert!(micros < 1_000.0, "{source}");
    }
}
