//! The requests that show each verdict.

/// Who asks: the subject and the scopes of the token that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// No token at all.
    Nobody,
    /// May read orders and reports.
    Reader,
    /// The reader's token with another payload: the signature no longer fits.
    Forger,
    /// May read orders, and asks too often.
    Hasty,
}

impl Who {
    /// Those who have a token of their own, with the shell variable that it is shown under.
    pub const WITH_TOKEN: [(Self, &str); 2] = [(Self::Reader, "READER"), (Self::Hasty, "HASTY")];

    /// Subject and scopes.
    pub const fn identity(self) -> (&'static str, &'static str) {
        match self {
            Self::Hasty => ("bob", "read_orders"),
            Self::Nobody | Self::Reader | Self::Forger => ("alice", "read_orders read_reports"),
        }
    }
}

/// One request and the verdict that it must meet.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What it shows.
    pub shows: &'static str,
    /// The method.
    pub method: &'static str,
    /// The path, sent as written.
    pub path: &'static str,
    /// The token.
    pub who: Who,
    /// How often it is sent; the last answer counts.
    pub times: u32,
    /// The status of the last answer.
    pub expected: u16,
}

/// Every verdict once, in the order in which a newcomer meets them.
pub const CASES: [Case; 12] = [
    case("public", "GET", "/healthz", Who::Nobody, 200),
    case("a good token", "GET", "/orders/17", Who::Reader, 200),
    case("a policy chosen by the route", "GET", "/reports/2025", Who::Reader, 200),
    case("an ambiguous path", "GET", "/orders/..%2Freports", Who::Reader, 400),
    case("no token", "GET", "/orders/17", Who::Nobody, 401),
    case("a forged token", "GET", "/orders/17", Who::Forger, 401),
    case("a scope is missing", "POST", "/orders", Who::Reader, 403),
    case("a scope is missing, by the route", "GET", "/reports/2025", Who::Hasty, 403),
    case("an attack in the query", "GET", "/orders/17?q=1%27%20or%20%271%27%3D%271", Who::Reader, 403),
    case("no rule takes it", "GET", "/nowhere", Who::Reader, 404),
    case("not even a public one", "GET", "/healthz/x", Who::Nobody, 404),
    Case { times: 25, ..case("more than the burst", "GET", "/orders/17", Who::Hasty, 429) },
];

const fn case(shows: &'static str, method: &'static str, path: &'static str, who: Who, expected: u16) -> Case {
    Case { shows, method, path, who, times: 1, expected }
}
