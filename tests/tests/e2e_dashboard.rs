//! The dashboard and the alerts of `compose/`, on a real Prometheus that reads a real gateway under attack: no panel and no alert is about a
//! series that does not exist.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use portcullis_tests::client::{Call, Client};
use portcullis_tests::elsewhere::skipped;
use portcullis_tests::gateway::{Gateway, Reload};
use portcullis_tests::idp::Idp;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::prometheus::{Prometheus, promtool};
use portcullis_tests::services::Service;
use portcullis_tests::{config, eventually, paths};
use serde_json::{Value, json};

fn directory() -> PathBuf {
    paths::root().join("compose/prometheus")
}

fn panels() -> Vec<Value> {
    let file = paths::root().join("compose/grafana/dashboards/portcullis.json");
    let dashboard: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    dashboard["panels"].as_array().unwrap().clone()
}

/// Every expression of the dashboard, with the title of its panel; Grafana's variables are as in a window of some seconds.
fn panel_expressions() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for panel in panels() {
        for target in panel["targets"].as_array().unwrap() {
            let expression =
                target["expr"].as_str().unwrap().replace("$__rate_interval", "10s").replace("$__range", "1m");
            assert!(!expression.contains('$'), "{expression}");
            all.push((panel["title"].as_str().unwrap().to_owned(), expression));
        }
    }
    all
}

fn alerts() -> Vec<Value> {
    let rules = config::load(&directory().join("alerts.yaml")).unwrap();
    rules["groups"][0]["rules"].as_array().unwrap().clone()
}

/// What each alert watches, without the number at which it fires.
fn alert_series() -> Vec<(String, String)> {
    let series = |rule: Value| {
        let expression = rule["expr"].as_str().unwrap();
        let (series, bound) = expression.rsplit_once(" > ").unwrap_or_else(|| panic!("{expression}: SERIES > NUMBER"));
        bound.parse::<f64>().unwrap();
        (rule["alert"].as_str().unwrap().to_owned(), series.to_owned())
    };
    alerts().into_iter().map(series).collect()
}

/// Whether there is no Prometheus: then it says so, once.
fn is_missing() -> bool {
    let missing = Prometheus::missing();
    if let Some(program) = missing {
        skipped(&format!("Prometheus ({program} is missing: scripts/setup --with-prometheus)"));
    }
    missing.is_some()
}

#[test]
fn promtool_has_nothing_to_say_about_the_alerts() {
    if is_missing() {
        return;
    }
    promtool(&directory(), &["check", "rules", "alerts.yaml"]).unwrap();
    promtool(&directory(), &["check", "config", "--syntax-only", "prometheus.yml"]).unwrap();
    promtool(&directory(), &["test", "rules", "alerts_test.yaml"]).unwrap();
}

#[test]
fn every_alert_fires_in_a_test_and_is_quiet_in_another() {
    let tests = config::load(&directory().join("alerts_test.yaml")).unwrap();
    let tests = tests["tests"].as_array().unwrap();
    let checks: Vec<&Value> = tests.iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap()).collect();
    for alert in alerts() {
        let of_alert = |fires: bool| {
            checks.iter().any(|check| {
                check["alertname"] == alert["alert"] && check["exp_alerts"].as_array().unwrap().is_empty() != fires
            })
        };
        assert!(of_alert(true), "{} never fires in alerts_test.yaml", alert["alert"]);
        assert!(of_alert(false), "{} is never quiet in alerts_test.yaml", alert["alert"]);
    }
}

#[test]
fn every_panel_says_what_it_shows_and_overlaps_no_other() {
    let panels = panels();
    let place = |panel: &Value| ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
    for (index, panel) in panels.iter().enumerate() {
        let [x, y, width, height] = place(panel);
        assert!(x + width <= 24, "{}", panel["title"]);
        for other in &panels[..index] {
            let [other_x, other_y, other_width, other_height] = place(other);
            let beside = x + width <= other_x || other_x + other_width <= x;
            let below = y + height <= other_y || other_y + other_height <= y;
            assert!(beside || below, "{} and {}", panel["title"], other["title"]);
            assert_ne!(panel["id"], other["id"]);
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
    }
}

/// The gateway: a rule of each kind, so that each counter has something to count.
fn configuration() -> Value {
    json!({
        "version": 1,
        "providers": {"corp": {
            "issuer": "https://idp.demo", "audiences": ["demo-api"], "algorithms": ["ES256"],
            "jwks": {"cluster": "idp", "path": "/jwks.json", "refresh": "1s", "keep_stale": "4s", "unknown_kid_cooldown": "1s"},
        }},
        "limits": {
            "per_client": {"key": "ip", "rate": "5/h", "burst": 5},
            "crowded": {"key": "ip", "rate": "1/h", "burst": 2, "capacity": 1},
            "monthly": {"key": "ip", "quota": "1000/month", "warn_at": "1%"},
        },
        "bans": {"guessing": {"key": "ip", "count": ["auth_failure"], "limit": "15/10m", "ban": "15m"}},
        "defaults": {"bans": ["guessing"], "payload": {"level": 1}},
        "rules": [
            {"name": "limited", "match": {"path": "/orders/limited"}, "allow": "public", "limits": ["per_client"]},
            {"name": "crowded", "match": {"path": "/orders/crowded"}, "allow": "public", "limits": ["crowded"]},
            {"name": "orders", "match": {"path": "/orders/**"}, "require": "corp", "limits": ["monthly"]},
        ],
    })
}

struct Attack<'a> {
    gateway: &'a Gateway,
    good: String,
    forged: String,
    /// With a key id that nobody knows: it is held until the key set has been fetched anew.
    unknown: String,
}

impl Attack<'_> {
    /// One round: honest clients, and one of each kind of attacker. Each round has other addresses of its own.
    fn round(&self, number: u8) {
        let honest = |last: u8| Ipv4Addr::new(127, 0, 1, last);
        for last in 1..=3 {
            self.send(honest(last), &Call::get("/orders/1").bearer(&self.good));
        }
        // Guesses until the ban, and some beyond.
        for _ in 0..20 {
            self.send(Ipv4Addr::new(127, 0, 2, number), &Call::get("/orders/1").bearer(&self.forged));
        }
        self.send(Ipv4Addr::new(127, 0, 8, number), &Call::get("/orders/1").bearer(&self.unknown));
        for path in ["/.env", "/wp-login.php", "/orders/..%2Fadmin"] {
            self.send(Ipv4Addr::new(127, 0, 3, number), &Call::get(path));
        }
        let attack = "/orders/1?q=1%27%20UNION%20SELECT%20password%20FROM%20users--";
        self.send(Ipv4Addr::new(127, 0, 4, number), &Call::get(attack).bearer(&self.good));
        for _ in 0..8 {
            self.send(Ipv4Addr::new(127, 0, 5, number), &Call::get("/orders/limited"));
        }
        for last in 1..=40 {
            self.send(Ipv4Addr::new(127, 0, 6, last), &Call::get("/orders/crowded"));
        }
        for _ in 0..12 {
            self.send(Ipv4Addr::new(127, 0, 7, number), &Call::get("/orders/2").bearer(&self.good));
        }
    }

    fn send(&self, from: Ipv4Addr, call: &Call) {
        Client::connect_from(from, self.gateway.port()).unwrap().call(call).unwrap();
    }
}

#[test]
fn no_panel_and_no_alert_is_about_nothing() {
    if is_missing() {
        return;
    }
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let idp = Idp::plain(&jwks([&key])).unwrap();
    let services = [Service::plain("orders").unwrap(), Service::plain("reports").unwrap()];
    let builder = Gateway::builder().filter(configuration()).filter_reloadable().idp(&idp);
    let builder = builder.service(&services[0]).service(&services[1]).connection_manager("stat_prefix", json!("https"));
    let mut gateway = builder.start().unwrap();
    let prometheus = Prometheus::start(gateway.admin_port(), &directory().join("alerts.yaml")).unwrap();

    let good = Token::of("dashboard").sign(&key);
    let forged = Token::of("dashboard").sign(&SigningKey::generate(Algorithm::Es256, "k1"));
    let unknown = Token::of("dashboard").sign(&SigningKey::generate(Algorithm::Es256, "k9"));
    let attack = Attack { gateway: &gateway, good: good.clone(), forged, unknown };
    let ready = || {
        let mut client = Client::connect(gateway.port()).unwrap();
        client.call(&Call::get("/orders/1").bearer(&good)).unwrap().status == 200
    };
    assert!(eventually(Duration::from_secs(10), ready));
    // Rates need some samples of each series.
    for number in 1..=5 {
        attack.round(number);
        std::thread::sleep(Duration::from_millis(1500));
    }
    // The provider goes, and its keys end; then an operator makes a mistake.
    idp.jwks().set_status(500);
    let refused = || {
        std::thread::sleep(Duration::from_millis(250));
        let mut client = Client::connect(gateway.port()).unwrap();
        client.call(&Call::get("/orders/1").bearer(&good)).unwrap().status == 503
    };
    assert!(eventually(Duration::from_secs(30), refused), "the keys never end: {}", gateway.prometheus().unwrap());
    // It is back: the age of its key set begins anew.
    let fetched = || gateway.counter("portcullis_provider_events", &[("event", "fetched")]).unwrap();
    let before = fetched();
    idp.jwks().set_json(&jwks([&key]));
    assert!(eventually(Duration::from_secs(60), || fetched() > before), "the provider is back, and nobody has seen it");
    let mistaken = json!({"version": 1, "rulez": []});
    assert_eq!(gateway.reload(mistaken).unwrap(), Reload::Rejected);

    let mut missing = Vec::new();
    let expressions: Vec<_> = panel_expressions().into_iter().chain(alert_series()).collect();
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_secs(40) {
        missing =
            expressions.iter().filter(|(_, expression)| prometheus.query(expression).unwrap().is_empty()).collect();
        if missing.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(missing.is_empty(), "no series: {missing:#?}\n{}", gateway.prometheus().unwrap());

    // What was done is what the series say.
    for moved in
        ["Bans", "Failed credentials", "Payload rules: attacks found", "Limits: refusals", "Traffic by verdict"]
    {
        let (_, expression) = expressions.iter().find(|(title, _)| title == moved).unwrap();
        let values = prometheus.query(&expression.replace("[10s]", "[5m]")).unwrap();
        assert!(values.iter().any(|value| *value > 0.0), "{moved}: {values:?}\n{}", gateway.prometheus().unwrap());
    }
    let value = |title: &str| {
        let expression = panel_expressions().into_iter().find(|(known, _)| known == title).unwrap().1;
        prometheus.query(&expression.replace("[10s]", "[5m]")).unwrap()[0]
    };
    let age = value("Age of key sets");
    assert!((0.0..120.0).contains(&age), "the key set was fetched within this test, and not {age} seconds ago");
    let computed = value("Time that the filter adds");
    assert!(computed > 0.0, "{computed}");
    let loaded = prometheus.alerts().unwrap();
    assert_eq!(loaded.len(), alerts().len());
    assert!(loaded.iter().all(|(_, health)| health == "ok"), "{loaded:?}");
}
