//! The scan alone, of every kind of body, in work that grows with the bytes and no faster.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use portcullis_payload::arguments::{self, Request};
use portcullis_payload::{Scanner, Scratch, Settings};

thread_local!(static SCAN: RefCell<(Scanner, Scratch, Settings)> =
    RefCell::new((Scanner::new().unwrap(), Scratch::default(), Settings { level: 3, ..Settings::default() })));

const TYPES: &[&[u8]] = &[
    b"application/json",
    b"application/x-www-form-urlencoded",
    b"multipart/form-data; boundary=x",
    b"application/xml",
    b"text/plain",
    b"application/graphql",
    b"application/x-ndjson",
    b"",
    b"image/png",
    b"application/x-protobuf",
    b"application/grpc-web+proto",
    b"application/grpc-web-text",
];

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let kind = usize::from(*kind);
    let headers: [(&[u8], &[u8]); 2] = [(b"content-type", TYPES[kind % TYPES.len()]), (b"cookie", data)];
    let (target, body, headers) = match kind / TYPES.len() % 3 {
        0 => (&b"/"[..], data, &headers[..1]),
        1 => (data, &b""[..], &headers[..0]),
        _ => (&b"/"[..], &b""[..], &headers[..]),
    };
    let request = Request { method: b"POST", target, headers, body };
    SCAN.with_borrow_mut(|(scanner, scratch, settings)| {
        let mut inspection = scanner.begin(settings, scratch);
        arguments::inspect(&request, &mut inspection);
        let steps = inspection.steps();
        assert!(steps <= 400_000 + 400 * data.len() as u64, "{steps} steps for {} bytes", data.len());
    });
});
