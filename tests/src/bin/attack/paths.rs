//! Paths: what scanners look for, and spellings that two servers read differently.

use portcullis_tests::client::Call;

use crate::report::Wave;
use crate::target::Target;

/// What every server on the internet is asked for, every day.
const WANTED: [&str; 40] = [
    "/.env",
    "/.git/config",
    "/.git/HEAD",
    "/.aws/credentials",
    "/.ssh/id_rsa",
    "/.htpasswd",
    "/.DS_Store",
    "/.svn/entries",
    "/wp-login.php",
    "/wp-admin/",
    "/xmlrpc.php",
    "/wp-config.php.bak",
    "/phpmyadmin/",
    "/phpinfo.php",
    "/index.php",
    "/shell.php",
    "/admin",
    "/admin/login",
    "/administrator/",
    "/manager/html",
    "/console",
    "/login",
    "/actuator/env",
    "/actuator/heapdump",
    "/actuator/gateway/routes",
    "/jolokia/list",
    "/server-status",
    "/metrics",
    "/debug/pprof/",
    "/stats/prometheus",
    "/config_dump",
    "/swagger.json",
    "/openapi.json",
    "/graphql",
    "/api/v1/users",
    "/backup.zip",
    "/dump.sql",
    "/cgi-bin/test.cgi",
    "/solr/admin/",
    "/HNAP1/",
];

/// One scanner, with more paths than the gateway's patience.
pub fn probing(target: &Target) -> Wave {
    let mut wave = Wave::new("probing");
    let mut attacker = target.attacker();
    for round in 0..4 {
        for path in WANTED {
            let path = if round == 0 { path.to_owned() } else { format!("{path}~{round}") };
            wave.add(&path, attacker.call(&Call::get(&path)));
        }
    }
    wave
}

/// Ways around a rule for `/reports` and `/orders`, by somebody with a good token.
const AMBIGUOUS: [&str; 24] = [
    "/orders/..%2Freports/1",
    "/orders/%2e%2e/reports/1",
    "/orders/../reports/1",
    "/orders/./17",
    "//orders/17",
    "/orders//17",
    "/orders%2F17",
    "/orders\\17",
    "/orders/%5c..%5creports",
    "/orders;jsessionid=1/17",
    "/orders/;/17",
    "/orders/..;/reports/1",
    "/%6frders/17",
    "/orders/%2525/17",
    "/orders/%252e%252e/reports",
    "/orders/%00",
    "/orders/17%00.json",
    "/orders/%c0%ae%c0%ae/reports",
    "/orders/%e0%80%af",
    "/orders/%ff",
    "/orders/%",
    "/orders/%zz",
    "/orders/17#x",
    "/ORDERS/17",
];

/// Paths that are not what they seem.
pub fn ambiguous(target: &Target) -> Wave {
    let mut wave = Wave::new("ambiguous paths");
    let mut attacker = target.attacker();
    for path in AMBIGUOUS {
        wave.add(path, attacker.call(&Call::get(path).bearer(&target.good())));
    }
    wave
}
