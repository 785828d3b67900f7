//! Payload rules.

use super::Mode;
use crate::config::units::Size;
use crate::{section, words};

section! {
    /// Payload rules: attacks in the path, the query, headers, cookies and the body. A head or a body with more than 20,000 values, or more than 256
    /// parts, or on which they work too long, is refused (413 `payload_too_costly`), whatever is left out or excepted here.
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
        /// Parameters and places in which something is not looked for.
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
    /// A parameter or a place in which something is not looked for. The audit event of what was found has the one that lets it pass.
    pub struct PayloadException {
        /// Its name: of a query parameter, a form field, a part, a header, a cookie, the nearest JSON key, an XML element or attribute. A `*` at the end
        /// takes every name that begins so; alone, with `place`, every parameter there. Without it, what has no name in `place`, or one that
        /// begins with no letter, digit or sign of names: the path, a text, the query as a whole, strings of JSON that no key leads to, comments
        /// and the DOCTYPE of XML; of `name` all.
        parameter: Option<String>,
        /// Where; everywhere unless said otherwise.
        place: Option<PayloadPlace>,
        /// The families that are not looked for there; every one unless said otherwise.
        families: Vec<String>,
    }
}

words! {
    /// Where in a request a value stands.
    pub enum PayloadPlace {
        /// Parameters of the query.
        Query = "query",
        /// Fields of a form.
        Form = "form",
        /// Strings of JSON, arguments of GraphQL, texts of gRPC.
        Json = "json",
        /// Cookies.
        Cookie = "cookie",
        /// Headers, those of parts too.
        Header = "header",
        /// The path and its segments.
        Path = "path",
        /// Parts of a multipart body.
        Multipart = "multipart",
        /// Texts and attributes of XML.
        Xml = "xml",
        /// A body of any other type.
        Text = "text",
        /// Names of parameters, keys, cookies and parts.
        Name = "name",
        /// The `User-Agent` header.
        UserAgent = "user-agent",
        /// The `Referer` header.
        Referer = "referer",
        /// Names of uploaded files.
        Upload = "upload",
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
