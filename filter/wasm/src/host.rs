//! Every call to the proxy, as safe functions that never panic.
//!
//! The SDK's own wrappers panic on a status that they do not know and on header values that are not UTF-8. A panic
//! kills the worker's VM, so whatever a stranger's bytes can reach goes through the raw imports here.
#![allow(unsafe_code)]

use std::net::IpAddr;
use std::num::NonZeroU32;

use portcullis_engine::ports::{
    Attributes, CertificateField, Expected, Hash, HostScheme, HostSignatures, SharedStore, StoreUnavailable, Version,
    WriteOutcome,
};
use portcullis_engine::time::UnixNanos;

/// The proxy's header maps (proxy-wasm ABI 0.2.1, `proxy_map_type_t`).
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub enum Map {
    /// The request's headers.
    Request = 0,
    /// The request's trailers, as long as they are held back.
    RequestTrailers = 1,
    /// The response's headers.
    Response = 2,
    /// The headers of a callout's answer.
    CalloutResponse = 6,
    /// The trailers of a callout's answer.
    CalloutTrailers = 7,
}

/// The proxy's buffers (`proxy_buffer_type_t`).
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub enum Buffer {
    /// The request's body.
    Request = 0,
    /// The body of a callout's answer.
    CalloutResponse = 4,
}

const OK: u32 = 0;
const CAS_MISMATCH: u32 = 8;
const NOT_FOUND: u32 = 1;

/// A compare value that no stored value has: with it, a write succeeds on an absent key and fails on a present one.
const UNMATCHABLE: u32 = u32::MAX;

mod raw {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
        pub fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
        pub fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        pub fn proxy_set_effective_context(context_id: u32) -> u32;
        pub fn proxy_continue_stream(stream_type: u32) -> u32;
        pub fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
        pub fn proxy_get_header_map_value(
            map: u32,
            key: *const u8,
            key_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub fn proxy_replace_header_map_value(
            map: u32,
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub fn proxy_add_header_map_value(
            map: u32,
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
        pub fn proxy_get_buffer_bytes(
            buffer: u32,
            start: usize,
            max_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_size: usize,
            body: *const u8,
            body_size: usize,
            headers: *const u8,
            headers_size: usize,
            grpc_status: i32,
        ) -> u32;
        pub fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
        pub fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
        pub fn proxy_get_shared_data(
            key: *const u8,
            key_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
            cas: *mut u32,
        ) -> u32;
        pub fn proxy_set_shared_data(
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
            cas: u32,
        ) -> u32;
        pub fn proxy_call_foreign_function(
            name: *const u8,
            name_size: usize,
            arguments: *const u8,
            arguments_size: usize,
            results: *mut *mut u8,
            results_size: *mut usize,
        ) -> u32;
        pub fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
        pub fn proxy_increment_metric(id: u32, offset: i64) -> u32;
        pub fn proxy_record_metric(id: u32, value: u64) -> u32;
    }
}

/// Takes over memory that the host had this module allocate.
///
/// # Safety
/// `data` and `size` must be what a host call just wrote: a block from `proxy_on_memory_allocate`, which is a boxed
/// slice of exactly `size` bytes.
unsafe fn owned(data: *mut u8, size: usize) -> Vec<u8> {
    if data.is_null() || size == 0 {
        return Vec::new();
    }
    // SAFETY: the caller vouches for it.
    unsafe { Vec::from_raw_parts(data, size, size) }
}

/// Runs a host call that returns bytes; `None` unless its status is OK.
fn returning_bytes(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let mut data = std::ptr::null_mut();
    let mut size = 0;
    let status = call(&mut data, &mut size);
    // SAFETY: on OK the host filled both with a block that it allocated in this module; else they are still empty.
    (status == OK).then(|| unsafe { owned(data, size) })
}

/// Log levels (`proxy_log_level_t`).
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub enum Level {
    /// Normal events.
    Info = 2,
    /// Refusals, and what an operator should look at.
    Warn = 3,
    /// Failures.
    Error = 4,
}

/// Writes one line to the proxy's log.
pub fn log(level: Level, line: &str) {
    // SAFETY: pointer and length of a live string.
    unsafe { raw::proxy_log(level as u32, line.as_ptr(), line.len()) };
}

/// The proxy's clock.
pub fn now() -> UnixNanos {
    let mut time = 0;
    // SAFETY: `time` outlives the call.
    unsafe { raw::proxy_get_current_time_nanoseconds(&mut time) };
    UnixNanos(time)
}

/// Sets how often `on_tick` comes.
pub fn set_tick_period(millis: u32) {
    // SAFETY: no pointers.
    unsafe { raw::proxy_set_tick_period_milliseconds(millis) };
}

/// Makes the following calls speak of the stream (or root) with this id. False if it is gone.
pub fn set_effective_context(id: u32) -> bool {
    // SAFETY: no pointers.
    unsafe { raw::proxy_set_effective_context(id) == OK }
}

/// Lets a held request go on.
pub fn continue_request() {
    // SAFETY: no pointers.
    unsafe { raw::proxy_continue_stream(0) };
}

/// The whole header map in the ABI's serialised form; `None` if the host cannot give it.
pub fn header_map(map: Map) -> Option<Vec<u8>> {
    // SAFETY: the out-pointers outlive the call.
    returning_bytes(|data, size| unsafe { raw::proxy_get_header_map_pairs(map as u32, data, size) })
}

/// The value of a header, the first where it has several; `None` without one. Where it is seldom there, this costs less than the map.
pub fn header(map: Map, name: &str) -> Option<Vec<u8>> {
    // SAFETY: pointer and length of a live string; the out-pointers outlive the call.
    returning_bytes(|data, size| unsafe {
        raw::proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, size)
    })
}

/// Sets a header, replacing every value that it had.
pub fn set_header(map: Map, name: &str, value: &[u8]) -> bool {
    // SAFETY: pointers and lengths of live slices.
    let status = unsafe {
        raw::proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    };
    status == OK
}

/// Adds a value of a header, on a line of its own.
pub fn add_header(map: Map, name: &str, value: &[u8]) -> bool {
    // SAFETY: pointers and lengths of live slices.
    let status =
        unsafe { raw::proxy_add_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
    status == OK
}

/// Removes every value of a header.
pub fn remove_header(map: Map, name: &str) -> bool {
    // SAFETY: pointer and length of a live string.
    let status = unsafe { raw::proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) };
    status == OK
}

/// Up to `max_size` bytes of a buffer; `None` if the host cannot give it.
pub fn buffer(buffer: Buffer, max_size: usize) -> Option<Vec<u8>> {
    // SAFETY: the out-pointers outlive the call.
    returning_bytes(|data, size| unsafe { raw::proxy_get_buffer_bytes(buffer as u32, 0, max_size, data, size) })
}

/// Answers the current request. `details` shows as `%RESPONSE_CODE_DETAILS%`; the SDK's own call would drop it.
pub fn send_local_response(status: u16, details: &str, headers: &[(impl AsRef<str>, String)], body: &str) -> bool {
    let headers = serialised(headers);
    const NO_GRPC_STATUS: i32 = -1;
    // SAFETY: pointers and lengths of live slices.
    let status = unsafe {
        raw::proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        )
    };
    status == OK
}

/// Header pairs in the ABI's serialised form.
fn serialised(headers: &[(impl AsRef<str>, String)]) -> Vec<u8> {
    let size = headers.iter().map(|(name, value)| 10 + name.as_ref().len() + value.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(4 + size);
    bytes.extend_from_slice(&(headers.len() as u32).to_le_bytes());
    for (name, value) in headers {
        bytes.extend_from_slice(&(name.as_ref().len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
    }
    for (name, value) in headers {
        bytes.extend_from_slice(name.as_ref().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// A property of the current request or connection; the path's segments are joined by NUL.
pub fn property(path: &str) -> Option<Vec<u8>> {
    // SAFETY: pointer and length of a live string; the out-pointers outlive the call.
    returning_bytes(|data, size| unsafe { raw::proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// Keeps `value` under `name` with the current request, for the access log and for filters that come later.
///
/// In Envoy it is the filter state `wasm.<name>`. A host that keeps nothing has nothing to show: not our failure.
pub fn set_property(name: &str, value: &[u8]) {
    // SAFETY: pointers and lengths of live slices.
    unsafe { raw::proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// Defines a counter; `None` if the host has no metrics.
pub fn define_counter(name: &str) -> Option<u32> {
    const COUNTER: u32 = 0;
    define_metric(COUNTER, name)
}

/// Defines a gauge, and gives its id.
pub fn define_gauge(name: &str) -> Option<u32> {
    const GAUGE: u32 = 1;
    define_metric(GAUGE, name)
}

/// Defines a histogram, and gives its id.
pub fn define_histogram(name: &str) -> Option<u32> {
    const HISTOGRAM: u32 = 2;
    define_metric(HISTOGRAM, name)
}

fn define_metric(kind: u32, name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: pointer and length of a live string; `id` outlives the call.
    let status = unsafe { raw::proxy_define_metric(kind, name.as_ptr(), name.len(), &mut id) };
    (status == OK).then_some(id)
}

/// Adds to a counter, or to a gauge, from which it can also take away.
pub fn increment_metric(id: u32, offset: i64) {
    // SAFETY: no pointers.
    unsafe { raw::proxy_increment_metric(id, offset) };
}

/// Sets a gauge, or adds a value to a histogram.
pub fn record_metric(id: u32, value: u64) {
    // SAFETY: no pointers.
    unsafe { raw::proxy_record_metric(id, value) };
}

/// Calls one of the host's foreign functions.
fn foreign_function(name: &str, arguments: &[u8]) -> (u32, Vec<u8>) {
    let mut data = std::ptr::null_mut();
    let mut size = 0;
    // SAFETY: pointers and lengths of live slices; the out-pointers outlive the call.
    let status = unsafe {
        raw::proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            arguments.as_ptr(),
            arguments.len(),
            &mut data,
            &mut size,
        )
    };
    // SAFETY: the host filled both or left them empty.
    (status, unsafe { owned(data, size) })
}

/// The engine's ports on this host.
#[derive(Debug, Clone, Copy)]
pub struct ProxyHost {
    verifies: bool,
}

const VERIFY_SIGNATURE: &str = "verify_signature";

impl ProxyHost {
    /// Finds out what the host can do.
    pub fn probe() -> Self {
        // Without arguments the function itself fails; only a host that does not have it says "not found", and one
        // without foreign functions says "unimplemented".
        const UNIMPLEMENTED: u32 = 12;
        let (status, _) = foreign_function(VERIFY_SIGNATURE, &[]);
        Self { verifies: status != NOT_FOUND && status != UNIMPLEMENTED }
    }

    /// A host whose native verification is not to be used.
    pub fn without_signatures() -> Self {
        Self { verifies: false }
    }

    /// Whether the host verifies signatures natively.
    pub fn verifies_signatures(self) -> bool {
        self.verifies
    }
}

impl SharedStore for ProxyHost {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, Version)>, StoreUnavailable> {
        let mut data = std::ptr::null_mut();
        let mut size = 0;
        let mut cas = 0;
        // SAFETY: pointer and length of a live string; the out-pointers outlive the call.
        let status = unsafe { raw::proxy_get_shared_data(key.as_ptr(), key.len(), &mut data, &mut size, &mut cas) };
        // SAFETY: the host filled both or left them empty.
        let value = unsafe { owned(data, size) };
        match (status, NonZeroU32::new(cas)) {
            (OK, Some(cas)) => Ok(Some((value, Version(cas)))),
            (NOT_FOUND, _) => Ok(None),
            _ => Err(StoreUnavailable),
        }
    }

    fn compare_and_set(&self, key: &str, value: &[u8], expected: Expected) -> Result<WriteOutcome, StoreUnavailable> {
        let cas = match expected {
            Expected::Absent => UNMATCHABLE,
            Expected::Unchanged(version) => version.0.get(),
        };
        // SAFETY: pointers and lengths of live slices.
        let status = unsafe { raw::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) };
        match status {
            OK => Ok(WriteOutcome::Written),
            CAS_MISMATCH => Ok(WriteOutcome::Conflict),
            _ => Err(StoreUnavailable),
        }
    }
}

impl HostSignatures for ProxyHost {
    fn verify(&self, scheme: HostScheme, spki_der: &[u8], signature: &[u8], message: &[u8]) -> Option<bool> {
        if !self.verifies {
            return None;
        }
        let (HostScheme::RsaPkcs1(hash) | HostScheme::EcdsaDer(hash)) = scheme;
        let hash: &[u8] = match hash {
            Hash::Sha256 => b"sha256",
            Hash::Sha384 => b"sha384",
            Hash::Sha512 => b"sha512",
        };
        // VerifySignatureArguments: hash_function = 1, public_key = 2, signature = 3, text = 4.
        let mut arguments = Vec::with_capacity(32 + spki_der.len() + signature.len() + message.len());
        for (field, bytes) in [(1, hash), (2, spki_der), (3, signature), (4, message)] {
            push_bytes_field(&mut arguments, field, bytes);
        }
        let (status, result) = foreign_function(VERIFY_SIGNATURE, &arguments);
        // VerifySignatureResult { result = 1: true }. Anything else but this exact answer is no.
        const VERIFIED: &[u8] = &[0x08, 0x01];
        (status == OK).then(|| result == VERIFIED)
    }
}

/// Appends a length-delimited protobuf field.
fn push_bytes_field(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    const LENGTH_DELIMITED: u8 = 2;
    out.push((field << 3) | LENGTH_DELIMITED);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

impl Attributes for ProxyHost {
    fn source_address(&self) -> Option<IpAddr> {
        let bytes = property("source\0address")?;
        let text = std::str::from_utf8(&bytes).ok()?;
        // `ip:port` or `[ip]:port`; a unix socket has neither.
        text.parse::<std::net::SocketAddr>().map(|address| address.ip()).ok()
    }

    fn client_certificate_is_verified(&self) -> bool {
        // A boolean property is one byte.
        property("connection\0peer_certificate_valid").as_deref() == Some(&[1])
    }

    fn client_certificate(&self, field: CertificateField) -> Option<Vec<u8>> {
        let bytes = property(match field {
            CertificateField::UriSan => "connection\0uri_san_peer_certificate",
            CertificateField::DnsSan => "connection\0dns_san_peer_certificate",
            CertificateField::Subject => "connection\0subject_peer_certificate",
            CertificateField::Sha256 => "connection\0sha256_peer_certificate_digest",
        });
        bytes.filter(|bytes| !bytes.is_empty())
    }

    fn route_policy(&self) -> Option<Vec<u8>> {
        property("xds\0route_metadata\0filter_metadata\0portcullis\0policy").filter(|policy| !policy.is_empty())
    }

    fn route_name(&self) -> Option<Vec<u8>> {
        property("xds\0route_name").filter(|name| !name.is_empty())
    }

    fn virtual_host_policy(&self) -> Option<Vec<u8>> {
        property("xds\0virtual_host_metadata\0filter_metadata\0portcullis\0policy").filter(|policy| !policy.is_empty())
    }

    fn is_from_service(&self) -> bool {
        // Whatever the proxy answers itself has details of its own: of a filter, of the router, of a direct response.
        property("response\0code_details").as_deref() == Some(b"via_upstream")
    }
}
