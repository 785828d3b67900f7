//! Payload rules.

use super::Mode;
use crate::config::units::Size;
use crate::{section, words};

section! {
    /// Payload rules: attacks in the path, the query, headers, cookies and the body.
    pub struct PayloadSection {
        /// Whether they are asked at all. `off` at a rule lifts those of `defaults`.
        rules: bool = true,
        /// `monitor` counts and logs what they would refuse.
        mode: Option<Mode>,
        /// 1 is for everybody; 2 and 3 add rules that need exceptions where users write freely.
        level: u64 = 1,
        /// How many points of evidence of one family make an attack.
        threshold: u64 = 5,
        /// Families that are not looked for, such as `graphql`.
        without: Vec<String>,
        /// Single payload rules that are not asked, by name.
        without_rules: Vec<String>,
        /// Parameters in which something is not looked for.
        except: Vec<PayloadException>,
        /// The longest body that is read whole, and held back until it is judged.
        max_body: Size = "128KiB",
        /// What happens to a longer one.
        on_over: OnOver = "deny",
        /// The most that a compressed body may become.
        max_inflated: Size = "1MiB",
        /// What of a gRPC call is judged.
        grpc: GrpcBody = "first_message",
    }
}

words! {
    /// What of a gRPC call is judged.
    pub enum GrpcBody {
        /// Its head, which is held back for it, and its first message: all there is of a unary call.
        FirstMessage = "first_message",
        /// Its head alone. For services that speak before their clients do.
        Head = "head",
    }
}

section! {
    /// A parameter in which something is not looked for.
    pub struct PayloadException {
        /// Its name: of a query parameter, a form field, a header, a cookie, or a JSON key. A `*` at the end takes every name that begins so.
        parameter: String,
        /// The families that are not looked for there; every one unless said otherwise.
        families: Vec<String>,
    }
}

words! {
    /// What happens to a body that is longer than `max_body`.
    pub enum OnOver {
        /// 413.
        Deny = "deny",
        /// Its first `max_body` bytes are judged, and the rest goes on unread.
        ScanPrefix = "scan_prefix",
    }
}
