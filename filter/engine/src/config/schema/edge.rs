//! The edge of the gateway: which addresses and origins may call, what responses look like, and which checks only watch.

use std::collections::BTreeMap;

use crate::config::section::OneOrMany;
use crate::config::units::{Size, Span};
use crate::{section, words};

words! {
    /// A single check that a rule can watch instead of enforcing it. Identity and limits have a `mode` of their own.
    pub enum Check {
        /// `addresses`.
        Addresses = "addresses",
        /// `cors`: preflights of other origins.
        Cors = "cors",
        /// `headers.require` and `headers.forbid`.
        Headers = "headers",
        /// `scopes`.
        Scopes = "scopes",
        /// `roles`.
        Roles = "roles",
        /// `when`.
        When = "when",
        /// `bind`.
        Bind = "bind",
        /// `surge`.
        Surge = "surge",
        /// `input`.
        Input = "input",
        /// `payload`.
        Payload = "payload",
    }
}

section! {
    /// A list of addresses: written here (`cidrs`), or fetched (`cluster` and `path`) by one worker for all.
    pub struct AddressListSection {
        /// Addresses and networks, such as `192.0.2.7`, `192.0.2.0/24` and `2001:db8::/32`.
        cidrs: Option<Vec<String>>,
        /// The Envoy cluster that serves the list.
        cluster: Option<String>,
        /// The list's path on that cluster.
        path: Option<String>,
        /// The `:authority` of the fetch; the cluster's name unless said otherwise.
        authority: Option<String>,
        /// How often the list is fetched, by one worker for all; at least `5s`.
        every: Span = "5m",
        /// How long one fetch may take.
        timeout: Span = "5s",
        /// What happens once a list that is denied cannot be had, or is older than `max_age`: `keep` goes on with what is known, `deny` answers 503. Where a list that is allowed was never had, the answer is 503 either way.
        on_error: AddressListOnError = "keep",
        /// The age from which the list counts as too old.
        max_age: Span = "1d",
        /// The longest list.
        max_size: Size = "4MiB",
        /// The most entries of a list.
        max_entries: u64 = 200000,
    }
}

words! {
    /// What happens when a list of addresses cannot be had.
    pub enum AddressListOnError {
        /// The old list goes on serving.
        Keep = "keep",
        /// Requests are answered with 503.
        Deny = "deny",
    }
}

section! {
    /// Which addresses may call: lists by name. Deny beats allow.
    pub struct AddressesSection {
        /// Only addresses in one of these lists may call.
        allow: Option<OneOrMany<String>>,
        /// Addresses in one of these lists may not call.
        deny: Option<OneOrMany<String>>,
    }
}

section! {
    /// Which web pages of other origins may call (CORS, WHATWG Fetch). The gateway answers preflights itself, before identity.
    pub struct CorsSection {
        /// Origins, such as `https://app.example.com`, `https://*.example.com` (any name below), `null`, or `*` for every one.
        origins: OneOrMany<String>,
        /// Methods that pages may use; the one that is asked for, where the rule takes it, unless said otherwise.
        methods: Vec<String>,
        /// Request headers that pages may set.
        headers: Vec<String> = ["authorization", "content-type"],
        /// Response headers that pages may read, beside the few that they always may.
        expose: Vec<String>,
        /// Whether browsers may send cookies and client certificates along.
        credentials: bool = false,
        /// How long a browser may keep the answer to a preflight.
        max_age: Span = "10m",
    }
}

section! {
    /// What responses look like, those of the service and those of the gateway.
    pub struct ResponsesSection {
        /// `on`: headers that make browsers careful are added where the service sets none, and headers that tell what the service is made of are removed.
        security_headers: bool = false,
        /// Headers with a value that replaces the service's and the default; `off` leaves the service's as it is.
        set: BTreeMap<String, String>,
        /// Further headers that are removed.
        hide: Vec<String>,
        /// Headers that are not removed though they are among those that tell what the service is made of.
        keep: Vec<String>,
    }
}
