//! Bans: who fails too often is refused for a while.

use super::{Mode, OnError, StatusClass};
use crate::config::section::OneOrMany;
use crate::config::units::{Rate, Span};
use crate::{section, words};

section! {
    /// A ban: whoever commits too many offences within a window is refused for a while, by all workers at once.
    pub struct BanSection {
        /// Who is banned: one of `ip`, `principal`, `username`, `client` and `subject`, or a list of them that counts together.
        key: OneOrMany<BanKeyPart>,
        /// Which offences count; `auth_failure` unless `count_responses` stands alone.
        count: Option<OneOrMany<Offence>>,
        /// Which responses of the service count, by status: `401`, `[401, 403, 404]`, `4xx`. What the gateway or the proxy answers is not meant.
        count_responses: Option<OneOrMany<StatusClass>>,
        /// How many offences within which window ban, such as `20/10m`. The window begins with its first offence.
        limit: Rate,
        /// How long a first ban holds.
        ban: Span = "15m",
        /// Each further ban holds twice as long as the one before, up to this; without it, all hold equally long.
        ban_max: Option<Span>,
        /// How long after its end a ban still counts for the length of the next one.
        forget: Span = "1d",
        /// How many bits of an IPv6 address make one client.
        ipv6_prefix: u64 = 64,
        /// How many clients can be banned or under suspicion at the same time. Shared memory is set by this.
        capacity: u64 = 65536,
        /// What happens while a client has no place because others fill it.
        on_overflow: BanOverflow = "allow",
        /// What happens if shared data cannot be used.
        on_error: OnError = "deny",
        /// `monitor` counts and logs whom this would ban.
        mode: Option<Mode>,
    }
}

words! {
    /// A part of what a ban is by.
    pub enum BanKeyPart {
        /// The client's address; IPv6 by its network.
        Ip = "ip",
        /// The verified identity: provider and subject.
        Principal = "principal",
        /// The user name that the client claims (`basic`). Others can claim it too, and so ban its owner.
        Username = "username",
        /// The OAuth client that a JSON Web Token names (`client_id`, else `azp`), verified or not. Others can name it too, and so ban all of its users.
        Client = "client",
        /// The subject that a JSON Web Token names (`sub`), verified or not. Others can name it too, and so ban its owner.
        Subject = "subject",
    }
}

words! {
    /// A kind of offence; `docs/reasons.md` says which refusals belong to it.
    pub enum Offence {
        /// A credential that is not accepted: an unknown key, a wrong password, a forged or inactive token, a bad proof. Not: none at all, or a token that has expired.
        AuthFailure = "auth_failure",
        /// A path or a method that no rule takes, as probing for paths brings it.
        Unmatched = "unmatched",
        /// A request head or a path of an ambiguous or malformed form.
        Malformed = "malformed",
        /// A caller that may not do what it tries: scopes, roles, conditions, paths of others.
        Forbidden = "forbidden",
        /// A payload rule found an attack.
        PayloadRule = "payload",
        /// A limit was used up.
        Limit = "limit",
    }
}

words! {
    /// What happens while a client has no place in the table because others fill it.
    pub enum BanOverflow {
        /// Its offences are not counted; the overflow is.
        Allow = "allow",
        /// It is refused until a place is free.
        Deny = "deny",
    }
}
