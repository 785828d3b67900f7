//! Too much of everything, and messages that two servers take apart differently.

use std::time::Instant;

use portcullis_tests::client::Call;

use crate::report::Wave;
use crate::target::Target;

/// Heads, paths, bodies and numbers of headers beyond what the gateway holds in memory for anybody.
pub fn parameters_and_heads(target: &Target) -> Wave {
    let mut wave = Wave::new("oversized requests");
    let mut attacker = target.attacker();
    let long = "a".repeat(40 << 10);
    let many =
        |count: usize, of: &str| (0..count).map(|number| format!("{of}{number}=1")).collect::<Vec<_>>().join("&");
    let get = |path: &str| Call::get(path).bearer(&target.good());
    let mut headers = get("/orders/17");
    for number in 0..150 {
        headers = headers.header(&format!("x-flood-{number}"), "1");
    }
    let calls = [
        ("a path of 9 KiB", get(&format!("/orders/{}", "a".repeat(9 << 10)))),
        ("4,000 parameters", get(&format!("/orders/17?{}", many(4000, "p")))),
        (
            "a form of 15,000 parameters",
            Call::new("POST", "/orders")
                .bearer(&target.good())
                .header("content-type", "application/x-www-form-urlencoded")
                .body(many(15_000, "")),
        ),
        ("a header of 40 KiB", get("/orders/17").header("x-flood", &long)),
        ("cookies of 40 KiB", get("/orders/17").header("cookie", &format!("a={long}"))),
        ("a token of 40 KiB", Call::get("/orders/17").bearer(&long)),
        ("150 headers", headers),
        (
            "a body of 2 MiB",
            Call::new("POST", "/orders")
                .bearer(&target.good())
                .header("content-type", "text/plain")
                .body(vec![b'a'; 2 << 20]),
        ),
    ];
    for (what, call) in calls {
        wave.add(what, attacker.call(&call));
    }
    wave
}

/// Requests within requests.
pub fn smuggling(target: &Target) -> Wave {
    let mut wave = Wave::new("request smuggling");
    let mut attacker = target.attacker();
    let token = target.good();
    let head =
        |rest: &str| format!("POST /orders HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{rest}");
    let inner = "GET /reports/1 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let messages = [
        (
            "length and chunks",
            head(&format!("content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}")),
        ),
        ("two lengths", head("content-length: 5\r\ncontent-length: 6\r\n\r\nabcdef")),
        ("a length with a sign", head("content-length: +5\r\n\r\nabcde")),
        ("an unknown coding", head("transfer-encoding: xchunked\r\n\r\n0\r\n\r\n")),
        ("chunked twice", head("transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n")),
        ("a space before the colon", head("content-length : 5\r\n\r\nabcde")),
        ("a NUL in a header", head("x-a: 1\0\r\ncontent-length: 0\r\n\r\n")),
        (
            "two hosts",
            format!(
                "GET /orders/1 HTTP/1.1\r\nhost: localhost\r\nhost: other\r\nauthorization: Bearer {token}\r\n\r\n"
            ),
        ),
        (
            "another host in the target",
            format!(
                "GET http://other/orders/1 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nx_user: a\r\n\r\n"
            ),
        ),
        ("no version", "GET /orders/1\r\n\r\n".to_owned()),
    ];
    for (what, message) in messages {
        wave.add(what, attacker.raw(message.as_bytes()));
    }
    wave
}

/// One client with a good token that asks far more often than it may.
pub fn requests(target: &Target) -> Wave {
    let mut wave = Wave::new("request flood");
    let mut attacker = target.attacker();
    let call = Call::get("/orders/17").bearer(&target.good());
    let started = Instant::now();
    for _ in 0..400 {
        wave.add("one more request", attacker.call(&call));
    }
    // `burst: 20`, and `rate: 60/min` since; the first second may have begun before.
    let seconds = usize::try_from(started.elapsed().as_secs()).unwrap_or(usize::MAX);
    wave.admit(seconds.saturating_add(21));
    wave
}
